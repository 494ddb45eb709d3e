"""ONNX Runtime: who ran which node, in the shape that its profiler and its session really give."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from keronyx.export import folder
from keronyx.runtime.ort_common import OnnxRuntimeSession, _dtype, _specs, kernel_shares
from keronyx.types import SessionRequest


def node(provider: str, microseconds: int, category: str = "Node") -> dict:
    return {"cat": category, "name": "n", "dur": microseconds, "args": {"provider": provider}}


def test_kernel_time_is_shared_out_by_provider():
    events = [node("CUDAExecutionProvider", 30), node("CPUExecutionProvider", 10)]
    assert kernel_shares(events) == {"cuda": 0.75, "cpu": 0.25}


def test_events_that_are_no_kernels_do_not_count():
    fences = {"cat": "Node", "name": "n_fence_before", "dur": 99, "args": {"op_name": "Conv"}}
    session = {"cat": "Session", "name": "model_run", "dur": 999}
    assert kernel_shares([fences, session, node("CPUExecutionProvider", 5)]) == {"cpu": 1.0}


@pytest.mark.parametrize("events", [[], [node("CPUExecutionProvider", 0)]])
def test_no_kernel_time_is_no_evidence(events):
    assert kernel_shares(events) == {}


def test_a_provider_without_a_short_name_keeps_its_own():
    assert kernel_shares([node("VitisAIExecutionProvider", 1)]) == {"VitisAIExecutionProvider": 1.0}


def test_what_the_graph_has_is_told_in_the_order_of_the_calls():
    graph = [SimpleNamespace(name=name, shape=[1, "n"], type="tensor(float)") for name in ("a", "extra", "z")]
    found = _specs(graph, ["z", "a"])
    assert [spec.name for spec in found] == ["z", "a", "extra"] and found[0].shape == (1, None)


def test_element_types_are_numpys_names():
    kinds = ["float", "double", "float16", "int64", "uint8", "bool"]
    assert [_dtype(f"tensor({kind})") for kind in kinds] == ["float32", "float64", "float16", "int64", "uint8", "bool"]
    assert _dtype("tensor(bfloat16)") == "bfloat16"


@pytest.fixture
def session(segmenter_export):
    manifest = folder.read(segmenter_export)
    return OnnxRuntimeSession(SessionRequest(str(segmenter_export / "model.onnx"), manifest.spec, "cpu", 1))


@pytest.mark.slow
def test_placement_names_the_nodes_that_are_elsewhere(session):
    def subgraph(provider, *operators):
        nodes = [SimpleNamespace(op_type=kind, name=f"{kind}_1") for kind in operators]
        return SimpleNamespace(ep_name=provider, get_nodes=lambda: nodes)

    class Told:
        def get_provider_graph_assignment_info(self):
            return [subgraph("CUDAExecutionProvider", "Conv", "Conv"), subgraph("CPUExecutionProvider", "Resize")]

    session._session = Told()
    session._request = SessionRequest("", session._request.spec, "cuda", 1)
    placement = session.placement()
    assert placement.assigned == {"cuda": 2, "cpu": 1} and placement.nodes_elsewhere == ("Resize Resize_1 (cpu)",)


@pytest.mark.slow
def test_a_real_session_reports_its_nodes_and_its_kernel_time(session):
    import numpy as np

    placement = session.profiled([np.zeros((1, 16, 24, 3), "float32")])
    assert placement.assigned["cpu"] >= 2 and placement.executed == {"cpu": 1.0} and placement.nodes_elsewhere == ()
    assert session.loaded == {"cpu"}

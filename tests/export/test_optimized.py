"""ONNX Runtime's optimized graph, saved for one machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from keronyx.errors import ExportError
from keronyx.export import optimized
from keronyx.export.gates import numeric
from keronyx.types import ModelSpec, TensorSpec

SPEC = ModelSpec(
    "m", "m", (TensorSpec("x", (1, 3, 8, 8), "float32"),), (TensorSpec("y", (1, 4, 6, 6), "float32"),), 112, "hash"
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A convolution and a ReLU, which ONNX Runtime makes one node of."""
    kernel = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "m",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 6, 6])],
        [numpy_helper.from_array(kernel, "w")],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), str(path))
    return path


def test_the_saved_graph_is_the_fused_one_and_answers_the_same_without_optimizing(model: Path) -> None:
    made = optimized.save(model, SPEC)
    saved = model.parent / made["name"]
    fused = [node.op_type for node in onnx.load(str(saved)).graph.node]
    assert "Relu" not in fused and any("Conv" in op for op in fused)
    x = [np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype(np.float32)]
    answers = [numeric.run(numeric.open_session(p, o), SPEC, x)[0] for p, o in ((model, True), (saved, False))]
    assert np.array_equal(*answers)
    assert made["bytes"] == saved.stat().st_size and made["plain_ms"] > 0 and made["optimized_ms"] > 0


def test_its_name_and_metadata_say_for_which_machine_it_is(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = optimized.save(model, SPEC)["name"]
    props = {p.key: p.value for p in onnx.load(str(model.parent / first)).metadata_props}
    assert props[optimized.MACHINE] == optimized.machine() and "onnxruntime" in optimized.machine()
    monkeypatch.setattr(optimized, "machine", lambda: "onnxruntime 9.9 on another processor")
    assert optimized.name(model) != first


def test_a_saved_graph_that_answers_otherwise_is_not_kept(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = optimized._write

    def wrong(path: Path, to: Path, disabled: Any, level: str) -> None:
        original(path, to, disabled, level)
        proto = onnx.load(str(to))
        for tensor in proto.graph.initializer:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 1.5, tensor.name))
        onnx.save(proto, str(to))

    monkeypatch.setattr(optimized, "_write", wrong)
    with pytest.raises(ExportError, match="does not answer as"):
        optimized.save(model, SPEC)
    assert [path.name for path in model.parent.iterdir()] == ["model.onnx"]


def test_session_options_a_file_asks_for_are_followed(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"disabled_optimizers": ["ConvActivationFusion"], "graph_optimization_level": "extended"}
    proto = onnx.load(str(model))
    proto.metadata_props.add(key=numeric.SESSION_OPTIONS, value=json.dumps(asked))
    onnx.save(proto, str(model))
    opened = []
    original = numeric.open_session
    monkeypatch.setattr(
        numeric,
        "open_session",
        lambda path, optimized=True, disabled=(), level="all": (
            opened.append((path == model, list(disabled), level)),
            original(path, optimized, disabled, level),
        )[1],
    )
    made = optimized.save(model, SPEC)
    operators = [node.op_type for node in onnx.load(str(model.parent / made["name"])).graph.node]
    assert operators == ["Conv", "Relu"]  # neither fused nor, at the lower level, in blocked layout
    assert all(terms == [["ConvActivationFusion"], "extended"] for was_model, *terms in opened if was_model)


def test_a_vocabulary_of_two_is_no_obstacle(tmp_path: Path) -> None:
    table = numpy_helper.from_array(np.arange(8, dtype=np.float32).reshape(2, 4), "table")
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "ids"], ["y"])],
        "m",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 5, 4])],
        [table],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), str(path))
    spec = ModelSpec(
        "m", "m", (TensorSpec("ids", (None, 5), "int64"),), (TensorSpec("y", (None, 5, 4), "float32"),), 8, "hash"
    )
    assert (tmp_path / optimized.save(path, spec)["name"]).is_file()


def test_two_that_save_at_once_are_not_in_each_others_way(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    original = optimized._write
    monkeypatch.setattr(optimized, "_write", lambda m, path, *rest: (written.append(path), original(m, path, *rest)))
    optimized.save(model, SPEC)
    monkeypatch.setattr(optimized.os, "getpid", lambda: 1)
    optimized.save(model, SPEC)
    assert written[0] != written[1] and {p.name for p in written}.isdisjoint(p.name for p in model.parent.iterdir())

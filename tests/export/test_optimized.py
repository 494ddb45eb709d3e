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

    def wrong(path: Path, to: Path, disabled: Any) -> None:
        original(path, to, disabled)
        proto = onnx.load(str(to))
        for tensor in proto.graph.initializer:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 1.5, tensor.name))
        onnx.save(proto, str(to))

    monkeypatch.setattr(optimized, "_write", wrong)
    with pytest.raises(ExportError, match="does not answer as"):
        optimized.save(model, SPEC)
    assert [path.name for path in model.parent.iterdir()] == ["model.onnx"]


def test_optimizers_a_file_asks_to_leave_out_are_left_out(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proto = onnx.load(str(model))
    proto.metadata_props.add(
        key=numeric.SESSION_OPTIONS, value=json.dumps({"disabled_optimizers": ["ConvActivationFusion"]})
    )
    onnx.save(proto, str(model))
    seen = []
    original = optimized._write
    monkeypatch.setattr(optimized, "_write", lambda m, p, d: (seen.append(list(d)), original(m, p, d)))
    optimized.save(model, SPEC)
    assert seen == [["ConvActivationFusion"]]

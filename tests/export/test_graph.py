"""What is computed from the ONNX graph itself: multiply-accumulates, and constants folded away."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from keronyx.export.macs import count_macs
from keronyx.export.rewrite.fold_constants import fold_constants


def _tensor(name: str, shape: tuple[int | str, ...] | None) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _model(nodes: list[Any], shape: tuple[int | str, ...], /, **weights: Any) -> Any:
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "graph", [_tensor("x", shape)], [_tensor("y", None)], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def _ones(*shape: int) -> Any:
    return np.ones(shape, "float32")


@pytest.mark.parametrize(
    ("operator", "shape", "weight", "attributes", "expected"),
    [
        ("Conv", (2, 3, 8, 8), (5, 3, 3, 3), {}, 2 * 5 * 6 * 6 * 27),
        ("Conv", (1, 4, 8, 8), (6, 2, 3, 3), {"group": 2}, 6 * 6 * 6 * 18),
        ("Conv", (1, 3, 8, 8), (5, 3, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}, 5 * 4 * 4 * 27),
        ("ConvTranspose", (1, 3, 8, 8), (3, 5, 2, 2), {"strides": [2, 2]}, 3 * 8 * 8 * 5 * 4),
        ("Gemm", (4, 3), (3, 5), {}, 4 * 3 * 5),
        ("Gemm", (3, 4), (3, 5), {"transA": 1}, 4 * 3 * 5),
        ("MatMul", (7, 4, 3), (3, 5), {}, 7 * 4 * 3 * 5),
        ("Add", (3, 5), (3, 5), {}, 0),
    ],
)
def test_multiply_accumulates_are_those_of_the_definition(
    operator: str, shape: Any, weight: Any, attributes: Any, expected: int
) -> None:
    node = helper.make_node(operator, ["x", "w"], ["y"], **attributes)
    assert count_macs(_model([node], shape, w=_ones(*weight))) == expected


def test_a_dynamic_batch_has_no_count() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    assert count_macs(_model([node], ("batch", 3, 8, 8), w=_ones(5, 3, 3, 3))) is None


def _run(model: Any, x: Any) -> Any:
    from onnx.reference import ReferenceEvaluator

    return np.asarray(ReferenceEvaluator(model).run(None, {"x": x})[0])


def test_a_chain_of_layout_changes_becomes_one_initializer() -> None:
    weight = np.arange(6, dtype="float32").reshape(2, 3)
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]),
        helper.make_node("Reshape", ["t", "shape"], ["r"]),
        helper.make_node("Neg", ["r"], ["n"]),
        helper.make_node("Mul", ["x", "n"], ["y"]),
    ]
    model = _model(nodes, (1, 6), w=weight, shape=np.array([1, 6]))
    x = np.arange(1, 7, dtype="float32")[None]
    expected = _run(model, x)
    assert fold_constants(model) == 3
    assert [node.op_type for node in model.graph.node] == ["Mul"]
    assert [tensor.name for tensor in model.graph.initializer] == ["n"]
    np.testing.assert_array_equal(_run(model, x), expected)


def test_an_output_is_not_folded_away() -> None:
    model = _model([helper.make_node("Neg", ["w"], ["y"])], (1,), w=_ones(2))
    assert fold_constants(model) == 0
    assert [node.op_type for node in model.graph.node] == ["Neg"]


def test_what_depends_on_an_input_is_not_folded() -> None:
    nodes = [helper.make_node("Transpose", ["x"], ["t"]), helper.make_node("Add", ["t", "w"], ["y"])]
    assert fold_constants(_model(nodes, (2, 2), w=_ones(2, 2))) == 0


def test_an_initializer_read_only_inside_a_loop_is_kept() -> None:
    body = helper.make_graph(
        [helper.make_node("Add", ["carried", "step"], ["next"]), helper.make_node("Identity", ["go"], ["still"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            _tensor("carried", (2,)),
        ],
        [helper.make_tensor_value_info("still", TensorProto.BOOL, []), _tensor("next", (2,))],
    )
    nodes = [
        helper.make_node("Neg", ["raw"], ["step"]),
        helper.make_node("Loop", ["count", "begin", "x"], ["y"], body=body),
    ]
    model = _model(nodes, (2,), raw=_ones(2), count=np.array(3), begin=np.array(True))
    x = np.array([1, 2], "float32")
    assert fold_constants(model) == 1
    np.testing.assert_array_equal(_run(model, x), x - 3)

"""Small steps that passes share: reading constants and shapes, making nodes that carry on a layer's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from keronyx.types import Array


def infer_shapes(model: ir.Model) -> None:
    """Fill in the shapes and dtypes ONNX can tell; what it cannot tell stays None. Where all are known there is nothing
    to do: the inference takes as long as half a dozen passes together."""
    if not all(_known(value) for node in model.graph.all_nodes() for value in node.outputs):
        ShapeInferencePass(check_type=False, strict_mode=False)(model)


def _known(value: ir.Value) -> bool:
    return value.dtype is not None and value.shape is not None and value.shape.is_static()


def constant(value: ir.Value | None) -> Array | None:
    """What an initializer or a Constant node holds; None for anything computed, and for graph inputs."""
    if value is None or value.is_graph_input():
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def integers(value: ir.Value | None) -> tuple[int, ...] | None:
    """A constant scalar or vector of integers."""
    array = constant(value)
    return None if array is None or array.dtype.kind != "i" else tuple(int(i) for i in array.reshape(-1))


def rank(value: ir.Value | None) -> int | None:
    """Number of dimensions, if it is known."""
    return None if value is None or value.shape is None else value.shape.rank()


def dimensions(value: ir.Value | None) -> tuple[int | str | None, ...] | None:
    """Sizes, names for those that vary; None when not even their number is known."""
    if value is None or value.shape is None:
        return None
    return tuple(size if isinstance(size, int) else size.value for size in value.shape)


def initializer(graph: ir.Graph, array: Array, name: str) -> ir.Value:
    """A new initializer of the graph, under that name or one like it that is free."""
    free, number = name, 1
    while free in graph.initializers:
        free, number = f"{name}_{number}", number + 1
    value = ir.Value(
        name=free,
        shape=ir.Shape(array.shape),
        type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
        const_value=ir.tensor(np.ascontiguousarray(array) if array.ndim else array, name=free),
    )
    graph.register_initializer(value)
    return value


def axes(graph: ir.Graph, *numbers: int) -> ir.Value:
    """Axes as the int64 vector that operators take as an input."""
    return initializer(graph, np.array(numbers, np.int64), "axes_" + "_".join(map(str, numbers)))


def like(
    node: ir.Node,
    operator: str,
    inputs: Sequence[ir.Value | None],
    attributes: Mapping[str, ir.Attr] | Mapping[str, int | float | str | Sequence[int]] | None = None,
    shape: Sequence[int | str | None] | None = None,
) -> ir.Node:
    """A node of one output that stands for `node`, or a part of it: same layer, same dtype."""
    made = ir.node(operator, inputs, dict(attributes or {}), metadata_props=dict(node.metadata_props))
    made.outputs[0].type = node.outputs[0].type
    made.outputs[0].shape = None if shape is None else ir.Shape(shape)
    return made


def replace(node: ir.Node, by: Sequence[ir.Node]) -> None:
    """Put the nodes where `node` is; the output of the last one stands for the output of `node`, name and all."""
    assert node.graph is not None
    ir.convenience.replace_nodes_and_values(node.graph, node, [node], by, node.outputs, [by[-1].outputs[0]])

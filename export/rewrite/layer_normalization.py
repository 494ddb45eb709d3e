"""Layer normalization as one operator: Keras computes it in a dozen, which ONNX Runtime does not put together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from keronyx.export.rewrite.edit import constant, dimensions, infer_shapes, initializer, integers, like, replace
from keronyx.export.rewrite.fuse_prelu import made_by
from keronyx.types import Array


class FuseLayerNormalization(ir.passes.InPlacePass):
    """x * m + (offset - mean * m), where m = scale / sqrt(variance + epsilon), becomes LayerNormalization.

    In float32. Mean and variance are over the same axes, whose sizes are known; where they are not the last ones, as in
    the layout tf2onnx chooses beside a convolution, transposes put them there.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        graph = model.graph
        if not any(node.op_type == "Sqrt" for node in graph):
            return ir.passes.PassResult(model, False)
        infer_shapes(model)
        changed = False
        for node in graph:
            changed = _fuse(graph, node) or changed
        if changed:
            RemoveUnusedNodesPass()(model)
        return ir.passes.PassResult(model, changed)


def _fuse(graph: ir.Graph, add: ir.Node) -> bool:
    for x, factor, mean, offset in _sums(add):
        for inverse, scale in _products(factor):
            epsilon, axes = _deviation(inverse, x, mean)
            shape = dimensions(x)
            if epsilon is None or shape is None or x.dtype != ir.DataType.FLOAT:
                continue
            last = sorted(axis % len(shape) for axis in axes)
            sizes = [size for axis in last if isinstance(size := shape[axis], int)]
            order = [axis for axis in range(len(shape)) if axis not in last] + last
            parameters = [_last(array, sizes, order) for array in (scale, offset)]
            if len(sizes) < len(last) or any(array is None for array in parameters):
                continue
            _replace(graph, add, x, [a for a in parameters if a is not None], order, epsilon)
            return True
    return False


def _replace(
    graph: ir.Graph, add: ir.Node, x: ir.Value, parameters: list[Array], order: list[int], epsilon: float
) -> None:
    """LayerNormalization in place of `add`, between transposes where the axes are not the last of x."""
    shape, name = dimensions(x) or (), add.outputs[0].name
    scale, offset = (
        initializer(graph, array, f"{name}__{what}")
        for array, what in zip(parameters, ("scale", "offset"), strict=True)
    )
    attributes = {"axis": len(shape) - parameters[0].ndim, "epsilon": epsilon}
    if order == sorted(order):
        replace(add, [like(add, "LayerNormalization", [x, scale, offset], attributes, shape)])
        return
    turned = [shape[axis] for axis in order]
    there = like(add, "Transpose", [x], {"perm": order}, turned)
    normalized = like(add, "LayerNormalization", [there.outputs[0], scale, offset], attributes, turned)
    back = like(add, "Transpose", normalized.outputs, {"perm": [order.index(i) for i in range(len(order))]}, shape)
    replace(add, [there, normalized, back])


def _sums(add: ir.Node) -> Iterator[tuple[ir.Value, ir.Value, ir.Value, Array]]:
    """x, m, mean and offset of every way to read a node as x * m + (offset - mean * m)."""
    if add.op_type != "Add" or add.domain:
        return
    for first, second in _orders(add):
        product = made_by(first, "Mul")
        for x, factor in _orders(product):
            for mean, offset in _shifts(second, factor):
                yield x, factor, mean, offset


def _shifts(value: ir.Value | None, factor: ir.Value) -> Iterator[tuple[ir.Value, Array]]:
    """mean and offset of offset - mean * factor, however it is written."""
    difference = made_by(value, "Sub")
    if difference is not None and (offset := constant(difference.inputs[0])) is not None:
        yield from ((mean, offset) for mean, m in _orders(made_by(difference.inputs[1], "Mul")) if m is factor)
    sums = [(minus, constant(other)) for minus, other in _orders(made_by(value, "Add"))]
    for minus, offset in [*sums, (value, np.zeros((), np.float32))]:
        for mirrored, m in _orders(made_by(minus, "Mul")):
            negative = made_by(mirrored, "Neg")
            if offset is not None and m is factor and negative is not None and negative.inputs[0] is not None:
                yield negative.inputs[0], offset


def _products(factor: ir.Value) -> Iterator[tuple[ir.Value, Array]]:
    """1 / deviation and scale of their product; the scale may be missing."""
    yield factor, np.ones((), np.float32)
    for inverse, scale in _orders(made_by(factor, "Mul")):
        if (array := constant(scale)) is not None:
            yield inverse, array


def _deviation(inverse: ir.Value, x: ir.Value, mean: ir.Value) -> tuple[float | None, tuple[int, ...]]:
    """Epsilon and axes, if `inverse` is 1 / sqrt(variance of x + epsilon) and `mean` the mean over the same axes."""
    reciprocal = made_by(inverse, "Reciprocal")
    root = made_by(reciprocal.inputs[0], "Sqrt") if reciprocal is not None else None
    added = made_by(root.inputs[0], "Add") if root is not None else None
    for variance, small in _orders(added):
        epsilon, axes = constant(small), _mean_axes(made_by(variance, "ReduceMean"))
        node = made_by(variance, "ReduceMean")
        if epsilon is None or epsilon.size != 1 or node is None or not axes:
            continue
        square = made_by(node.inputs[0], "Mul")
        if square is None or square.inputs[0] is not square.inputs[1]:
            continue
        difference = made_by(square.inputs[0], "Sub")
        average = made_by(mean, "ReduceMean")
        if difference is None or set(difference.inputs) != {x, mean} or average is None:
            continue
        if average.inputs[0] is x and _mean_axes(average) == axes:
            return float(epsilon.reshape(-1)[0]), axes
    return None, ()


def _mean_axes(node: ir.Node | None) -> tuple[int, ...]:
    """Axes of a ReduceMean that keeps them; none of any other."""
    if node is None or len(node.inputs) != 2 or not node.attributes.get_int("keepdims", 1):
        return ()
    return integers(node.inputs[1]) or ()


def _orders(node: ir.Node | None) -> list[tuple[ir.Value, ir.Value]]:
    """The two inputs of a binary node, either way round; nothing of no node."""
    if node is None or len(node.inputs) != 2 or node.inputs[0] is None or node.inputs[1] is None:
        return []
    return [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])]


def _last(array: Array, sizes: list[int], order: list[int]) -> Array | None:
    """A scale or an offset in the shape of the normalized axes, put last, if it differs along those only."""
    if array.ndim > len(order):
        return None
    array = array.reshape((1,) * (len(order) - array.ndim) + array.shape).transpose(order)
    first = len(order) - len(sizes)
    if any(size != 1 for size in array.shape[:first]):
        return None
    if any(size not in (1, whole) for size, whole in zip(array.shape[first:], sizes, strict=True)):
        return None
    return np.ascontiguousarray(np.broadcast_to(array.reshape(array.shape[first:]), sizes)).astype(np.float32)

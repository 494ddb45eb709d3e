"""PReLU as one operator: Keras computes relu(x) + (-slope) * relu(-x), five nodes (onnx/tensorflow-onnx #2341)."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from keronyx.export.rewrite.edit import constant, dimensions, infer_shapes, initializer, like, replace
from keronyx.types import Array


class FusePRelu(ir.passes.InPlacePass):
    """Add(Relu(x), Mul(Relu(Neg(x)), -slope)) becomes PRelu(x, slope) for slopes that broadcast to x."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        if not any(node.op_type == "Neg" for node in model.graph):
            return ir.passes.PassResult(model, False)
        infer_shapes(model)
        changed = False
        for node in model.graph:
            found = _prelu(node)
            if found is None:
                continue
            x, slope = found
            weight = initializer(model.graph, slope, f"{node.outputs[0].name}__slope")
            replace(node, [like(node, "PRelu", [x, weight], shape=dimensions(x))])
            changed = True
        if changed:
            RemoveUnusedNodesPass()(model)
        return ir.passes.PassResult(model, changed)


def made_by(value: ir.Value | None, operator: str) -> ir.Node | None:
    """The node of that operator whose first output `value` is."""
    node = None if value is None else value.producer()
    if node is None or node.op_type != operator or node.domain or value is not node.outputs[0]:
        return None
    return node


def _prelu(add: ir.Node) -> tuple[ir.Value, Array] | None:
    """What the PReLU that ends in this addition is of, and its slopes without leading axes of size 1."""
    if add.op_type != "Add" or add.domain:
        return None
    for positive, negative in (add.inputs, reversed(add.inputs)):
        relu, product = made_by(positive, "Relu"), made_by(negative, "Mul")
        if relu is None or product is None:
            continue
        for inner, factor in (product.inputs, reversed(product.inputs)):
            slope, mirrored = constant(factor), made_by(inner, "Relu")
            minus = made_by(mirrored.inputs[0], "Neg") if mirrored is not None else None
            x = relu.inputs[0]
            if slope is None or minus is None or x is None or minus.inputs[0] is not x:
                continue
            if slope.dtype.kind == "f" and _broadcasts(slope, dimensions(x)):
                return x, _short(-slope)
    return None


def _broadcasts(slope: Array, shape: tuple[int | str | None, ...] | None) -> bool:
    """Whether the slopes leave the tensor's shape as it is."""
    if shape is None or slope.ndim > len(shape):
        return False
    return all(size in (1, whole) for size, whole in zip(reversed(slope.shape), reversed(shape), strict=False))


def _short(slope: Array) -> Array:
    while slope.ndim > 1 and slope.shape[0] == 1:
        slope = slope[0]
    return slope

"""One BatchNormalization for the multiplication and addition by channel that TensorFlow makes of it.

Those that follow a convolution are folded into it. What is left stands before one, as in DenseNet and ResNet V2: there
ONNX Runtime leaves its blocked layout for a Mul and an Add, but not for a BatchNormalization, with which it fuses the
activation, too.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from keronyx.export.rewrite.edit import constant, dimensions, infer_shapes, initializer, like, replace
from keronyx.types import Array


class MulAddToBatchNormalization(ir.passes.InPlacePass):
    """x * scale + offset, both constant and different by channel only (axis 1), in float32 and float16."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        infer_shapes(model)
        changed = False
        for node in model.graph:
            if node.op_type == "Add" and not node.domain:
                changed = _joined(model.graph, node) or changed
        return ir.passes.PassResult(model, changed)


def _joined(graph: ir.Graph, add: ir.Node) -> bool:
    product, offset = _with_constant(add)
    mul = None if product is None else product.producer()
    if product is None or mul is None or mul.op_type != "Mul" or mul.domain or mul.graph is not graph:
        return False
    if len(product.uses()) != 1 or product.is_graph_output():
        return False
    data, scale = _with_constant(mul)
    shape = dimensions(data)
    if data is None or shape is None or dimensions(add.outputs[0]) is None or len(shape) < 3:
        return False
    channels = shape[1]
    if not isinstance(channels, int) or data.dtype not in (ir.DataType.FLOAT, ir.DataType.FLOAT16):
        return False
    values = [_by_channel(array, channels, len(shape)) for array in (scale, offset)]
    if any(array is None for array in values):
        return False
    zeros = np.zeros_like(values[0])
    parameters = [
        initializer(graph, array, f"{add.outputs[0].name}__{name}")
        for name, array in (("scale", values[0]), ("offset", values[1]), ("mean", zeros), ("variance", zeros + 1))
        if array is not None
    ]
    replace(add, [like(add, "BatchNormalization", [data, *parameters], {"epsilon": 0.0})])
    graph.remove(mul, safe=True)
    return True


def _with_constant(node: ir.Node) -> tuple[ir.Value | None, Array | None]:
    """The computed input of a binary operator and the constant one; None, None when there are not one of each."""
    first, second = (constant(value) for value in node.inputs)
    if (first is None) == (second is None):
        return None, None
    return (node.inputs[0], second) if first is None else (node.inputs[1], first)


def _by_channel(array: Array | None, channels: int, rank: int) -> Array | None:
    """(channels,) of a constant that broadcasts against (N, channels, ...) without changing its shape, else None."""
    if array is None or array.ndim > rank:
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    if shape[1] not in (1, channels) or any(size != 1 for size in (*shape[:1], *shape[2:])):
        return None
    return np.ascontiguousarray(np.broadcast_to(array.reshape(-1), (channels,)))

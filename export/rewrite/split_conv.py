"""A convolution of two joined images as the sum of one of each, where joining breaks ONNX Runtime's blocks of channels.

Its fast kernels take channels in blocks of 8, or fewer than 8 as they are. 32 channels joined with the 3 of the image
are 35, which go through a general, slower kernel; taken one by one, both are in the blocked layout, and the joined
image is never made. The addition is fused into the second convolution.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from keronyx.export.rewrite.edit import constant, dimensions, infer_shapes, initializer, like, replace
from keronyx.export.rewrite.fuse_prelu import made_by

BLOCK = 8
"""Channels that ONNX Runtime's blocked kernels take at a time."""


class SplitConv(ir.passes.InPlacePass):
    """Concat of two images by channel -> Conv becomes Add of two Conv, where only the parts fit into blocks."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        infer_shapes(model)
        changed = False
        for node in list(model.graph):
            changed = _split(model.graph, node) or changed
        return ir.passes.PassResult(model, changed)


def _split(graph: ir.Graph, conv: ir.Node) -> bool:
    if conv.op_type != "Conv" or conv.domain or conv.attributes.get_int("group", 1) != 1:
        return False
    value, weight = conv.inputs[0], constant(conv.inputs[1])
    joined = made_by(value, "Concat")
    if value is None or weight is None or weight.dtype != np.float32 or weight.ndim != 4 or joined is None:
        return False
    if len(value.uses()) != 1 or value.is_graph_output() or joined.attributes.get_int("axis", 0) not in (1, -3):
        return False
    channels = [(dimensions(part) or (None, None))[1] for part in joined.inputs]
    if len(channels) != 2 or not all(isinstance(count, int) for count in channels):
        return False
    first, second = (int(count) for count in channels if isinstance(count, int))
    blocked, few = {first % BLOCK == 0, second % BLOCK == 0}, min(first, second) < BLOCK
    if blocked != {True, False} or not few:
        return False
    name, shape = conv.outputs[0].name, dimensions(conv.outputs[0])
    left = initializer(graph, weight[:, :first], f"{name}__first")
    right = initializer(graph, weight[:, first:], f"{name}__second")
    one = like(conv, "Conv", [joined.inputs[0], left, *conv.inputs[2:]], conv.attributes, shape)
    other = like(conv, "Conv", [joined.inputs[1], right], conv.attributes, shape)
    replace(conv, [one, other, like(conv, "Add", [one.outputs[0], other.outputs[0]], shape=shape)])
    graph.remove(joined, safe=True)
    return True

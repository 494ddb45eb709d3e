"""Max-pooling that keeps indices, lowered to operators TensorRT lists: for networks that un-pool with them.

ONNX's MaxPool with indices is refused by TensorRT. Windows that tile the image are laid out along an axis of their
own; ArgMax takes the first of equal values, as TensorFlow does, so that ties come out the same. Other windows stay
MaxPool.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keronyx.export.operators import Builder, Handler


def _with_indices(graph: Any, node: Any, name: str, _: Sequence[Any]) -> None:
    from tf2onnx.onnx_opset.nn import MaxPoolWithArgmaxOp

    (down, across), strides = (list(node.get_attr_value(key))[1:3] for key in ("ksize", "strides"))
    shape = graph.get_shape(node.input[0]) or [-1] * 4
    tiled = [down, across] == strides and min(shape[1:]) > 0 and not (shape[1] % down or shape[2] % across)
    if not tiled or (node.get_attr_value("include_batch_in_index") and shape[0] != 1):
        node.type = "MaxPool"
        MaxPoolWithArgmaxOp.version_8(graph, node)
        return
    _, height, width, channels = shape
    rows, columns = height // down, width // across
    kind = graph.get_dtype(node.output[1])
    b = Builder(graph, node)
    tiles = b.make("Reshape", b.inputs[0], b.constant([-1, rows, down, columns, across, channels], "int64"))
    windows = b.make("Transpose", tiles, perm=[0, 1, 3, 5, 2, 4])
    windows = b.make("Reshape", windows, b.constant([-1, rows, columns, channels, down * across], "int64"))
    place = b.make("ArgMax", windows, axis=-1, keepdims=0)
    # The index of a pixel is (y * width + x) * channels + channel.
    y, x, channel = np.ogrid[0:height:down, 0:width:across, 0:channels]
    first = b.constant(((y * width + x) * channels + channel)[None], "int64")
    further = (np.arange(down)[:, None] * width + np.arange(across)) * channels
    index = b.make("Add", b.make("Gather", b.constant(further.ravel(), "int64"), place), first)
    b.finish_each(
        ("ReduceMax", (windows, b.constant([-1], "int64")), {"keepdims": 0}),
        ("Cast", (index,), {"to": kind}),
    )


HANDLERS: dict[str, Handler] = {"MaxPoolWithArgmax": _with_indices}

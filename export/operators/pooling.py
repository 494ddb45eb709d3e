"""Pooling with 'same' padding whose windows are smaller than their steps.

For sizes it does not know, tf2onnx asks ONNX Runtime to pad (`auto_pad`), which comes to negative pads where the last
window ends before the image does, and fails. There the pads are computed from the image's shape. In three dimensions
TensorFlow on a CPU may not take such pads as none, as it does in two: it then leaves out that much on both sides
(Eigen's volume patches), whatever is known. On a processor with AVX-512 it pools by oneDNN, which follows the rule; so
TensorFlow is asked what it does here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from keronyx.export.operators import Builder, Handler


def _pooled(graph: Any, node: Any, name: str, _: Sequence[Any]) -> None:
    from tf2onnx.onnx_opset.nn import PoolOp

    rank = 3 if node.type.endswith("3D") else 2
    last = node.data_format[-1] == "C"
    axes = slice(1, rank + 1) if last else slice(2, rank + 2)
    if len(node.input) == 3:  # MaxPoolV2, which pads by rule only
        kernel, strides = (node.inputs[i].get_tensor_value()[axes] for i in (1, 2))
    else:
        kernel, strides = (list(node.get_attr_value(key))[axes] for key in ("ksize", "strides"))
    made = "MaxPool" if node.type.startswith("Max") else "AveragePool"
    skips = any(size < step for size, step in zip(kernel, strides, strict=True))
    given = graph.get_shape(node.input[0])
    sizes = None if given is None or min(given[axes]) < 0 else list(given[axes])
    by_rule = rank == 2 or not (skips and _leaves_out_both_sides())
    if node.get_attr_value("padding") != b"SAME" or not skips or (by_rule and sizes is not None):
        kind, node.type = node.type, made
        PoolOp.version_11(graph, node, tf_op=kind)
        return
    b = Builder(graph, node)
    image = _as_float(b)
    if last:
        image = b.make("Transpose", image, perm=[0, rank + 1, *range(1, rank + 1)])
    options = {"kernel_shape": kernel, "strides": strides}
    if by_rule and all(size == 1 or step == 1 for size, step in zip(kernel, strides, strict=True)):
        begin = [(size - 1) // 2 for size in kernel]
        pads = [*begin, *(size - 1 - start for size, start in zip(kernel, begin, strict=True))]
        pooled = b.make(made, image, pads=pads, **options)
    elif sizes is not None:
        pooled = _between(b, made, image, sizes, options)
    else:
        pooled = _of_open_size(b, made, image, options, by_rule)
    if last:
        pooled = b.make("Transpose", pooled, perm=[0, *range(2, rank + 2), 1])
    b.finish("Cast", pooled, to=b.made) if _is_cast(b) else b.finish("Identity", pooled)


def _is_cast(b: Builder) -> bool:
    """Whether the image is of integers, which ONNX does not pool."""
    from onnx import TensorProto

    return b.dtype not in (TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE)


def _as_float(b: Builder) -> str:
    from onnx import TensorProto

    return b.make("Cast", b.inputs[0], to=TensorProto.FLOAT) if _is_cast(b) else b.inputs[0]


def _between(b: Builder, made: str, image: str, sizes: list[int], options: dict[str, list[int]]) -> str:
    """Volumes of known sizes: what is left out is cut off, what is missing are pads."""
    begin, end = [], []
    for size, length, step in zip(sizes, options["kernel_shape"], options["strides"], strict=True):
        missing = (size - 1) // step * step + length - size
        begin.append(int(missing / 2))
        end.append(missing - begin[-1])
    if min(begin) < 0:
        starts = [max(0, -one) for one in begin]
        axes = b.constant(range(2, len(sizes) + 2), "int64")
        image = b.make("Slice", image, b.constant(starts, "int64"), b.constant(sizes, "int64"), axes)
    return b.make(made, image, pads=[max(0, one) for one in (*begin, *end)], **options)


@lru_cache(maxsize=1)
def _leaves_out_both_sides() -> bool:
    """Whether TensorFlow pools volumes by Eigen's patches here: windows of 2 of 10 values at step 5 then begin at 1."""
    import tensorflow as tf

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:  # a conversion is no place to compute eagerly
        line = tf.constant(np.arange(10, dtype=np.float32).reshape(1, 10, 1, 1, 1))
        pooled = session.run(tf.nn.max_pool3d(line, [2, 1, 1], [5, 1, 1], "SAME"))
    return bool(pooled.flat[0] == 2)


def _of_open_size(b: Builder, made: str, image: str, options: dict[str, list[int]], by_rule: bool) -> str:
    """An average is that of an image with zeros around it, over that of ones with zeros around them."""
    rank, whole = len(options["strides"]), b.constant([0, 0], "int64")  # batch and channels have no pads
    shape = b.make("Shape", image, start=2)
    one, two, step = (b.constant(values, "int64") for values in ([1] * rank, [2] * rank, options["strides"]))
    covered = b.make("Mul", b.make("Div", b.make("Sub", shape, one), step), step)
    missing = b.make("Sub", b.make("Add", covered, b.constant(options["kernel_shape"], "int64")), shape)
    if by_rule:
        missing = b.make("Max", missing, b.constant([0] * rank, "int64"))
    begin = b.make("Div", missing, two)  # towards 0, as Eigen divides
    pads = b.make("Concat", whole, begin, whole, b.make("Sub", missing, begin), axis=0)
    if made == "MaxPool":
        return b.make(made, b.make("Pad", image, pads, _number(b, -np.inf)), **options)
    ones = b.make("Expand", _number(b, 1), b.make("Concat", b.constant([1, 1], "int64"), shape, axis=0))
    sums, counts = (b.make(made, b.make("Pad", values, pads), **options) for values in (image, ones))
    return b.make("Div", sums, counts)


def _number(b: Builder, value: float) -> str:
    """A constant of the dtype that is pooled."""
    return b.constant(value, "float32") if _is_cast(b) else b.constant(value)


HANDLERS: dict[str, Handler] = dict.fromkeys(("AvgPool", "AvgPool3D", "MaxPool", "MaxPoolV2", "MaxPool3D"), _pooled)

"""Dilated convolutions as the operator that has dilations, whatever the size of their input.

TensorFlow traces them as convolutions of rearranged pixels (SpaceToBatch), which tf2onnx only turns back for sizes it
knows; for open ones dozens of Slice and Transpose stay. Nothing is computed while tracing, so that no kernel for
dilations on CPU is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from keronyx.export.substitutions import Substitution
from keronyx.recast import replaced


@contextmanager
def _scope() -> Iterator[None]:
    import tensorflow as tf

    nn = tf.nn
    convolution_as_it_is, depthwise_as_it_is, separable_as_it_is = (
        nn.convolution,
        nn.depthwise_conv2d,
        nn.separable_conv2d,
    )

    def convolution(
        input: Any,
        filters: Any,
        strides: Any = None,
        padding: Any = "VALID",
        data_format: str | None = None,
        dilations: Any = None,
        name: str | None = None,
    ) -> Any:
        rank = len(input.shape) - 2
        steps, rates = _each(strides, rank), _each(dilations, rank)
        pads = _pads(padding, list(filters.shape)[:rank], steps, rates)
        if max(rates) == 1 or rank > 3 or pads is None or data_format not in (None, "NWC", "NHWC", "NDHWC"):
            return convolution_as_it_is(input, filters, strides, padding, data_format, dilations, name)
        if rank == 3:
            padded = tf.pad(input, pads) if any(map(any, pads)) else input
            return nn.conv3d(padded, filters, [1, *steps, 1], "VALID", "NDHWC", [1, *rates, 1], name)
        if rank == 2:
            return nn.conv2d(input, filters, [1, *steps, 1], pads, "NHWC", [1, *rates, 1], name)
        rows, kernel, pads = tf.expand_dims(input, 1), tf.expand_dims(filters, 0), [[0, 0], *pads]
        return tf.squeeze(nn.conv2d(rows, kernel, [1, 1, *steps, 1], pads, "NHWC", [1, 1, *rates, 1], name), [1])

    def depthwise_conv2d(
        input: Any,
        filter: Any,
        strides: Any,
        padding: Any,
        data_format: str | None = None,
        dilations: Any = None,
        name: str | None = None,
    ) -> Any:
        rates = _each(dilations, 2)
        pads = _pads(padding, list(filter.shape)[:2], list(strides)[1:3], rates)
        if max(rates) == 1 or pads is None or data_format not in (None, "NHWC"):
            return depthwise_as_it_is(input, filter, strides, padding, data_format, dilations, name)
        return tf.raw_ops.DepthwiseConv2dNative(
            input=input,
            filter=filter,
            strides=list(strides),
            padding="EXPLICIT",
            explicit_paddings=[size for pair in pads for size in pair],
            dilations=[1, *rates, 1],
        )

    def separable_conv2d(
        input: Any,
        depthwise_filter: Any,
        pointwise_filter: Any,
        strides: Any,
        padding: Any,
        data_format: str | None = None,
        dilations: Any = None,
        name: str | None = None,
    ) -> Any:
        if max(_each(dilations, 2)) == 1 or data_format not in (None, "NHWC"):
            given = (input, depthwise_filter, pointwise_filter, strides, padding, data_format, dilations, name)
            return separable_as_it_is(*given)
        each = depthwise_conv2d(input, depthwise_filter, strides, padding, data_format, dilations)
        return nn.conv2d(each, pointwise_filter, 1, "VALID")

    with ExitStack() as stack:
        for new in (convolution, depthwise_conv2d, separable_conv2d):
            stack.enter_context(replaced(nn, new.__name__, new))
        yield


def _pads(padding: Any, kernel: list[int], steps: list[int], rates: list[int]) -> list[list[int]] | None:
    """Rows added before and after every dimension, batch and channels too; None where they depend on the size. ONNX
    Runtime has no automatic padding of dilated convolutions."""
    if padding == "VALID":
        inner = [[0, 0] for _ in kernel]
    elif padding == "SAME" and max(steps) == 1:
        reached = [(size - 1) * rate for size, rate in zip(kernel, rates, strict=True)]
        inner = [[rest // 2, rest - rest // 2] for rest in reached]
    else:
        return None
    return [[0, 0], *inner, [0, 0]]


def _each(value: Any, count: int) -> list[int]:
    """One number a dimension, of what may be one for all."""
    values = [1] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]
    return [int(v) for v in (values * count if len(values) == 1 else values)]


SUBSTITUTION = Substitution("dilated convolution", "glue around a convolution whose input has an open size", _scope)

"""Transposed convolutions: TensorFlow says how large the output is, ONNX what is cut off the full one or added to it.

tf2onnx writes a missing length as negative pads, which the standard forbids. Where the input has an open size, it
computes with -1 as if that were one, and adds the bias before the zeros that are missing. The full output is
`(input - 1) * stride + (kernel - 1) * dilation + 1` long; what the wanted one lacks of it is a constant for every Keras
layer, which its substitution tells (`SURPLUS`), else it is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keronyx.export.operators import Builder, Handler

SURPLUS = "_keronyx_surplus"
"""Attribute of the TensorFlow operator: for each axis of an image how much longer the full output is than the wanted
one; negative where zeros are missing."""


def _transposed(graph: Any, node: Any, name: str, _: Sequence[Any]) -> None:
    rank = 3 if node.type == "Conv3DBackpropInputV2" else 2
    last = node.data_format[-1] == "C"
    axes = slice(1, rank + 1) if last else slice(2, rank + 2)
    options = {key: list(node.get_attr_value(key) or [1] * (rank + 2))[axes] for key in ("strides", "dilations")}
    padding, given = node.get_attr_value("padding"), list(node.get_attr_value("explicit_paddings") or [])
    said = given[::2][axes] if padding == b"EXPLICIT" else None if padding == b"SAME" else [0] * rank
    surplus = node.get_attr_value(SURPLUS) or _surplus(graph, node, axes, **options)
    b = Builder(graph, node)
    size, kernel, image, *bias = b.inputs  # tf2onnx has put the bias of a layer into its convolution
    weight = b.make("Transpose", kernel, perm=[rank + 1, rank, *range(rank)])
    if last:
        image = b.make("Transpose", image, perm=[0, rank + 1, *range(1, rank + 1)])
    inputs = [image, weight, *bias]
    if surplus is None:
        made = _cut_to(b, size, inputs, axes, said, options)
    else:
        before = said or [max(0, one) // 2 for one in surplus]
        after = [one - cut for one, cut in zip(surplus, before, strict=True)]
        pads, zeros = [*before, *(max(0, one) for one in after)], [max(0, -one) for one in after]
        made = b.make("ConvTranspose", *inputs, pads=pads, output_padding=zeros, **options)
    b.finish("Transpose" if last else "Identity", made, **({"perm": [0, *range(2, rank + 2), 1]} if last else {}))


def _surplus(graph: Any, node: Any, axes: slice, strides: list[int], dilations: list[int]) -> list[int] | None:
    """What SURPLUS says, where both sizes are known; else None."""
    from tf2onnx.onnx_opset.nn import get_shape_from_const_or_concat

    wanted, given = get_shape_from_const_or_concat(graph, node.inputs[0]), graph.get_shape(node.input[2])
    if wanted is None or given is None or min([*given[axes], *list(wanted)[axes]]) < 0:
        return None
    kernel = graph.get_shape(node.input[1])[:-2]
    sizes = zip(given[axes], strides, kernel, dilations, list(wanted)[axes], strict=True)
    return [(size - 1) * step + (length - 1) * rate + 1 - int(new) for size, step, length, rate, new in sizes]


def _cut_to(
    b: Builder, size: str, inputs: list[str], axes: slice, starts: list[int] | None, options: dict[str, list[int]]
) -> str:
    """The wanted part of the full output and the zeros behind it, of which there are stride - 1 at most. Without
    `starts` it is the middle one."""
    from onnx import TensorProto

    rank = len(options["strides"])
    zeros = [step - 1 for step in options["strides"]]
    full = b.make("ConvTranspose", *inputs, output_padding=zeros, **options)

    def part(shape: str, start: int) -> str:
        return b.make("Slice", shape, *(b.constant([place], "int64") for place in (start, start + rank)))

    wanted = b.make("Cast", part(size, axes.start), to=TensorProto.INT64)
    start = b.constant(starts or [0] * rank, "int64")
    if starts is None:
        surplus = b.make("Sub", part(b.make("Shape", full), 2), b.make("Add", wanted, b.constant(zeros, "int64")))
        start = b.make("Div", b.make("Max", surplus, start), b.constant([2] * rank, "int64"))
    return b.make("Slice", full, start, b.make("Add", start, wanted), b.constant(range(2, rank + 2), "int64"))


HANDLERS: dict[str, Handler] = {"Conv2DBackpropInput": _transposed, "Conv3DBackpropInputV2": _transposed}

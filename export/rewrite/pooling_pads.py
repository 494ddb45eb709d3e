"""Zeros around an image that is then max-pooled or convolved.

ONNX Runtime folds a Pad into the MaxPool after it, which pads with minus infinity instead of the zeros: wrong answers
wherever everything near a border is negative (microsoft/onnxruntime #24737; ResNet50V2 and others of
keras.applications). Here the MaxPool gets the pads and its result the maximum with 0 where a window met them, which is
the same and cheaper. A Conv pads with zeros itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from keronyx.export.rewrite.edit import constant, dimensions, infer_shapes, initializer, integers, like, replace
from keronyx.types import Array

NEVER_NEGATIVE = frozenset({"Relu", "Sigmoid", "Abs", "Exp", "Softmax", "Softplus"})
FLOATS = {ir.DataType.FLOAT16, ir.DataType.FLOAT, ir.DataType.DOUBLE}


class PoolingPads(ir.passes.InPlacePass):
    """Pad with zeros -> MaxPool or Conv becomes MaxPool or Conv with those pads, and Max where MaxPool needs it."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        if not any(node.op_type == "Pad" for node in model.graph):
            return ir.passes.PassResult(model, False)
        infer_shapes(model)
        changed = False
        for node in list(model.graph):
            if node.domain or node.op_type not in ("MaxPool", "Conv") or len(node.outputs) != 1:
                continue
            zeros, window = _zeros(node.inputs[0]), _window(node)
            if zeros is not None and window is not None:
                fold = _into_pool if node.op_type == "MaxPool" else _into_conv
                changed = fold(model.graph, node, zeros, window) or changed
        for node in list(model.graph):
            if node.op_type == "Pad" and not node.outputs[0].uses() and not node.outputs[0].is_graph_output():
                model.graph.remove(node, safe=True)
        return ir.passes.PassResult(model, changed)


@dataclass(frozen=True)
class _Window:
    """Along the axes behind batch and channels: size, step and distance of elements, and the node's own pads."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]


@dataclass(frozen=True)
class _Zeros:
    """A Pad with zeros of the axes behind batch and channels."""

    source: ir.Value
    begin: tuple[int, ...]
    end: tuple[int, ...]


def _zeros(value: ir.Value | None) -> _Zeros | None:
    pad = None if value is None else value.producer()
    if pad is None or pad.op_type != "Pad" or pad.domain or pad.attributes.get_string("mode", "constant") != "constant":
        return None
    pads, source = integers(pad.inputs[1]), pad.inputs[0]
    if pads is None or source is None or source.dtype not in FLOATS:
        return None
    fill = pad.inputs[2] if len(pad.inputs) > 2 else None
    amount = None if fill is None else constant(fill)
    if (fill is not None and (amount is None or amount.any())) or (len(pad.inputs) > 3 and pad.inputs[3] is not None):
        return None
    axes = len(pads) // 2
    begin, end = pads[:axes], pads[axes:]
    if axes < 3 or min(pads) < 0 or any((*begin[:2], *end[:2])):
        return None
    return _Zeros(source, begin[2:], end[2:])


def _window(node: ir.Node) -> _Window | None:
    weight = dimensions(node.inputs[1]) if node.op_type == "Conv" else None
    kernel = tuple(node.attributes.get_ints("kernel_shape", ()) or (weight or ())[2:])
    automatic = node.attributes.get_string("auto_pad", "NOTSET")
    if not kernel or not all(isinstance(size, int) for size in kernel) or automatic not in ("NOTSET", "VALID"):
        return None
    if node.attributes.get_int("ceil_mode", 0):
        return None
    axes = len(kernel)
    ones, none = (1,) * axes, (0,) * (2 * axes)
    pads = tuple(node.attributes.get_ints("pads", none)) if automatic == "NOTSET" else none
    strides, dilations = (tuple(node.attributes.get_ints(name, ones)) for name in ("strides", "dilations"))
    return _Window(kernel, strides, dilations, pads[:axes], pads[axes:])  # type: ignore[arg-type]


def _into_conv(graph: ir.Graph, node: ir.Node, zeros: _Zeros, window: _Window) -> bool:
    node.replace_input_with(0, zeros.source)
    _set_pads(node, zeros, window)
    return True


def _into_pool(graph: ir.Graph, node: ir.Node, zeros: _Zeros, window: _Window) -> bool:
    reach = [(size - 1) * rate + 1 for size, rate in zip(window.kernel, window.dilations, strict=True)]
    pads = _sum(zeros.begin, window.begin), _sum(zeros.end, window.end)
    if any(pad >= size for pads_of in pads for pad, size in zip(pads_of, window.kernel, strict=True)):
        return _keep_apart(graph, node, zeros)  # ONNX Runtime refuses such pads
    producer = zeros.source.producer()
    if (
        producer is not None
        and producer.op_type in NEVER_NEGATIVE
        and not producer.domain
        and max(window.dilations) == 1
    ):
        node.replace_input_with(0, zeros.source)  # 0 is no more than what else is in the window
        _set_pads(node, zeros, window)
        return True
    sizes = (dimensions(zeros.source) or ())[2:]
    if len(sizes) != len(reach) or not all(isinstance(size, int) for size in sizes):
        return _keep_apart(graph, node, zeros)
    floor = _floor(zeros, window, [int(size) for size in sizes if isinstance(size, int)])
    if floor is None:
        return _keep_apart(graph, node, zeros)
    assert zeros.source.dtype is not None
    limit = initializer(graph, floor.astype(zeros.source.dtype.numpy()), f"{node.outputs[0].name}__floor")
    shape = dimensions(node.outputs[0])
    pool = like(node, "MaxPool", [zeros.source], node.attributes, shape)
    _set_pads(pool, zeros, window)
    replace(node, [pool, like(node, "Max", [pool.outputs[0], limit], shape=shape)])
    return True


def _floor(zeros: _Zeros, window: _Window, sizes: Sequence[int]) -> Array | None:
    """0 at windows that meet the zeros, the smallest number elsewhere, (1, 1, ...) by the sizes of the result.

    None where a window holds nothing of the image along an axis: there MaxPool would give minus infinity.
    """
    meets = np.zeros((), bool)
    for axis, size in enumerate(sizes):
        first, last = zeros.begin[axis] + window.begin[axis], zeros.end[axis] + window.end[axis]
        kernel, step, rate = window.kernel[axis], window.strides[axis], window.dilations[axis]
        count = (size + first + last - (kernel - 1) * rate - 1) // step + 1
        places = np.arange(count)[:, None] * step + np.arange(kernel) * rate - first
        if count < 1 or not ((places >= 0) & (places < size)).any(1).all():
            return None
        before = (places < 0) & (places >= -zeros.begin[axis])
        behind = (places >= size) & (places < size + zeros.end[axis])
        meets = np.logical_or.outer(meets, (before | behind).any(1))
    return np.where(meets, 0.0, -np.inf)[None, None]


def _keep_apart(graph: ir.Graph, node: ir.Node, zeros: _Zeros) -> bool:
    """Pad with the smallest number above 0: no more than rounding, and what ONNX Runtime leaves alone."""
    pad = node.inputs[0].producer() if node.inputs[0] is not None else None
    assert pad is not None and zeros.source.dtype is not None
    dtype = zeros.source.dtype.numpy()
    tiny = initializer(graph, np.array(np.finfo(dtype).smallest_subnormal, dtype), "smallest_above_zero")
    apart = like(pad, "Pad", [*pad.inputs[:2], tiny], pad.attributes, dimensions(pad.outputs[0]))
    graph.insert_before(node, apart)
    node.replace_input_with(0, apart.outputs[0])
    return True


def _set_pads(node: ir.Node, zeros: _Zeros, window: _Window) -> None:
    pads = (*_sum(zeros.begin, window.begin), *_sum(zeros.end, window.end))
    node.attributes["pads"] = ir.AttrInt64s("pads", pads)
    node.attributes.pop("auto_pad", None)


def _sum(some: Sequence[int], others: Sequence[int]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(some, others, strict=True))

"""Conversion faults, put into an ONNX file on purpose, each into one layer.

Every fault is a function `(model, rng) -> (model, layer) | None`: the model is an `onnx.ModelProto` and stays as it is,
what comes back is a copy with the fault and the Keras layer it was put into (as its nodes are labelled), or None where
the network has no place for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keronyx.export.layers import LAYER
from keronyx.types import Array

Faulty = tuple[Any, str]
Fault = Callable[[Any, np.random.Generator], Faulty | None]

CONVOLUTIONS = ("Conv", "ConvTranspose")


def filter_scaled(model: Any, rng: np.random.Generator) -> Faulty | None:
    """One filter of a convolution times 1.02."""

    def scale(node: Any, weight: Array) -> Array:
        axis = _filters(node)
        factors = np.ones(weight.shape[axis], weight.dtype)
        factors[rng.integers(len(factors))] = 1.02
        return weight * factors.reshape([-1 if a == axis else 1 for a in range(weight.ndim)])

    return _with_constant(model, rng, CONVOLUTIONS, 1, scale)


def bias_scaled(model: Any, rng: np.random.Generator) -> Faulty | None:
    """One bias of a convolution, not next to zero, times 1.01."""

    def scale(_: Any, bias: Array) -> Array:
        place = rng.choice(np.flatnonzero(np.abs(bias) >= np.median(np.abs(bias))))
        return np.where(np.arange(len(bias)) == place, bias * np.float32(1.01), bias)

    return _with_constant(model, rng, CONVOLUTIONS, 2, scale)


def any_bias_scaled(model: Any, rng: np.random.Generator) -> Faulty | None:
    """One bias of a convolution, however small, times 1.01."""

    def scale(_: Any, bias: Array) -> Array:
        return np.where(np.arange(len(bias)) == rng.integers(len(bias)), bias * np.float32(1.01), bias)

    return _with_constant(model, rng, CONVOLUTIONS, 2, scale)


def padding_shifted(model: Any, rng: np.random.Generator) -> Faulty | None:
    """Padding of a convolution that is one row more above and one less below."""

    def places(node: Any) -> bool:
        pads = _ints(node, "pads")
        return node.op_type == "Conv" and len(pads) == 4 and pads[2] > 0

    def shift(node: Any) -> None:
        pads = _ints(node, "pads")
        _set(node, "pads", [pads[0] + 1, pads[1], pads[2] - 1, pads[3]])

    return _with_node(model, rng, places, shift)


def dilation_dropped(model: Any, rng: np.random.Generator) -> Faulty | None:
    """A dilated convolution that is not; its padding keeps the size."""

    def places(node: Any) -> bool:
        return node.op_type == "Conv" and max(_ints(node, "dilations"), default=1) > 1

    def drop(node: Any) -> None:
        dilations, pads = _ints(node, "dilations"), _ints(node, "pads")
        _set(node, "dilations", [1] * len(dilations))
        _set(node, "pads", [pad // rate for pad, rate in zip(pads, dilations * 2, strict=True)])

    return _with_node(model, rng, places, drop)


def nearest_made_linear(model: Any, rng: np.random.Generator) -> Faulty | None:
    """Nearest-neighbour upsampling that interpolates."""

    def places(node: Any) -> bool:
        return node.op_type == "Resize" and any(a.name == "mode" and a.s == b"nearest" for a in node.attribute)

    def change(node: Any) -> None:
        for attribute in [a for a in node.attribute if a.name in ("mode", "nearest_mode")]:
            if attribute.name == "mode":
                attribute.s = b"linear"
            else:
                node.attribute.remove(attribute)

    return _with_node(model, rng, places, change)


def nearest_shifted(model: Any, rng: np.random.Generator) -> Faulty | None:
    """Nearest-neighbour upsampling that takes the pixel before, where half-pixel centres are rounded down."""

    def places(node: Any) -> bool:
        return node.op_type == "Resize" and any(a.name == "mode" and a.s == b"nearest" for a in node.attribute)

    def change(node: Any) -> None:
        wanted = {"coordinate_transformation_mode": b"half_pixel", "nearest_mode": b"floor"}
        for attribute in [a for a in node.attribute if a.name in wanted]:
            node.attribute.remove(attribute)
        for name, value in wanted.items():
            attribute = node.attribute.add()
            attribute.name, attribute.s, attribute.type = name, value, attribute.STRING

    return _with_node(model, rng, places, change)


def relu_dropped(model: Any, rng: np.random.Generator) -> Faulty | None:
    """A ReLU that is not there."""
    changed = _copy(model)
    found = _pick(rng, [node for node in changed.graph.node if node.op_type == "Relu"])
    if found is None:
        return None
    layer = layer_of(found)
    for node in changed.graph.node:
        node.input[:] = [found.input[0] if name == found.output[0] else name for name in node.input]
    changed.graph.node.remove(found)
    return changed, layer


def slopes_averaged(model: Any, rng: np.random.Generator) -> Faulty | None:
    """PReLU with one slope, their mean, for all channels."""

    def average(_: Any, slopes: Array) -> Array:
        return np.full_like(slopes, slopes.mean())

    return _with_constant(model, rng, ("PRelu", "Mul"), 1, average, of="prelu")


def classes_swapped(model: Any, rng: np.random.Generator) -> Faulty | None:
    """Two classes of the last convolution the other way round, with their biases."""
    changed = _copy(model)
    convolutions = [node for node in changed.graph.node if node.op_type in CONVOLUTIONS]
    if not convolutions:
        return None
    node = convolutions[-1]
    weight = _constant(changed, node.input[1])
    axis = _filters(node)
    if weight is None or weight.shape[axis] < 2:
        return None
    one, other = rng.choice(weight.shape[axis], 2, replace=False)
    order = np.arange(weight.shape[axis])
    order[[one, other]] = other, one
    _give(changed, node, 1, weight.take(order, axis))
    bias = _constant(changed, node.input[2]) if len(node.input) > 2 else None
    if bias is not None:
        _give(changed, node, 2, bias[order])
    return changed, layer_of(node)


FAULTS: tuple[Fault, ...] = (
    filter_scaled,
    bias_scaled,
    padding_shifted,
    dilation_dropped,
    nearest_made_linear,
    relu_dropped,
    slopes_averaged,
    classes_swapped,
)
"""All of them."""


def layer_of(node: Any) -> str:
    """The Keras layer a node is labelled with; empty if it is not."""
    return next((str(p.value) for p in node.metadata_props if p.key == LAYER), "")


def _with_constant(
    model: Any,
    rng: np.random.Generator,
    operators: Sequence[str],
    place: int,
    change: Callable[[Any, Array], Array],
    of: str = "",
) -> Faulty | None:
    """A copy in which one node has another constant; the other nodes of its layer that share it have it, too."""
    changed = _copy(model)
    nodes = [
        node
        for node in changed.graph.node
        if node.op_type in operators
        and len(node.input) > place
        and of in layer_of(node)
        and (constant := _constant(changed, node.input[place])) is not None
        and constant.size > 1
    ]
    found = _pick(rng, nodes)
    if found is None:
        return None
    constant = _constant(changed, found.input[place])
    assert constant is not None
    _give(changed, found, place, change(found, constant).astype(constant.dtype))
    return changed, layer_of(found)


def _with_node(
    model: Any, rng: np.random.Generator, places: Callable[[Any], bool], change: Callable[[Any], None]
) -> Faulty | None:
    """A copy in which one of the nodes that `places` takes was changed."""
    changed = _copy(model)
    found = _pick(rng, [node for node in changed.graph.node if places(node)])
    if found is None:
        return None
    change(found)
    return changed, layer_of(found)


def _give(model: Any, node: Any, place: int, value: Array) -> None:
    """Give a node another constant, and those of the same layer that share the one it had."""
    import onnx

    old, layer = node.input[place], layer_of(node)
    new = f"{old}__faulty"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(value), new))
    for other in model.graph.node:
        if layer_of(other) == layer:
            other.input[:] = [new if name == old else name for name in other.input]


def _constant(model: Any, name: str) -> Array | None:
    import onnx

    found = next((tensor for tensor in model.graph.initializer if tensor.name == name), None)
    return None if found is None else np.array(onnx.numpy_helper.to_array(found))


def _copy(model: Any) -> Any:
    made = type(model)()
    made.CopyFrom(model)
    return made


def _pick(rng: np.random.Generator, nodes: Sequence[Any]) -> Any:
    return nodes[int(rng.integers(len(nodes)))] if nodes else None


def _filters(node: Any) -> int:
    """Axis of a convolution's weight that its filters are along."""
    return 0 if node.op_type == "Conv" else 1


def _ints(node: Any, name: str) -> list[int]:
    return next((list(a.ints) for a in node.attribute if a.name == name), [])


def _set(node: Any, name: str, values: Sequence[int]) -> None:
    attribute = next(a for a in node.attribute if a.name == name)
    attribute.ints[:] = values

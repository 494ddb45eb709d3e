"""Operators that compute the same in any order of axes, and what changes in them when the axes are put in another."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from keronyx.export.rewrite.edit import constant, integers, rank
from keronyx.export.rewrite.sink_squeeze import ELEMENTWISE, REDUCE
from keronyx.types import Array

AXIS = {"Softmax": -1, "LogSoftmax": -1, "Hardmax": -1, "Concat": None, "ArgMax": 0, "ArgMin": 0}
"""Operators with one axis as attribute, and its default."""


@dataclass(frozen=True)
class Turned:
    """What changes in a node whose tensors get their axes in another order: which inputs those tensors are, attributes,
    and inputs that speak of axes."""

    data: tuple[int, ...] = (0,)
    attributes: dict[str, ir.Attr] = field(default_factory=dict)
    parameters: dict[int, Array] = field(default_factory=dict)


def works_in_any_layout(node: ir.Node) -> bool:
    """Whether `turned` knows the node; it needs the ranks of all its tensors."""
    axes = rank(node.outputs[0]) if node.outputs else None
    return axes is not None and axes > 1 and turned(node, tuple(range(axes))) is not None


def turned(node: ir.Node, order: tuple[int, ...]) -> Turned | None:
    """Changes when axis `a` of the node's tensors becomes axis `order[a]`; None for a node that cannot be turned."""
    axes = len(order)
    if node.domain or len(node.outputs) != 1 or rank(node.outputs[0]) != axes:
        return None
    operator = node.op_type
    if operator == "Clip":
        return Turned() if rank(node.inputs[0]) == axes else None
    if operator in ELEMENTWISE or operator == "Concat":
        return _joining(node, order)
    if rank(node.inputs[0]) != axes:
        return None
    if operator in AXIS:
        return Turned(attributes=_axis(node, order))
    if operator in REDUCE:
        numbers = integers(node.inputs[1]) if len(node.inputs) == 2 else None
        if not numbers:
            return None
        return Turned(parameters={1: np.array(sorted(order[number] for number in numbers), np.int64)})
    if operator == "Pad":
        return _pad(node, order)
    if operator == "Slice":
        return _slice(node, order)
    return None


def _joining(node: ir.Node, order: tuple[int, ...]) -> Turned | None:
    """Inputs of as many axes as the result, or constants of fewer, or scalars."""
    for value in node.inputs:
        known = rank(value)
        if value is None or known is None:
            return None
        if known != len(order) and (node.op_type == "Concat" or (known and constant(value) is None)):
            return None
    attributes = _axis(node, order) if node.op_type == "Concat" else {}
    return Turned(tuple(range(len(node.inputs))), attributes)


def _axis(node: ir.Node, order: tuple[int, ...]) -> dict[str, ir.Attr]:
    axis = node.attributes.get_int("axis", AXIS[node.op_type])
    assert axis is not None  # Concat must have one
    return {"axis": ir.AttrInt64("axis", order[axis])}


def _pad(node: ir.Node, order: tuple[int, ...]) -> Turned | None:
    pads = integers(node.inputs[1])
    if pads is None or len(pads) != 2 * len(order) or (len(node.inputs) > 3 and node.inputs[3] is not None):
        return None
    moved = np.empty((2, len(order)), np.int64)
    moved[:, list(order)] = np.array(pads).reshape(2, -1)
    return Turned(parameters={1: moved.reshape(-1)})


def _slice(node: ir.Node, order: tuple[int, ...]) -> Turned | None:
    if len(node.inputs) < 4:
        return None
    given = constant(node.inputs[3])  # of the dtype that starts and ends have
    if given is None:
        return None
    return Turned(parameters={3: np.array([order[int(n)] for n in given.reshape(-1)], given.dtype)})

"""Turning axes round as one Slice, where tf2onnx writes a ReverseSequence with a dozen nodes for lengths around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keronyx.export.operators import Builder, Handler

FIRST = -(2**63)
"""Where a slice with steps of -1 ends that takes all."""


def _reverse(graph: Any, node: Any, name: str, _: Sequence[Any]) -> None:
    from tf2onnx import utils

    shape = graph.get_shape(node.input[0])
    utils.make_sure(node.inputs[1].is_const() and shape is not None, "%s: axes to reverse must be constant", name)
    axes = sorted(int(axis) % len(shape) for axis in node.inputs[1].get_tensor_value(as_list=False).reshape(-1))
    before = node.inputs[0]
    b = Builder(graph, node)
    if not axes:
        b.finish("Identity", b.inputs[0])
    elif before.type == "Slice" and _axes(before) == axes:  # twice is not at all: Bidirectional turns what it turned
        b.finish("Identity", before.input[0])
    else:
        starts, ends, steps = ([value] * len(axes) for value in (-1, FIRST, -1))
        b.finish("Slice", b.inputs[0], *(b.constant(v, "int64") for v in (starts, ends, axes, steps)))


def _axes(slicing: Any) -> list[int] | None:
    """The axes a Slice that this module made reverses; None of any other."""
    if len(slicing.input) != 5 or not all(node.is_const() for node in slicing.inputs[1:]):
        return None
    starts, ends, axes, steps = (node.get_tensor_value() for node in slicing.inputs[1:])
    whole = all(value == -1 for value in [*starts, *steps]) and all(value == FIRST for value in ends)
    return sorted(axes) if whole else None


HANDLERS: dict[str, Handler] = {"ReverseV2": _reverse}

"""Einsum of two tensors as one MatMul between transposes and reshapes of known sizes.

tf2onnx takes it apart in some twenty nodes that compute shapes when the model runs; attention has two of them a layer.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

from keronyx.export.operators import Builder, Handler

Sizes = dict[str, int]
"""Letter -> size, -1 for one known only when the model runs."""


def _einsum(graph: Any, node: Any, name: str, _: Sequence[Any]) -> None:
    from onnx import TensorProto
    from tf2onnx.onnx_opset.math import Einsum

    shapes = [graph.get_shape(tensor) for tensor in node.input]
    terms = _terms(node.get_attr_value("equation").decode(), shapes)
    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
    plan = _plan(*terms, *shapes) if terms and graph.get_dtype(node.input[0]) in floats else None
    if plan is None:
        Einsum.version_12(graph, node)
        return
    b = Builder(graph, node)
    swapped, left, right, after = plan
    first, second = reversed(b.inputs) if swapped else b.inputs
    factors = [_apply(b, first, left), _apply(b, second, right)]
    if not after:
        b.finish("MatMul", *factors)
        return
    product = _apply(b, b.make("MatMul", *factors), after[:-1])
    b.finish(*_arguments(b, product, after[-1]), **_attributes(after[-1]))


Step = tuple[str, list[int]]
"""Transpose with its permutation, or Reshape with its shape."""


def _terms(equation: str, shapes: Sequence[Any]) -> tuple[str, str, str] | None:
    """The letters of two inputs and of the output, those an ellipsis stands for included; None for any other kind."""
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    sides = inputs.split(",")
    if not arrow or len(sides) != 2 or any(shape is None for shape in shapes):
        return None
    spare = [letter for letter in string.ascii_letters if letter not in equation]
    hidden = {
        len(shape) - len(side.replace("...", "")) for side, shape in zip(sides, shapes, strict=True) if "..." in side
    }
    if len(hidden) > 1:
        return None
    letters = "".join(spare[: hidden.pop()]) if hidden else ""
    first, second, result = (side.replace("...", letters) for side in (*sides, output))
    distinct = all(len(set(term)) == len(term) for term in (first, second, result))
    return (first, second, result) if distinct else None


def _plan(
    first: str, second: str, output: str, first_shape: list[int], second_shape: list[int]
) -> tuple[bool, list[Step], list[Step], list[Step]] | None:
    """(inputs swapped, steps on the left factor, on the right one, on their product), or None where no one MatMul will
    do: a letter summed over in one input alone, nothing summed over, or sizes that cannot be told."""
    sizes = dict(zip(first, first_shape, strict=True))
    for letter, size in zip(second, second_shape, strict=True):
        both = {sizes.setdefault(letter, size), size}
        if len(both - {-1}) > 1 or both == {-1, 1}:  # one of the two is, or may be, broadcast
            return None
        sizes[letter] = max(both)
    batch = [c for c in output if c in first and c in second]
    summed = [c for c in first if c in second and c not in output]
    if not summed or any((c in first) != (c in second) and c not in output for c in first + second):
        return None
    rows, columns = ([c for c in output if c in term and c not in batch] for term in (first, second))
    swapped = bool(rows and columns) and output.index(rows[0]) > output.index(columns[0])
    if swapped:
        first, second, rows, columns = second, first, columns, rows
    whole = (
        not batch and len(columns) == 1 and bool(rows)
    )  # a MatMul takes any number of rows when the right factor is a matrix
    left = _steps(first, [[c] for c in batch], [[c] for c in rows] if whole else [rows], [summed], sizes)
    right = _steps(second, [[c] for c in batch], [summed], [columns], sizes)
    made = "".join([*batch, *rows, *columns])
    merged = [[c] for c in batch] + ([[c] for c in rows] if whole else [rows]) + [columns]
    after: list[Step] = []
    if any(len(group) != 1 for group in merged):
        shape = _shape([[c] for c in made], merged, sizes)
        if shape is None:
            return None
        after.append(("Reshape", shape))
    if made != output:
        after.append(("Transpose", [made.index(c) for c in output]))
    return None if left is None or right is None else (swapped, left, right, after)


def _steps(
    term: str, batch: list[list[str]], middle: list[list[str]], last: list[list[str]], sizes: Sizes
) -> list[Step] | None:
    """Transpose and reshape a factor into these groups of letters."""
    groups = [*batch, *middle, *last]
    order = [c for group in groups for c in group]
    steps: list[Step] = []
    if order != list(term):
        steps.append(("Transpose", [term.index(c) for c in order]))
    if any(len(group) != 1 for group in groups):
        shape = _shape(groups, [[c] for c in order], sizes)
        if shape is None:
            return None
        steps.append(("Reshape", shape))
    return steps


def _shape(groups: list[list[str]], before: list[list[str]], sizes: Sizes) -> list[int] | None:
    """What to write into a Reshape from `before` to `groups`: 0 keeps a size, at most one may be left to infer (-1)."""
    shape = []
    for place, group in enumerate(groups):
        product = 1
        for letter in group:
            product = -1 if -1 in (product, sizes[letter]) else product * sizes[letter]
        kept = product == -1 and before[: place + 1] == groups[: place + 1]
        shape.append(0 if kept else product)
    return shape if shape.count(-1) <= 1 else None


def _apply(b: Builder, tensor: str, steps: list[Step]) -> str:
    for step in steps:
        operator, *inputs = _arguments(b, tensor, step)
        tensor = b.make(operator, *inputs, **_attributes(step))
    return tensor


def _arguments(b: Builder, tensor: str, step: Step) -> list[str]:
    return [step[0], tensor, *([b.constant(step[1], "int64")] if step[0] == "Reshape" else [])]


def _attributes(step: Step) -> dict[str, Any]:
    return {"perm": step[1]} if step[0] == "Transpose" else {}


HANDLERS: dict[str, Handler] = {"Einsum": _einsum}

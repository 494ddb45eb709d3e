"""Keep one-dimensional convolutions in the four dimensions ONNX Runtime is fast in.

TensorFlow computes Conv1D as a two-dimensional convolution of height 1, between an Unsqueeze and a Squeeze. What
follows it (bias, BatchNormalization, activation, pooling, addition) is then done on three dimensions, where ONNX
Runtime neither fuses it nor has its blocked layout (NCHWc), and reorders the data around every convolution. Here each
Squeeze of one axis moves down through what follows, until the next Unsqueeze ends it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from keronyx.export.rewrite.edit import (
    axes,
    constant,
    dimensions,
    infer_shapes,
    initializer,
    integers,
    like,
    rank,
    replace,
)

_UNARY = (
    "Abs Cast Ceil Celu Cos Elu Erf Exp Floor HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Log Mish Neg Not "
    "Reciprocal Relu Round Selu Sigmoid Sign Sin Softplus Softsign Sqrt Tanh ThresholdedRelu Clip"
)
_JOINING = "Add And Div Equal Greater GreaterOrEqual Less LessOrEqual Max Min Mod Mul Or PRelu Pow Sub Sum Where Xor"
ELEMENTWISE = frozenset([*_UNARY.split(), *_JOINING.split()])
"""Inputs broadcast against each other, as NumPy does it; Clip's limits are scalars."""

AXIS = {"Softmax": -1, "LogSoftmax": -1, "Hardmax": -1, "Concat": 0}
"""Operators with one axis as attribute, and its default; inputs all of one rank."""

REDUCE = frozenset(
    f"Reduce{kind}" for kind in ("Max", "Mean", "Min", "Prod", "Sum", "L1", "L2", "LogSumExp", "SumSquare")
)

NHWC, NCHW = 1, 2
"""Where the axis of size 1 stands in the two layouts of a one-dimensional convolution."""


class SinkSqueeze(ir.passes.InPlacePass):
    """Squeeze of one axis -> operator becomes operator -> Squeeze; Squeeze -> Unsqueeze of the same axis disappears."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        graph = model.graph
        if not any(node.op_type == "Squeeze" for node in graph):
            return ir.passes.PassResult(model, False)
        infer_shapes(model)
        changed = False
        for node in graph:  # in order, so that what moved to a node's output moves on from there
            changed = _sink(node) or changed
        if changed:
            _drop_unused(graph)
        return ir.passes.PassResult(model, changed)


def squeezed(value: ir.Value | None) -> tuple[ir.Value, int] | None:
    """What `value` is a Squeeze of, and its one axis; None when it is none, or of no known rank."""
    node = None if value is None else value.producer()
    if node is None or node.op_type != "Squeeze" or node.domain or len(node.inputs) != 2:
        return None
    root, numbers, full = node.inputs[0], integers(node.inputs[1]), rank(node.inputs[0])
    if root is None or full is None or numbers is None or len(numbers) != 1:
        return None
    return root, numbers[0] % full


def _sink(node: ir.Node) -> bool:
    """Move a Squeeze above `node` below it. Says whether it did."""
    if node.domain or len(node.outputs) != 1 or not any(squeezed(value) for value in node.inputs):
        return False
    if node.op_type in ELEMENTWISE or node.op_type == "Concat":
        return _sink_joining(node)
    found = squeezed(node.inputs[0])
    if found is None:
        return False
    root, axis = found
    if node.op_type == "Unsqueeze":
        return _cancel(node, root, axis)
    if node.op_type == "Reshape":
        return _reshape(node, root, axis)
    if node.op_type in AXIS:
        return _below(node, node.op_type, [root], {"axis": _moved(_axis(node), axis, _rank(root))}, axis)
    if node.op_type == "Transpose":
        return _transpose(node, root, axis)
    if node.op_type in REDUCE:
        return _reduce(node, root, axis)
    if node.op_type == "Pad":
        return _pad(node, root, axis)
    return False


def _sink_joining(node: ir.Node) -> bool:
    """Elementwise operators and Concat: inputs that are no Squeeze of that axis get an Unsqueeze, which is free."""
    found = [squeezed(value) for value in node.inputs]
    root, axis = next(pair for pair in found if pair is not None)
    full = _rank(root)
    out = dimensions(node.outputs[0])
    if out is None or len(out) != full - 1:
        return False
    if node.op_type == "Clip":
        return _below(node, "Clip", [root, *node.inputs[1:]], node.attributes, axis)
    ranks = [rank(value) for value in node.inputs]
    if any(value is None or r is None or r >= full for value, r in zip(node.inputs, ranks, strict=True)):
        return False
    attributes = dict(node.attributes)
    if node.op_type == "Concat":
        attributes["axis"] = ir.AttrInt64("axis", _moved(_axis(node), axis, full))
    roots: list[ir.Value | None] = []
    before = []
    for value, pair, size in zip(node.inputs, found, ranks, strict=True):
        if pair is not None and pair[1] == axis and _rank(pair[0]) == full:
            roots.append(pair[0])
            continue
        assert value is not None and size is not None
        place = axis - (full - 1 - size)  # where the new axis stands among those of a tensor of fewer dimensions
        if place <= 0 and node.op_type != "Concat":
            roots.append(value)  # broadcasting adds it
        elif (array := constant(value)) is not None:
            roots.append(initializer(_graph(node), np.expand_dims(array, place), f"{value.name}__unsqueezed"))
        else:
            shape = list(dimensions(value) or ())
            unsqueeze = like(node, "Unsqueeze", [value, axes(_graph(node), place)], shape=_with_one(shape, place))
            unsqueeze.outputs[0].type = value.type
            before.append(unsqueeze)
            roots.append(unsqueeze.outputs[0])
    return _below(node, node.op_type, roots, attributes, axis, before)


def _below(
    node: ir.Node,
    operator: str,
    inputs: Sequence[ir.Value | None],
    attributes: object,
    axis: int,
    before: Sequence[ir.Node] = (),
) -> bool:
    """Put `operator` on the unsqueezed inputs, and a Squeeze of `axis` under it, in place of `node`."""
    out = dimensions(node.outputs[0])
    full = None if out is None else _with_one(out, axis)
    moved = like(node, operator, inputs, attributes, full)  # type: ignore[arg-type]
    replace(node, [*before, moved, like(node, "Squeeze", [moved.outputs[0], axes(_graph(node), axis)])])
    return True


def _cancel(node: ir.Node, root: ir.Value, axis: int) -> bool:
    numbers = integers(node.inputs[1])
    if numbers is None or len(numbers) != 1 or numbers[0] % _rank(root) != axis:
        return False
    replace(node, [like(node, "Identity", [root])])
    return True


def _reshape(node: ir.Node, root: ir.Value, axis: int) -> bool:
    """A Reshape that copies no size by position from behind the axis takes the data with or without it."""
    target = integers(node.inputs[1])
    allow_zero = node.attributes.get_int("allowzero", 0)
    if target is None or (not allow_zero and any(size == 0 for size in target[axis:])):
        return False
    node.replace_input_with(0, root)
    return True


def _transpose(node: ir.Node, root: ir.Value, axis: int) -> bool:
    """Between the layouts of a one-dimensional convolution the axis changes its place, so that it ends where the next
    Unsqueeze wants it; otherwise it keeps it."""
    full = _rank(root)
    order = list(node.attributes.get_ints("perm", tuple(reversed(range(full - 1)))))
    place = {NCHW: NHWC, NHWC: NCHW}[axis] if full == 4 and order == [0, 2, 1] and axis in (NHWC, NCHW) else axis
    moved = [_moved(number, axis, full) for number in order]
    moved.insert(place, axis)
    return _below(node, "Transpose", [root], {"perm": moved}, place)


def _reduce(node: ir.Node, root: ir.Value, axis: int) -> bool:
    full, keep = _rank(root), node.attributes.get_int("keepdims", 1)
    numbers = integers(node.inputs[1]) if len(node.inputs) == 2 else None
    if not numbers or "axes" in node.attributes:
        return False
    moved = sorted(_moved(number, axis, full) for number in numbers)
    left = axis if keep else axis - sum(number < axis for number in moved)
    return _below(node, node.op_type, [root, axes(_graph(node), *moved)], node.attributes, left)


def _pad(node: ir.Node, root: ir.Value, axis: int) -> bool:
    pads, full = integers(node.inputs[1]), _rank(root)
    if pads is None or len(pads) != 2 * (full - 1) or (len(node.inputs) > 3 and node.inputs[3] is not None):
        return False
    wider = np.insert(np.array(pads, np.int64).reshape(2, -1), axis, 0, axis=1).reshape(-1)
    amounts = initializer(_graph(node), wider, "pads")
    return _below(node, "Pad", [root, amounts, *node.inputs[2:3]], node.attributes, axis)


def _axis(node: ir.Node) -> int:
    return node.attributes.get_int("axis", AXIS[node.op_type])


def _moved(number: int, axis: int, full: int) -> int:
    """Axis of the squeezed tensor -> the same axis of the one with `full` dimensions, where `axis` is the extra one."""
    positive = number % (full - 1)
    return positive + (positive >= axis)


def _with_one(shape: Sequence[int | str | None], axis: int) -> list[int | str | None]:
    return [*shape[:axis], 1, *shape[axis:]]


def _rank(value: ir.Value) -> int:
    known = rank(value)
    assert known is not None  # `squeezed` finds no others
    return known


def _graph(node: ir.Node) -> ir.Graph:
    assert isinstance(node.graph, ir.Graph)
    return node.graph


def _drop_unused(graph: ir.Graph) -> None:
    """Squeezes nothing reads any more, and the Identities that stand where an Unsqueeze was."""
    model = ir.Model(graph, ir_version=10)
    for cleaning in (ir.passes.common.IdentityEliminationPass(), ir.passes.common.RemoveUnusedNodesPass()):
        cleaning(model)

"""Transposes only where a layout ends: what stands between two of them is computed in the layout outside them.

tf2onnx moves transposes through what it knows, and leaves islands in TensorFlow's layout (channels last) where it
meets anything else: slopes of every pixel, comparisons, slices. An island is a group of connected operators that work
in any layout; turning it costs a transpose of each tensor that enters or leaves it untransposed, and saves those that
are there. It is turned when that leaves fewer elements to move.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from keronyx.export.rewrite.any_layout import Turned, turned, works_in_any_layout
from keronyx.export.rewrite.drop_no_ops import bypass
from keronyx.export.rewrite.edit import constant, dimensions, infer_shapes, initializer, rank
from keronyx.export.rewrite.fuse_prelu import made_by

Order = tuple[int, ...]
"""`perm` of a Transpose."""


class KeepLayout(ir.passes.InPlacePass):
    """Turn islands between transposes into the layout outside them; drop transposes that cancel."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        graph = model.graph
        if sum(node.op_type == "Transpose" for node in graph) < 2:
            return ir.passes.PassResult(model, False)
        infer_shapes(model)
        changed = _merge(graph)
        moved = _moved(graph)
        while _turn_once(graph):
            _merge(graph)
            changed, before, moved = True, moved, _moved(graph)
            if moved >= before:  # what was estimated to be a gain was none: no further
                break
        if changed:
            RemoveUnusedNodesPass()(model)
        return ir.passes.PassResult(model, changed)


def order_of(transpose: ir.Node | None) -> Order | None:
    """The order a Transpose puts the axes into; None for another node."""
    if transpose is None or transpose.op_type != "Transpose" or transpose.domain:
        return None
    axes = rank(transpose.inputs[0])
    given = transpose.attributes.get_ints("perm", None)
    return tuple(given) if given is not None else None if axes is None else tuple(reversed(range(axes)))


def _merge(graph: ir.Graph) -> bool:
    """Two transposes in a row are one; one that changes nothing, or that nothing reads, goes."""
    changed = False
    for node in graph:
        order = order_of(node)
        if order is None:
            continue
        before = made_by(node.inputs[0], "Transpose")
        first = order_of(before)
        if before is not None and first is not None:
            order = tuple(first[axis] for axis in order)
            node.replace_input_with(0, before.inputs[0])
            node.attributes["perm"] = ir.AttrInt64s("perm", order)
            if not before.outputs[0].uses() and not before.outputs[0].is_graph_output():
                graph.remove(before, safe=True)  # else `_gain` counts what nothing reads
            changed = True
        made = node.outputs[0]
        if not made.uses() and not made.is_graph_output():
            graph.remove(node, safe=True)
            changed = True
        elif order == tuple(range(len(order))):
            changed = bypass(node) or changed
    return changed


def _moved(graph: ir.Graph) -> float:
    """Elements that all transposes move."""
    return sum(_elements(node.outputs[0]) for node in graph if node.op_type == "Transpose")


def _turn_once(graph: ir.Graph) -> bool:
    """Turn every island that is worth it, each once."""
    changed = False
    for island in _islands(graph):
        for order in _orders(island):
            if _gain(island, order) > 0:
                _turn(graph, island, order)
                changed = True
                break
    return changed


def _islands(graph: ir.Graph) -> list[list[ir.Node]]:
    """Groups of operators that work in any layout, joined by what they hand on or by a transpose they all read."""
    members = [node for node in graph if works_in_any_layout(node)]
    group = {id(node): node for node in members}  # node -> another of its group, up to one that stands for all

    def head(node: ir.Node) -> ir.Node:
        while group[id(node)] is not node:
            node = group[id(node)]
        return node

    readers: dict[int, ir.Node] = {}
    for node in members:
        for value in node.inputs:
            producer = None if value is None else value.producer()
            if producer is None or rank(value) != rank(node.outputs[0]):
                continue
            if order_of(producer) is not None:
                other = readers.setdefault(id(producer), node)
            elif id(producer) in group:
                other = producer
            else:
                continue
            group[id(head(node))] = head(other)
    islands: dict[int, list[ir.Node]] = {}
    for node in members:
        islands.setdefault(id(head(node)), []).append(node)
    return list(islands.values())


def _orders(island: Sequence[ir.Node]) -> list[Order]:
    """Orders of the transposes in front of the island, and inverses of those behind it."""
    found: dict[Order, None] = {}
    for node in island:
        for value in node.inputs:
            order = order_of(None if value is None else value.producer())
            if order is not None and len(order) == rank(node.outputs[0]):
                found.setdefault(order)
        for made in node.outputs:
            for use in made.uses():
                order = order_of(use.node)
                if order is not None:
                    found.setdefault(_inverse(order))
    return list(found)


def _gain(island: Sequence[ir.Node], order: Order) -> float:
    """Elements that need no transpose any more once the island is turned, less those that then need one."""
    inside = {id(node) for node in island}
    gain = 0.0
    for value in _entering(island):
        producer = value.producer()
        if order_of(producer) == order:
            if all(id(use.node) in inside for use in value.uses()) and not value.is_graph_output():
                gain += _elements(value)
        else:
            gain -= _elements(value)
    for value in _made(island):
        left = value.is_graph_output()
        for use in value.uses():
            if order_of(use.node) == _inverse(order):
                gain += _elements(value)
            else:
                left = left or id(use.node) not in inside
        gain -= _elements(value) if left else 0
    return gain


def _turn(graph: ir.Graph, island: Sequence[ir.Node], order: Order) -> None:
    inside = {id(node) for node in island}
    new: dict[int, ir.Value] = {}
    for value in _entering(island):
        producer = value.producer()
        if producer is not None and order_of(producer) == order and producer.inputs[0] is not None:
            new[id(value)] = producer.inputs[0]
        else:
            new[id(value)] = _transposed(graph, value, _inverse(order), island[0])
    for value in _made(island):
        _turn_readers(graph, value, order, inside)
    for node in island:
        found = turned(node, order)
        assert found is not None
        _rewire(graph, node, found, order, new)


def _turn_readers(graph: ir.Graph, value: ir.Value, order: Order, inside: set[int]) -> None:
    """Readers outside the island that undo its layout read it as it will be; the others read a transpose of it."""
    outside = [use for use in value.uses() if id(use.node) not in inside]
    others = []
    for use in outside:
        made = use.node.outputs[0]
        if order_of(use.node) == _inverse(order) and not made.is_graph_output():
            made.replace_all_uses_with(value)
        else:
            others.append(use)
    if not others and not value.is_graph_output():
        return
    producer = value.producer()
    assert producer is not None
    back = ir.node("Transpose", [value], {"perm": order}, metadata_props=dict(producer.metadata_props))
    back.outputs[0].type, back.outputs[0].shape = value.type, value.shape
    graph.insert_after(producer, back)
    if value.is_graph_output():
        name = value.name
        for i, output in enumerate(graph.outputs):
            if output is value:
                graph.outputs[i] = back.outputs[0]
        value.name, back.outputs[0].name = f"{name}__turned", name
    for use in others:
        use.node.replace_input_with(use.idx, back.outputs[0])


def _rewire(graph: ir.Graph, node: ir.Node, found: Turned, order: Order, new: dict[int, ir.Value]) -> None:
    for i, value in enumerate(node.inputs):
        if value is None:
            continue
        if i in found.parameters:
            node.replace_input_with(i, initializer(graph, found.parameters[i], f"{value.name}__turned"))
        elif i in found.data and id(value) in new:
            node.replace_input_with(i, new[id(value)])
        elif i in found.data and (array := constant(value)) is not None and array.ndim:
            wide = array.reshape((1,) * (len(order) - array.ndim) + array.shape)
            node.replace_input_with(i, initializer(graph, wide.transpose(_inverse(order)), f"{value.name}__turned"))
    node.attributes.update(found.attributes)
    for made in node.outputs:
        shape = dimensions(made)
        made.shape = None if shape is None else ir.Shape([shape[axis] for axis in _inverse(order)])


def _transposed(graph: ir.Graph, value: ir.Value, order: Order, like: ir.Node) -> ir.Value:
    node = ir.node("Transpose", [value], {"perm": order}, metadata_props=dict(like.metadata_props))
    node.outputs[0].type = value.type
    shape = dimensions(value)
    node.outputs[0].shape = None if shape is None else ir.Shape([shape[axis] for axis in order])
    producer = value.producer()
    if producer is not None:
        graph.insert_after(producer, node)
    else:
        graph.insert_before(graph[0], node)
    return node.outputs[0]


def _entering(island: Sequence[ir.Node]) -> list[ir.Value]:
    """Tensors computed outside that the island reads as data."""
    inside = {id(node) for node in island}
    found: dict[int, ir.Value] = {}
    for node in island:
        identity = turned(node, tuple(range(rank(node.outputs[0]) or 0)))
        assert identity is not None
        for i, value in enumerate(node.inputs):
            if i not in identity.data or value is None or constant(value) is not None or rank(value) == 0:
                continue
            producer = value.producer()
            if producer is None or id(producer) not in inside:
                found[id(value)] = value
    return list(found.values())


def _made(island: Iterable[ir.Node]) -> list[ir.Value]:
    return [value for node in island for value in node.outputs]


def _elements(value: ir.Value) -> float:
    """Of one item, where the batch or another size is open."""
    return float(np.prod([size for size in dimensions(value) or () if isinstance(size, int)] or [1]))


def _inverse(order: Order) -> Order:
    return tuple(int(axis) for axis in np.argsort(order))

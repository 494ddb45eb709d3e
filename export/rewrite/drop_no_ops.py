"""Nodes that hand on what they get: they cost a copy, or stand between nodes that could be one."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import (
    CommonSubexpressionEliminationPass,
    DeduplicateInitializersPass,
    RemoveUnusedNodesPass,
)

from keronyx.export.rewrite.edit import dimensions, infer_shapes, integers


class DropNoOps(ir.passes.InPlacePass):
    """Drop Reshape to the shape there is, Cast to the dtype there is, Pad by nothing, Concat of one tensor, Identity;
    compute once what is there twice; drop what nothing reads."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        infer_shapes(model)
        changed = False
        for node in list(model.graph):
            if not node.domain and _does_nothing(node):
                changed = bypass(node) or changed
        for cleaning in (
            CommonSubexpressionEliminationPass(),
            DeduplicateInitializersPass(),
            RemoveUnusedNodesPass(),
        ):
            changed = cleaning(model).modified or changed
        return ir.passes.PassResult(model, changed)


def bypass(node: ir.Node) -> bool:
    """Let the node's first input stand for its output, and remove it. Not if both are inputs or outputs of the graph,
    which need names of their own."""
    source, made = node.inputs[0], node.outputs[0]
    if source is None or not isinstance(node.graph, ir.Graph):
        return False
    if made.is_graph_output():
        producer = source.producer()
        if source.is_graph_output() or producer is None or producer.graph is not node.graph:
            return False
        made.name, source.name = None, made.name
        source.shape, source.type = made.shape, made.type
    made.replace_all_uses_with(source, replace_graph_outputs=True)
    node.graph.remove(node, safe=True)
    return True


def _does_nothing(node: ir.Node) -> bool:
    source = node.inputs[0] if node.inputs else None
    if node.op_type == "Identity":
        return True
    if node.op_type == "Reshape":
        shape, target = dimensions(source), integers(node.inputs[1])
        if shape is None or target is None or len(shape) != len(target):
            return False
        copied = 0 if not node.attributes.get_int("allowzero", 0) else None
        return all(there in (size, copied, -1) for size, there in zip(shape, target, strict=True))
    if node.op_type == "Cast":
        return source is not None and source.dtype is not None and source.dtype == node.attributes.get_int("to", 0)
    if node.op_type == "Pad":
        pads = integers(node.inputs[1])
        return pads is not None and not any(pads)
    return node.op_type == "Concat" and len(node.inputs) == 1

"""Compute what depends on initializers alone: what stands between a lifted weight and its use."""

from __future__ import annotations

from typing import Any

FOLDED_OPS = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Cast", "Neg"})
"""Operators that do not add elements to a tensor (Neg is of PReLU's slopes)."""


def fold_constants(proto: Any) -> int:
    """Replace every FOLDED_OPS node fed by initializers only with its result, in place; drop unused initializers.

    Initializers whose values are elsewhere stay as they are. Evaluated by ONNX's own reference implementation. Returns
    the number of nodes removed.
    """
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator

    graph = proto.graph
    elsewhere = [tensor for tensor in graph.initializer if tensor.external_data]
    constants = {tensor.name: tensor for tensor in graph.initializer if not tensor.external_data}
    outputs = {value.name for value in graph.output}
    kept, removed = [], 0
    for node in graph.node:  # topologically sorted, so one walk suffices
        inputs = [name for name in node.input if name]
        if node.op_type in FOLDED_OPS and inputs and not outputs & set(node.output) and constants.keys() >= set(inputs):
            feeds = {name: numpy_helper.to_array(constants[name]) for name in inputs}
            result: Any = ReferenceEvaluator(node).run(None, feeds)
            constants[node.output[0]] = numpy_helper.from_array(result[0], node.output[0])
            removed += 1
        else:
            kept.append(node)
    if removed:
        _replace(graph.node, kept)
        used = {name for node in kept for name in node.input} | outputs | _captured(kept)
        left = {**constants, **{tensor.name: tensor for tensor in elsewhere}}
        _replace(graph.initializer, [tensor for name, tensor in left.items() if name in used])
    return removed


def _replace(field: Any, values: list[Any]) -> None:
    del field[:]
    field.extend(values)


def _captured(nodes: list[Any]) -> set[str]:
    """Names that subgraphs (Loop, If) read from outside; inner names among them do no harm."""
    names: set[str] = set()
    for node in nodes:
        for attribute in node.attribute:
            for graph in [attribute.g, *attribute.graphs]:
                names |= {name for inner in graph.node for name in inner.input} | _captured(list(graph.node))
                names |= {value.name for value in graph.output}
    return names

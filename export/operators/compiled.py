"""Functions a graph asks XLA to compile, written out: tf2onnx converts what is in them (onnx/tensorflow-onnx #2099)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

ASKS = ("_XlaMustCompile", "_noinline")


def inlined(graph_def: Any, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    """The graph without calls of such functions, as a SavedModel has them for grouped convolutions."""
    import tensorflow as tf
    from tf2onnx import tf_loader

    nodes = [*graph_def.node, *(node for function in graph_def.library.function for node in function.node_def)]
    if not any(node.op in ("PartitionedCall", "StatefulPartitionedCall") for node in nodes):
        return graph_def
    for holder in [*nodes, *graph_def.library.function]:
        for ask in ASKS:
            holder.attr.pop(ask, None)
    with tf.Graph().as_default():
        return tf_loader.tf_optimize(list(inputs), list(outputs), graph_def)

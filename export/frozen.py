"""Keras -> frozen and optimized TensorFlow graph (a GraphDef), what the networks' authors called "optimized" in 2018.

BatchNorm is folded in Keras first, because freezing alone loses TensorFlow's fusion of convolution, BatchNorm and ReLU
(it only fuses a BatchNorm whose parameters it can still see); then variables become constants, then Grappler runs. How
many operators that left is recorded, since TensorFlow runs Grappler again at load and timing alone proves nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keronyx.errors import ExportError
from keronyx.export import signature
from keronyx.export.fold import fold_batchnorm
from keronyx.process import one_line
from keronyx.types import ModelSpec


def convert(model: Any, spec: ModelSpec, path: Path) -> tuple[str, ...]:
    """Write the optimized GraphDef to `path`; placeholders `input_0...` and outputs `output_0...` in the spec's order.

    Returns:
        Evidence: operator counts before and after.
    """
    import keras
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    if isinstance(model, keras.Model):
        before = signature.trace(model, spec.inputs)
        model, folded = fold_batchnorm(model)
        function = signature.trace(model, spec.inputs)
    else:
        before = function = signature.trace_saved_model(model, spec.inputs)
        folded = 0
    operators = len(before.graph.as_graph_def().node)
    fused_before = _fused(_grappler(before.graph.as_graph_def(), [t.name for t in before.outputs]))
    frozen = convert_variables_to_constants_v2(function)
    graph_def = frozen.graph.as_graph_def()
    with tf.Graph().as_default() as named:
        outputs = tf.import_graph_def(graph_def, return_elements=[t.name for t in frozen.outputs], name="")
        for i, tensor in enumerate(outputs):
            tf.identity(tensor, name=f"output_{i}")
    optimized = _grappler(named.as_graph_def(), [f"output_{i}:0" for i in range(len(outputs))])
    path.write_bytes(optimized.SerializeToString())
    return (
        f"{operators} -> {len(optimized.node)} ops",
        f"{folded} BatchNorm folded",
        f"{fused_before} -> {_fused(optimized)} fused convolutions",
    )


def _grappler(graph_def: Any, outputs: list[str]) -> Any:
    """Run all of TensorFlow's default graph optimizers offline, twice and however small the graph.

    Every node is put on the CPU first: without a device the remapper does not fuse.
    """
    import tensorflow as tf
    from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, rewriter_config_pb2
    from tensorflow.python.grappler import tf_optimizer

    with tf.Graph().as_default() as graph:
        with tf.device("/device:CPU:0"):
            tf.import_graph_def(graph_def, name="")
        meta = tf.compat.v1.train.export_meta_graph(graph=graph)
    fetches = meta_graph_pb2.CollectionDef()
    fetches.node_list.value.extend(outputs)
    meta.collection_def["train_op"].CopyFrom(fetches)
    config = config_pb2.ConfigProto()
    rewrite = config.graph_options.rewrite_options
    rewrite.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.TWO
    rewrite.min_graph_nodes = -1
    try:
        return tf_optimizer.OptimizeGraph(config, meta)
    except Exception as error:
        raise ExportError(f"Grappler cannot optimize this graph: {one_line(error)}") from error


def _fused(graph_def: Any) -> int:
    nodes = list(graph_def.node) + [node for f in graph_def.library.function for node in f.node_def]
    return sum(node.op.startswith("_Fused") and "Conv" in node.op for node in nodes)

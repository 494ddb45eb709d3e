"""TensorFlow optimized graph: the frozen, BatchNorm-folded GraphDef that export/frozen.py wrote."""

from __future__ import annotations

from pathlib import Path

from keronyx.runtime.tf_common import TensorFlowRuntime, TensorFlowSession, input_specs
from keronyx.types import Session, SessionRequest
from keronyx.unsafe import refuse_unsafe_graph


class TensorFlowOptimized(TensorFlowRuntime):
    name = "tf-optimized"
    artifacts = ("frozen",)

    def open(self, request: SessionRequest) -> Session:
        import tensorflow as tf

        self.start(request)
        graph_def = tf.compat.v1.GraphDef.FromString(Path(request.path).read_bytes())
        if not request.trust:
            refuse_unsafe_graph(graph_def, request.spec.name)
        wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph_def, name=""), [])
        spec = request.spec
        function = wrapped.prune(
            [f"input_{i}:0" for i in range(len(spec.inputs))], [f"output_{i}:0" for i in range(len(spec.outputs))]
        )

        # In a tf.function as tf-graph's, so that the two differ in the graph and not in how Python calls it.
        call = tf.function(lambda *inputs: function(*inputs), autograph=False, input_signature=input_specs(request))
        return TensorFlowSession(request, call, call.get_concrete_function, self.provider)

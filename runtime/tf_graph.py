"""TensorFlow graph: the model in a `tf.function`, optimized by TensorFlow's runtime as usual."""

from __future__ import annotations

from keronyx.runtime.tf_common import TensorFlowRuntime, TensorFlowSession, input_specs, load_flat_function
from keronyx.types import Session, SessionRequest


class TensorFlowGraph(TensorFlowRuntime):
    name = "tf-graph"

    def open(self, request: SessionRequest) -> Session:
        import tensorflow as tf

        self.start(request)
        function = tf.function(
            load_flat_function(request), autograph=False, input_signature=input_specs(request), reduce_retracing=True
        )
        return TensorFlowSession(request, function, function.get_concrete_function, self.provider)

"""TensorFlow XLA: the model in a `tf.function(jit_compile=True)`.

XLA compiles at the first call. `prepare` makes one on zeros, so that `compile_s` holds trace and compilation (and one
run) and `first_call_s` is comparable with other rows.
"""

from __future__ import annotations

import numpy as np

from keronyx.runtime.tf_common import TensorFlowRuntime, TensorFlowSession, input_specs, load_flat_function
from keronyx.types import Session, SessionRequest


class TensorFlowXla(TensorFlowRuntime):
    name = "tf-xla"

    def open(self, request: SessionRequest) -> Session:
        import tensorflow as tf

        self.start(request)
        function = tf.function(
            load_flat_function(request), autograph=False, jit_compile=True, input_signature=input_specs(request)
        )

        def compile_now() -> None:
            zeros = [
                np.zeros([size or request.batch for size in spec.shape], spec.dtype) for spec in request.spec.inputs
            ]
            for tensor in function(*zeros):
                tensor.numpy()

        return TensorFlowSession(request, function, compile_now, self.provider)

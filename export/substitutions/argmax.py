"""The sign of zero without a Bitcast, for argmax and argmin.

Keras ranks -0.0 below 0.0 and reads the sign from the bits, an operator tf2onnx does not know. Here the reciprocal
says it: that of -0.0 is -inf. (A NaN's sign is lost, which argmax does not ask for.) Where the operator in front cannot
give -0.0, nothing has to be ranked. Booleans, which ONNX does not rank, are numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from keronyx.export.substitutions import Substitution
from keronyx.recast import replaced

NEVER_NEGATIVE_ZERO = frozenset({"Softmax", "Sigmoid", "Exp"})


@contextmanager
def _scope() -> Iterator[None]:
    import tensorflow as tf
    from keras.src.backend.tensorflow import numpy as backend

    def signbit(x: Any) -> Any:
        x = tf.convert_to_tensor(x)
        if not x.dtype.is_floating:
            return original_signbit(x)
        return tf.logical_or(x < 0, tf.math.reciprocal(x) < 0)

    def simple(original: Callable[..., Any], of_tensor: Callable[..., Any]) -> Callable[..., Any]:
        def arg(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
            x = tf.convert_to_tensor(x)
            if x.dtype == tf.bool:
                x = tf.cast(x, "uint8")
            if axis is None or getattr(getattr(x, "op", None), "type", "") not in NEVER_NEGATIVE_ZERO:
                return original(x, axis, keepdims)
            found = of_tensor(x, axis=axis, output_type="int32")
            return tf.expand_dims(found, axis) if keepdims else found

        return arg

    original_signbit = backend.signbit
    with (
        replaced(backend, "signbit", signbit),
        replaced(backend, "argmax", simple(backend.argmax, tf.argmax)),
        replaced(backend, "argmin", simple(backend.argmin, tf.argmin)),
    ):
        yield


SUBSTITUTION = Substitution("argmax", "no ONNX operator for Bitcast, which Keras' argmax asks the sign of zero", _scope)

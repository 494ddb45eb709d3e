"""Keras -> LiteRT (TensorFlow Lite) flatbuffer with a named signature.

The variables are frozen first and the function goes through a SavedModel, for two reasons: given an unfrozen Keras 3
function, TFLiteConverter silently writes a file without weights; and only a SavedModel's signature carries names.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from keronyx.errors import ExportError
from keronyx.export import signature
from keronyx.types import ModelSpec


def convert(model: Any, spec: ModelSpec, path: Path) -> tuple[str, ...]:
    """Write a float32 `.tflite` whose only signature has the spec's names. Returns evidence (nothing so far)."""
    import keras
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    if isinstance(model, keras.Model):
        traced = signature.trace(model, spec.inputs)
    else:
        traced = signature.trace_saved_model(model, spec.inputs)
    names = [tensor.name for tensor in spec.inputs]

    def call(**named: Any) -> dict[str, Any]:
        outputs = frozen(*(named[name] for name in names))
        return {tensor.name: tf.identity(value) for tensor, value in zip(spec.outputs, outputs, strict=True)}

    try:
        frozen = convert_variables_to_constants_v2(traced)
        specs = dict(zip(names, signature.tensor_specs(spec.inputs), strict=True))
        function = tf.function(call, autograph=False).get_concrete_function(**specs)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            tf.saved_model.save(tf.Module(), folder, signatures={signature.SIGNATURE: function})
            flatbuffer = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise ExportError(f"the LiteRT converter refuses this model: {lines[0][:200] if lines else error!r}") from error
    path.write_bytes(flatbuffer)
    return ()

"""Keras -> LiteRT (TensorFlow Lite) flatbuffer with a named signature.

The variables are frozen first and the function goes through a SavedModel, for two reasons: given an unfrozen Keras 3
function, TFLiteConverter silently writes a file without weights; and only a SavedModel's signature carries names.
"""

from __future__ import annotations

import keyword
import re
import tempfile
from pathlib import Path
from typing import Any

from keronyx.errors import ExportError
from keronyx.export import signature
from keronyx.process import one_line
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
    for name in names:
        if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) or keyword.iskeyword(name):
            raise ExportError(
                f"a LiteRT file cannot keep the input name {name!r}", "name the Input with letters, digits and _"
            )

    def call(**named: Any) -> dict[str, Any]:
        outputs = frozen(*(named[name] for name in names))
        return {tensor.name: tf.identity(value) for tensor, value in zip(spec.outputs, outputs, strict=True)}

    try:
        frozen = convert_variables_to_constants_v2(traced)
        # The signature's keys are the names of the TensorSpecs, not those of the arguments.
        specs = {t.name: tf.TensorSpec(t.shape, t.dtype, name=t.name) for t in spec.inputs}
        function = tf.function(call, autograph=False).get_concrete_function(**specs)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            # Gradients are of no use here, and saving those of swish fails.
            options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
            tf.saved_model.save(tf.Module(), folder, {signature.SIGNATURE: function}, options)
            flatbuffer = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    except Exception as error:
        raise ExportError(f"the LiteRT converter refuses this model: {_reason(error)}") from error
    path.write_bytes(flatbuffer)
    return ()


def _reason(error: BaseException) -> str:
    """The operator and what is wrong with it, out of a page of MLIR locations."""
    if match := re.search(r"'(tfl?\.\w+)' op ([^\n]*)", str(error)):
        return f"{match[1]} {match[2]}"[:200]
    return one_line(error)

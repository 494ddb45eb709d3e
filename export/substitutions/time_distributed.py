"""TimeDistributed over steps and batch at once, where every entry of a batch is computed by itself.

Keras calls the layer once for every step (188 MatMul for one Dense), or maps it over an open number of them, which
tf2onnx cannot convert. Here steps become entries of the batch, as they were in Keras 2. Layers that pass a mask on,
or might look at other entries of the batch (code of the user's own, an axis 0), are left to Keras.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from keronyx.export.substitutions import Substitution
from keronyx.recast import replaced


@contextmanager
def _scope() -> Iterator[None]:
    import tensorflow as tf
    from keras import layers

    original = layers.TimeDistributed.call

    def call(self: Any, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        masked = mask is not None and self.layer._call_has_mask_arg
        if masked or training or not tf.is_tensor(inputs) or not independent(self.layer):
            return original(self, inputs, training=training, mask=mask)
        named = {"training": training} if self.layer._call_has_training_arg else {}
        outputs = self.layer.call(tf.reshape(inputs, [-1, *_sizes(inputs)[2:]]), **named)
        batch, steps, *_ = _sizes(inputs)
        first = [-1, steps] if isinstance(steps, int) else [batch, -1] if isinstance(batch, int) else [batch, steps]
        return tf.reshape(outputs, [*first, *_sizes(outputs)[1:]])

    with replaced(layers.TimeDistributed, "call", call):
        yield


SUBSTITUTION = Substitution("time distributed", "a copy of the layer for every step", _scope)


def independent(layer: Any) -> bool:
    """Whether the layer is known to compute every entry of a batch by itself, and takes a batch of any size."""
    return all(_independent(inner) for inner in layer._flatten_layers())


def _independent(layer: Any) -> bool:
    from keras import Model, Sequential, layers

    if isinstance(layer, Model):
        if type(layer) not in (Sequential, Model) and type(layer).__name__ != "Functional":
            return False
        operations = getattr(layer, "operations", [])  # of a Sequential, its layers
        open_batch = all(tensor.shape[0] is None for tensor in layer.inputs or ())
        return open_batch and all(isinstance(operation, layers.Layer) for operation in operations)
    functions = [getattr(layer, name, None) for name in ("activation", "recurrent_activation", "cell", "fn")]
    codes = [type(layer), *(f if hasattr(f, "__module__") else type(f) for f in functions if f is not None)]
    if isinstance(layer, layers.Lambda) or not all(code.__module__.startswith("keras.src.") for code in codes):
        return False
    axes = [getattr(layer, name, None) for name in ("axis", "axes")]
    flat = [a for axis in axes if axis is not None for a in (axis if isinstance(axis, (list, tuple)) else [axis])]
    return not getattr(layer, "stateful", False) and all(axis == -1 or axis > 0 for axis in flat)


def _sizes(tensor: Any) -> list[Any]:
    """Every dimension's size, a number where it is known."""
    import tensorflow as tf

    dynamic = tf.shape(tensor)
    return [size if size is not None else dynamic[i] for i, size in enumerate(tensor.shape)]

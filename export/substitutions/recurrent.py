"""LSTM, GRU and SimpleRNN as one operator, not as a loop over the steps.

tf2onnx finds an LSTM in its loop only under an open batch, and a GRU or a SimpleRNN not at all. Here the layer is
traced as TensorFlow's CudnnRNN, which has the same inputs and outputs; `operators/recurrent.py` turns that into ONNX'
LSTM, GRU or RNN. Its weights are in ONNX' order, and what CudnnRNN cannot say stands in the operator's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from keronyx.export.substitutions import Substitution, replaced
from keronyx.types import Array

STAND_IN = "keronyx_recurrent"
"""How the operator's name begins: `keronyx_recurrent.GRU.Sigmoid.Tanh.after.backwards.zero` (kind, activations, where
the reset gate acts, whether it goes backwards and whether the first state is zero)."""

ACTIVATIONS = {"tanh": "Tanh", "sigmoid": "Sigmoid", "relu": "Relu"}
"""Keras' name -> ONNX'."""

ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2), "RNN": (0,)}
"""ONNX' gates by their number among Keras': i o f c of i f c o, z r h as they are."""


@contextmanager
def _scope() -> Iterator[None]:
    import keras

    with ExitStack() as stack:
        for kind in (keras.layers.LSTM, keras.layers.GRU, keras.layers.RNN):
            stack.enter_context(replaced(kind, "inner_loop", _in_one(kind.inner_loop)))
        yield


def _in_one(original: Callable[..., Any]) -> Callable[..., Any]:
    def inner_loop(self: Any, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        described = _described(self, sequences, mask, training)
        if described is None:
            return original(self, sequences, initial_state, mask, training=training)
        name, parameters = described
        return _call(self, name, parameters, sequences, initial_state)

    return inner_loop


def _described(layer: Any, sequences: Any, mask: Any, training: bool) -> tuple[str, Array] | None:
    """Kind and activations of a layer that one operator can do, and its weights as one vector; None for any other."""
    import keras
    import tensorflow as tf

    cell = layer.cell
    kinds = {keras.layers.LSTMCell: "LSTM", keras.layers.GRUCell: "GRU", keras.layers.SimpleRNNCell: "RNN"}
    kind = kinds.get(type(cell))
    masks = [m for m in keras.tree.flatten(mask) if m is not None]
    if kind is None or masks or training or layer.stateful or cell.compute_dtype != "float32":
        return None
    if sequences.dtype != "float32" or getattr(cell, "lora_enabled", False) or cell.variable_dtype != "float32":
        return None
    if sequences.shape.rank != 3 or sequences.shape[2] is None:
        return None
    functions = [cell.activation] if kind == "RNN" else [cell.recurrent_activation, cell.activation]
    names = [
        ACTIVATIONS.get(getattr(f, "__name__", "")) for f in functions if getattr(keras.activations, f.__name__, 0) is f
    ]
    values = [tf.get_static_value(tf.convert_to_tensor(v)) for v in (cell.kernel, cell.recurrent_kernel)]
    bias = tf.get_static_value(tf.convert_to_tensor(cell.bias)) if cell.use_bias else 0.0
    if None in names or any(v is None for v in (*values, bias)):
        return None
    reset = ["after" if cell.reset_after else "before"] if kind == "GRU" else []
    kernel, recurrent_kernel = values
    name = ".".join([STAND_IN, kind, *map(str, names), *reset])
    return name, _in_order(kind, cell.units, kernel, recurrent_kernel, bias)


def _in_order(kind: str, units: int, kernel: Array, recurrent_kernel: Array, bias: Array | float) -> Array:
    """Keras' weights as ONNX' W (gates * units, features), R (gates * units, units) and B (2 * gates * units), flat."""
    gates = len(ORDER[kind])
    biases = np.zeros((2, gates * units), np.float32)
    if np.ndim(bias) == 2:
        biases[:] = bias
    else:
        biases[0] = bias

    def ordered(values: Array) -> Array:
        """The last axis by gate, then that axis first."""
        by_gate = values.reshape(*values.shape[:-1], gates, units)[..., list(ORDER[kind]), :]
        return by_gate.reshape(-1, gates * units).T

    parts = [ordered(kernel), ordered(recurrent_kernel), ordered(biases[:1]), ordered(biases[1:])]
    return np.concatenate([part.reshape(-1) for part in parts])


def _call(layer: Any, name: str, parameters: Array, sequences: Any, initial_state: Any) -> Any:
    """What Keras' own loop returns: last output, all outputs in the order they were computed, last states."""
    import keras
    import tensorflow as tf

    steps = tf.transpose(sequences, [1, 0, 2])
    states = keras.tree.flatten(initial_state)
    name += ".backwards" if layer.go_backwards else ""
    name += ".zero" if all(_is_zero(state) for state in states) else ""
    mode = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn_tanh"}[name.split(".")[1]]
    first = [tf.expand_dims(state, 0) for state in states]
    outputs, *last, _ = tf.raw_ops.CudnnRNN(
        input=steps,
        input_h=first[0],
        input_c=first[1] if mode == "lstm" else tf.zeros([], steps.dtype),
        params=tf.constant(parameters),
        rnn_mode=mode,
        is_training=False,
        name=name,
    )
    final = [tf.squeeze(state, [0]) for state in last[: len(states)]]
    everything = tf.transpose(outputs, [1, 0, 2]) if layer.return_sequences else tf.expand_dims(final[0], 1)
    if layer.go_backwards:
        everything = tf.reverse(everything, [1])  # ONNX has the steps in the order of the input
    return final[0], everything, final


def _is_zero(state: Any) -> bool:
    """Whether a first state is known to be nothing but zeros, for an open batch, too."""
    import tensorflow as tf

    value = tf.get_static_value(state)
    if value is None and hasattr(state, "op") and state.op.type == "Fill":
        value = tf.get_static_value(state.op.inputs[1])
    return value is not None and not np.any(value)


SUBSTITUTION = Substitution(
    "recurrent", "a GRU, SimpleRNN or LSTM of a fixed batch stays a loop over its steps", _scope
)

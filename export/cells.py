"""A cell of a recurrent Keras layer as ONNX's LSTM, GRU or RNN: weights in ONNX's order, activations by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Operator:
    """An ONNX LSTM, GRU or RNN: its name, weights [1, ...] and attributes."""

    name: str
    weights: tuple[Any, Any, Any]
    units: int
    attributes: dict[str, Any]


def operator_of(cell: Any) -> Operator | None:
    """The ONNX operator that does what the cell does, if there is one."""
    from keras import layers

    known = type(cell) in (layers.LSTMCell, layers.GRUCell, layers.SimpleRNNCell)
    if not known or cell.compute_dtype != "float32" or cell.variable_dtype != "float32":
        return None
    weights = (cell.kernel, cell.recurrent_kernel, cell.bias if cell.use_bias else None)
    if type(cell) is layers.LSTMCell:
        return _lstm(*weights, cell.activation, cell.recurrent_activation)
    if type(cell) is layers.GRUCell:
        return _gru(*weights, cell.activation, cell.recurrent_activation, cell.reset_after)
    activations = _activations([cell.activation])
    return _one_direction("RNN", *weights, [0], activations) if activations else None


def _lstm(kernel: Any, recurrent: Any, bias: Any, activation: Any, gate: Any) -> Operator | None:
    activations = _activations([gate, activation, activation])
    # Keras has the gates in the order input, forget, cell, output; ONNX input, output, forget, cell.
    return _one_direction("LSTM", kernel, recurrent, bias, [0, 3, 1, 2], activations) if activations else None


def _gru(kernel: Any, recurrent: Any, bias: Any, activation: Any, gate: Any, reset_after: bool) -> Operator | None:
    activations = _activations([gate, activation])
    if not activations:
        return None
    activations["linear_before_reset"] = int(reset_after)
    return _one_direction("GRU", kernel, recurrent, bias, [0, 1, 2], activations)


def _one_direction(
    name: str, kernel: Any, recurrent: Any, bias: Any, gates: list[int], attributes: dict[str, Any]
) -> Operator:
    """Weights as ONNX wants them: W [1, gates * units, features], R [1, gates * units, units], B [1, 2 * gates *
    units], the input's biases before the recurrent ones."""
    import tensorflow as tf

    units = int(recurrent.shape[0])

    def ordered(tensor: Any, axis: int) -> Any:
        parts = tf.split(tensor, len(gates), axis)
        return tf.concat([parts[gate] for gate in gates], axis)

    weights = [tf.transpose(ordered(tf.convert_to_tensor(w), 1))[tf.newaxis] for w in (kernel, recurrent)]
    if bias is None:
        b = tf.zeros([2, len(gates) * units])
    else:
        b = ordered(tf.reshape(tf.convert_to_tensor(bias), [-1, len(gates) * units]), 1)
        b = tf.concat([b, tf.zeros_like(b)], 0) if b.shape[0] == 1 else b
    attributes["hidden_size"] = units
    return Operator(name, (*weights, tf.reshape(b, [1, -1])), units, attributes)


def _activations(functions: list[Any]) -> dict[str, Any] | None:
    """Attributes that say which activations a node applies, None when ONNX Runtime does not know one."""
    from keras import activations

    known: dict[Any, tuple[str, list[float], list[float]]] = {
        activations.sigmoid: ("Sigmoid", [], []),
        activations.tanh: ("Tanh", [], []),
        activations.relu: ("Relu", [], []),
        activations.softsign: ("Softsign", [], []),
        activations.softplus: ("Softplus", [], []),
        activations.linear: ("Affine", [1.0], [0.0]),
        activations.hard_sigmoid: ("HardSigmoid", [1 / 6], [0.5]),
    }
    found = [known[function] for name in functions if (function := name or activations.linear) in known]
    if len(found) < len(functions):
        return None
    said: dict[str, Any] = {"activations": [name for name, _, _ in found]}
    alphas, betas = [v for _, alpha, _ in found for v in alpha], [v for _, _, beta in found for v in beta]
    return said | ({"activation_alpha": alphas, "activation_beta": betas} if alphas else {})

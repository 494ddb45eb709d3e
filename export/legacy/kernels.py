"""Weights of one layer as old Kerases stored them -> as the layer of today takes them.

Follows what Keras 2 did with files of Keras 1, with CuDNN layers and with Theano's flipped kernels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from keronyx.types import Array

GATES = {"LSTM": (0, 6, 3, 9), "GRU": (0, 3, 6)}
"""Keras 1 stored each gate's kernel, recurrent kernel and bias alone; where each of today's gates starts."""

CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose")


def converted(layer: Any, weights: list[Array], keras_1: bool, backend: str) -> list[Array]:
    """One layer's weights, those inside wrappers and models too. Unknown layouts are returned as they are."""
    kind, options = type(layer).__name__, (keras_1, backend)
    if kind == "Bidirectional":
        half = len(weights) // 2
        forward = converted(layer.forward_layer, weights[:half], *options)
        return forward + converted(layer.backward_layer, weights[half:], *options)
    if kind == "TimeDistributed":
        return converted(layer.layer, weights, *options)
    if hasattr(layer, "layers"):
        return _inside_model(layer, weights, *options)
    if keras_1 and kind in GATES and len(weights) == 3 * len(GATES[kind]):
        weights = [np.concatenate([weights[i + part] for i in GATES[kind]], axis=-1) for part in range(3)]
    if keras_1 and kind == "Conv1D":
        weights = [_keras_1_conv1d(layer, weights[0]), *weights[1:]]
    if keras_1 and kind == "Conv2DTranspose":
        weights = [np.swapaxes(weights[0], 2, 3), *weights[1:]]
    if kind in CONVOLUTIONS and backend == "theano":
        spatial = range(weights[0].ndim - 2)  # Theano convolves, TensorFlow correlates
        weights = [np.flip(weights[0], tuple(spatial)), *weights[1:]]
    if kind in GATES and len(weights) == 3:
        weights = _of_cudnn(kind, weights)
    return weights


def _inside_model(model: Any, weights: list[Array], keras_1: bool, backend: str) -> list[Array]:
    """A model's weights are those that train, layer after layer, then those that do not."""
    made: list[Array] = []
    for part in ("trainable_weights", "non_trainable_weights"):
        for layer in model.layers:
            count = len(getattr(layer, part))
            if count:
                made += converted(layer, weights[:count], keras_1, backend)
                weights = weights[count:]
    return made + weights


def _keras_1_conv1d(layer: Any, kernel: Array) -> Array:
    """(length, 1, inputs, filters), before Keras 1.2 (filters, inputs, length, 1) -> (length, inputs, filters)."""
    if kernel.ndim != 4:
        return kernel
    if kernel.shape[:2] != (layer.kernel_size[0], 1) or kernel.shape[3] != layer.filters:
        kernel = np.transpose(kernel, (2, 3, 1, 0))
    return kernel[:, 0]


def _of_cudnn(kind: str, weights: list[Array]) -> list[Array]:
    """CuDNN's column-major kernels and two biases; weights of a plain layer, told by the bias, are left alone."""
    kernel, recurrent, bias = weights
    gates = len(GATES[kind])
    if bias.shape != (2 * gates * recurrent.shape[0],):
        return weights
    kernel = np.hstack([part.T.reshape(part.shape, order="F") for part in np.hsplit(kernel, gates)])
    recurrent = np.hstack([part.T for part in np.hsplit(recurrent, gates)])
    return [kernel, recurrent, bias.reshape(2, -1).sum(axis=0) if kind == "LSTM" else bias.reshape(2, -1)]

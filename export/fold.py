"""Fold BatchNormalization into the convolution before it, in Keras, so that every converter sees the smaller model.

At inference BN computes gamma * (x - mean) / sqrt(variance + epsilon) + beta (Ioffe & Szegedy 2015, arXiv 1502.03167):
per channel a factor and an offset, which the convolution's own kernel and bias can carry.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def fold_batchnorm(model: Any) -> tuple[Any, int]:
    """Return an equal model without the BatchNormalization layers that could be folded, and how many those were.

    Only functional models have the graph this needs; others are returned as they are. A pair is folded when the
    convolution has no activation of its own, is called once, and feeds nothing but the BatchNormalization.
    """
    import keras

    pairs = _pairs(model)
    if not pairs:
        return model, 0
    folded = {bn.name for bn in pairs.values()}

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        if layer.name in pairs:
            config["use_bias"] = True
        return layer.__class__.from_config(config)

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        return args[0] if layer.name in folded else layer(*args, **kwargs)

    clone_of = keras.models.clone_model(model, clone_function=clone, call_function=call)
    for layer in clone_of.layers:
        original = model.get_layer(layer.name)
        if layer.name in pairs:
            layer.set_weights(_folded_weights(original, pairs[layer.name]))
        else:
            layer.set_weights(original.get_weights())
    return clone_of, len(pairs)


def _pairs(model: Any) -> dict[str, Any]:
    """Convolution's name -> the BatchNormalization that can be folded into it."""
    import keras

    if not isinstance(model, keras.Model) or not hasattr(model, "operations"):
        return {}
    convolutions = (
        keras.layers.Conv1D,
        keras.layers.Conv2D,
        keras.layers.Conv3D,
        keras.layers.Conv2DTranspose,
        keras.layers.DepthwiseConv2D,
    )
    outputs = {id(tensor) for tensor in keras.tree.flatten(model.outputs)}
    consumers: dict[int, list[Any]] = {}
    for operation in model.operations:
        for node in operation._inbound_nodes:
            for tensor in node.input_tensors:
                consumers.setdefault(id(tensor), []).append(operation)
    pairs = {}
    for conv in model.layers:
        if type(conv) not in convolutions or len(conv._inbound_nodes) != 1 or conv.data_format != "channels_last":
            continue
        made = conv.output
        users = consumers.get(id(made), [])
        if conv.activation is not keras.activations.linear or id(made) in outputs or len(users) != 1:
            continue
        bn = users[0]
        if (
            type(bn) is keras.layers.BatchNormalization
            and len(bn._inbound_nodes) == 1
            and bn.axis in (-1, len(made.shape) - 1)
        ):
            pairs[conv.name] = bn
    return pairs


def _folded_weights(conv: Any, bn: Any) -> list[Any]:
    """The convolution's kernel and bias with the BatchNormalization in them, computed in float64."""
    import keras

    mean, variance = (np.asarray(v, np.float64) for v in (bn.moving_mean, bn.moving_variance))
    gamma = np.asarray(bn.gamma, np.float64) if bn.scale else np.ones_like(mean)
    beta = np.asarray(bn.beta, np.float64) if bn.center else np.zeros_like(mean)
    factor = gamma / np.sqrt(variance + bn.epsilon)
    kernel = np.asarray(conv.kernel, np.float64)
    bias = np.asarray(conv.bias, np.float64) if conv.use_bias else np.zeros_like(mean)
    if isinstance(conv, keras.layers.DepthwiseConv2D):  # (height, width, channels, multiplier)
        kernel = kernel * factor.reshape(kernel.shape[2:])
    elif isinstance(conv, keras.layers.Conv2DTranspose):  # (height, width, filters, channels)
        kernel = kernel * factor[:, None]
    else:  # (..., channels, filters)
        kernel = kernel * factor
    return [kernel.astype(conv.kernel.dtype), ((bias - mean) * factor + beta).astype(conv.kernel.dtype)]

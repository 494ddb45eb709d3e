"""Fold BatchNormalization into the convolution before it, in Keras, so that every converter sees the smaller model.

At inference BN computes gamma * (x - mean) / sqrt(variance + epsilon) + beta (Ioffe & Szegedy 2015, arXiv 1502.03167):
per channel a factor and an offset, which the convolution's own kernel and bias can carry.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from keronyx.types import Array


def fold_batchnorm(model: Any) -> tuple[Any, int]:
    """Return an equal model without the BatchNormalization layers that could be folded, and how many those were.

    Only functional and sequential models, nested ones included, have the graph this needs; others are returned as they
    are. A pair is folded when the convolution has no activation and feeds nothing but the BatchNormalization, both are
    called once, and both compute in the precision their weights have. Folded convolutions are new layers; all others
    are shared with `model`, whatever their class, so that nothing of the user's is built again.
    """
    import keras
    from keras.src.models import Functional

    if type(model) is keras.Sequential and model.built:
        graph = keras.Model(model.inputs[0], model.outputs[0])
    elif type(model) is Functional:
        graph = keras.Model(model.input, model.output)  # without what it was compiled with
    else:
        return model, 0
    pairs = pairs_of(graph)
    nested = {id(layer): fold_batchnorm(layer) for layer in graph.layers if isinstance(layer, keras.Model)}
    folded = len(pairs) + sum(count for _, count in nested.values())
    if not folded:
        return model, 0
    dropped = {id(bn) for bn in pairs.values()}
    made: dict[int, Any] = {}

    def replacement(operation: Any) -> Any:
        if id(operation) in nested:
            return nested[id(operation)][0]
        if id(operation) not in pairs:
            return operation
        made[id(operation)] = operation.__class__.from_config(_inference_config(operation))
        return made[id(operation)]

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if id(operation) in dropped:
            return args[0] if args else kwargs["inputs"]
        return operation(*args, **kwargs)

    clone = keras.models.clone_model(graph, clone_function=replacement, call_function=call)
    originals = {id(operation): operation for operation in graph.operations}
    for key, bn in pairs.items():
        made[key].set_weights(_folded_weights(originals[key], bn))
    return clone, folded


def pairs_of(model: Any) -> dict[int, Any]:
    """Id of a convolution of a functional model -> the BatchNormalization that can be folded into it."""
    import keras

    convolutions = (
        keras.layers.Conv1D,
        keras.layers.Conv2D,
        keras.layers.Conv3D,
        keras.layers.Conv2DTranspose,
        keras.layers.DepthwiseConv2D,
    )
    # Nodes of this model alone: its layers may also be called elsewhere.
    nodes = [node for depth in model._nodes_by_depth.values() for node in depth]
    calls = Counter(id(node.operation) for node in nodes)
    outputs = {id(tensor) for tensor in model.outputs}
    consumers: dict[int, list[Any]] = {}
    for node in nodes:
        for tensor in node.input_tensors:
            consumers.setdefault(id(tensor), []).append(node)
    pairs = {}
    for node in nodes:
        conv, tensor = node.operation, node.outputs[0]
        users = consumers.get(id(tensor), [])
        if type(conv) not in convolutions or calls[id(conv)] != 1 or id(tensor) in outputs or len(users) != 1:
            continue
        bn = users[0].operation
        if (
            type(bn) is keras.layers.BatchNormalization
            and calls[id(bn)] == 1
            and bn.axis in (-1, len(tensor.shape) - 1)
            and _is_plain(conv)
            and _same_precision(conv, bn)
            and all(np.isfinite(value).all() for value in _factor_and_offset(bn))
        ):
            pairs[id(conv)] = bn
    return pairs


def _inference_config(conv: Any) -> dict[str, Any]:
    """A convolution's configuration with a bias, and without what only training asks for: that may be the user's code,
    which no configuration can bring back."""
    config = {**conv.get_config(), "use_bias": True}
    for key in config:
        if key.endswith(("_regularizer", "_constraint")):
            config[key] = None
        elif key.endswith("_initializer"):
            config[key] = "zeros"
    return config


def _is_plain(conv: Any) -> bool:
    import keras

    return (
        conv.activation is keras.activations.linear
        and conv.data_format == "channels_last"
        and not getattr(conv, "lora_enabled", False)
        and getattr(conv, "quantization_mode", None) is None
    )


def _same_precision(conv: Any, bn: Any) -> bool:
    """Whether both compute in the dtype of their weights: in mixed precision the product would be rounded anew."""
    return len({conv.compute_dtype, conv.variable_dtype, bn.compute_dtype, bn.variable_dtype}) == 1


def _factor_and_offset(bn: Any) -> tuple[Array, Array]:
    """What BN multiplies by and then adds, each (channels,) float64."""
    mean, variance = (np.asarray(v, np.float64) for v in (bn.moving_mean, bn.moving_variance))
    gamma = np.asarray(bn.gamma, np.float64) if bn.scale else np.ones_like(mean)
    beta = np.asarray(bn.beta, np.float64) if bn.center else np.zeros_like(mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = gamma / np.sqrt(variance + bn.epsilon)
        return factor, beta - mean * factor


def _folded_weights(conv: Any, bn: Any) -> list[Array]:
    return [folded_kernel(conv, bn), folded_bias(conv, bn)]


def folded_kernel(conv: Any, bn: Any) -> Array:
    """The convolution's kernel with the BatchNormalization in it, computed in float64."""
    import keras

    factor, _ = _factor_and_offset(bn)
    kernel = np.asarray(conv.kernel, np.float64)
    if isinstance(conv, keras.layers.DepthwiseConv2D):  # (height, width, channels, multiplier)
        kernel = kernel * factor.reshape(kernel.shape[2:])
    elif isinstance(conv, keras.layers.Conv2DTranspose):  # (height, width, filters, channels)
        kernel = kernel * factor[:, None]
    else:  # (..., channels, filters)
        kernel = kernel * factor
    return np.asarray(kernel, conv.variable_dtype)


def folded_bias(conv: Any, bn: Any) -> Array:
    """The same of its bias, 0 where it has none."""
    factor, offset = _factor_and_offset(bn)
    bias = np.asarray(conv.bias, np.float64) if conv.use_bias else 0.0
    return np.asarray(bias * factor + offset, conv.variable_dtype)

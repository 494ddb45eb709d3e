"""Trace a Keras model for conversion with its large kernels as extra inputs.

Raw tf2onnx copies the whole graph, weights included, for each of its optimizer passes (tf2onnx/optimizer/__init__.py).
Here they stay out of the graph while it is converted (Keras' `stateless_call` makes a model a function of its
variables) and are put back as initializers afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keronyx.export import signature
from keronyx.export.layers import Scopes, scopes_of
from keronyx.export.substitutions import substituted
from keronyx.types import TensorSpec

LIFT_BYTES = 65536
"""Kernels of at least this size stay out of the graph during conversion."""

KERNELS = frozenset({"kernel", "depthwise_kernel", "pointwise_kernel", "embeddings", "alpha"})
"""Variables whose consumers only need their shape. Others (biases) must stay constants: tf2onnx's transpose optimizer
moves transposes through constants only. It moves none through PReLU slopes (`alpha`) large enough to be one a pixel."""


def trace_lifted(model: Any, inputs: Sequence[TensorSpec]) -> tuple[Any, dict[str, Any], Scopes]:
    """Trace the model under all substitutions.

    Returns:
        The ConcreteFunction of flat inputs followed by the lifted kernels; their Keras variables by name
        (`weight_0`, ...), whose values are not copied; and the scopes that say which operator belongs to which layer.
    """
    import keras
    import tensorflow as tf

    recurrent = {
        id(v) for layer in model._flatten_layers() if isinstance(layer, keras.layers.RNN) for v in layer.variables
    }  # tf2onnx looks into those of an LSTM or GRU to make one node of its loop
    lifted = [v for v in model.variables if v.name in KERNELS and _bytes(v) >= LIFT_BYTES and id(v) not in recurrent]
    names = {id(variable): f"weight_{i}" for i, variable in enumerate(lifted)}

    values = {id(v): v.numpy() for v in model.variables if id(v) not in names}

    def value_of(variable: Any, given: dict[str, Any]) -> Any:
        name = names.get(id(variable))
        return given[name] if name else tf.constant(values[id(variable)])

    def call(*flat: Any) -> list[Any]:
        given = {f"weight_{i}": tensor for i, tensor in enumerate(flat[len(inputs) :])}
        outputs, _ = model.stateless_call(
            [value_of(v, given) for v in model.trainable_variables],
            [value_of(v, given) for v in model.non_trainable_variables],
            signature.structured_inputs(model, flat[: len(inputs)]),
            training=False,
        )
        return [tf.identity(tensor) for tensor in signature.flat_outputs(outputs)]

    weight_specs = [tf.TensorSpec(v.shape, v.dtype, name=names[id(v)]) for v in lifted]
    with substituted(), scopes_of(model) as scopes:
        traced = tf.function(call, autograph=False)
        function = traced.get_concrete_function(*signature.tensor_specs(inputs), *weight_specs)
    return function, {names[id(v)]: v for v in lifted}, scopes


def _bytes(variable: Any) -> int:
    return int(np.prod(variable.shape) * np.dtype(variable.dtype).itemsize)

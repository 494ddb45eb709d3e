"""Trace a Keras model for conversion with its large kernels as extra inputs.

Raw tf2onnx copies the whole graph, weights included, for each of its optimizer passes (tf2onnx/optimizer/__init__.py).
Here they stay out of the graph while it is converted (Keras' `stateless_call` makes a model a function of its
variables) and are put back as initializers afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keronyx.errors import ExportError
from keronyx.export import signature
from keronyx.export.layers import Scopes, scopes_of
from keronyx.export.substitutions import substituted
from keronyx.types import TensorSpec

if TYPE_CHECKING:
    import onnx_ir as ir

LIFT_BYTES = 65536
"""Kernels of at least this size stay out of the graph during conversion."""

LIFT_ANY_BYTES = 2**28
"""Any other variable does from this size on."""

GRAPH_BYTES = 2**31 - 2**24
"""Most that a graph of TensorFlow may hold, as any protobuf message."""

LARGE_BYTES = 2**30
"""Weights of more than this never are in a protobuf message, which ends at 2 GiB."""

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
    enough = dict.fromkeys(KERNELS, LIFT_BYTES)
    lifted = [v for v in model.variables if _bytes(v) >= enough.get(v.name, LIFT_ANY_BYTES) and id(v) not in recurrent]
    names = {id(variable): f"weight_{i}" for i, variable in enumerate(lifted)}

    _refuse_too_large([v for v in model.variables if id(v) not in names])
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


def initializer(name: str, variable: Any) -> Any:
    """TensorProto of a lifted kernel; one of more than LARGE_BYTES says that its values are elsewhere."""
    import onnx

    if _bytes(variable) <= LARGE_BYTES:
        return onnx.numpy_helper.from_array(variable.numpy(), name)
    dtype = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(variable.dtype))
    tensor = onnx.TensorProto(name=name, dims=variable.shape, data_type=dtype)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=name)
    return tensor


def give_large_values(model: ir.Model, lifted: Mapping[str, Any]) -> None:
    """Give initializers without values those of their variables, by name."""
    import onnx_ir as ir

    for name, value in model.graph.initializers.items():
        if isinstance(value.const_value, ir.ExternalTensor):
            value.const_value = ir.Tensor(lifted[name].numpy(), name=name)


def _refuse_too_large(constants: Sequence[Any]) -> None:
    """Raise ExportError when variables that stay in the graph are too much for it; names the largest."""
    total = sum(_bytes(v) for v in constants)
    if total > GRAPH_BYTES:
        largest = max(constants, key=_bytes)
        raise ExportError(
            f"{largest.path} has {_bytes(largest) / 2**30:.1f} GiB: all weights that have to be constants in "
            f"TensorFlow's graph, {total / 2**30:.1f} GiB, are more than the 2 GiB it may have"
        )


def _bytes(variable: Any) -> int:
    """Size of a variable's values."""
    return int(np.prod(variable.shape) * np.dtype(variable.dtype).itemsize)

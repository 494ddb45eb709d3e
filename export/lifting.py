"""Trace a Keras model for conversion with its large kernels as extra inputs.

Raw tf2onnx copies the whole graph, weights included, for each of its optimizer passes (tf2onnx/optimizer/__init__.py).
Here they stay out of the graph while it is converted (Keras' StatelessScope makes a model a function of its variables)
and are put back as initializers afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from keronyx.errors import ExportError
from keronyx.export import signature
from keronyx.export.fold import folded_bias, folded_kernel
from keronyx.export.folding import Pair, all_pairs, folded
from keronyx.export.layers import Scopes, scopes_of
from keronyx.export.substitutions import substituted
from keronyx.types import Array, TensorSpec

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


@dataclass(frozen=True)
class FoldedKernel:
    """What stands for a kernel's variable, and computes its values when they are asked for."""

    shape: tuple[int, ...]
    dtype: str
    numpy: Callable[[], Array]


@dataclass(frozen=True)
class Traced:
    """`function` is a ConcreteFunction of flat inputs followed by the lifted kernels, `weights` their Keras variables
    by name (`weight_0`, ...), whose values are not copied, or a FoldedKernel. `scopes` says which operator belongs to
    which layer, `folded` counts the BatchNormalization that is in convolutions."""

    function: Any
    weights: dict[str, Any]
    scopes: Scopes
    folded: int


def trace_lifted(model: Any, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec] = ()) -> Traced:
    """Trace the model under all substitutions, BatchNormalization folded where it can be.

    Args:
        outputs: say in which dtypes floats are given, if not as they are.
    """
    traced, right = _traced(model, inputs, outputs, all_pairs(model))
    return traced if right else _traced(model, inputs, outputs, ())[0]


def _traced(
    model: Any, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], pairs: Sequence[Pair]
) -> tuple[Traced, bool]:
    """And whether these layers could be folded for the time of the trace: else it is wrong."""
    import keras
    import tensorflow as tf

    recurrent = {
        id(v) for layer in model._flatten_layers() if isinstance(layer, keras.layers.RNN) for v in layer.variables
    }  # tf2onnx looks into those of an LSTM or GRU to make one node of its loop
    inside = {id(v) for pair in pairs for layer in pair for v in layer.variables}
    outside = [v for v in model.variables if id(v) not in inside]
    enough = dict.fromkeys(KERNELS, LIFT_BYTES)
    read = [*outside, *(conv.kernel for conv, _ in pairs)]
    lifted = [v for v in read if _bytes(v) >= enough.get(v.name, LIFT_ANY_BYTES) and id(v) not in recurrent]
    names = {id(variable): f"weight_{i}" for i, variable in enumerate(lifted)}
    kept = [v for v in read if id(v) not in names]
    _refuse_too_large(kept)
    kernels = {
        id(c.kernel): FoldedKernel(c.kernel.shape, c.kernel.dtype, partial(folded_kernel, c, n)) for c, n in pairs
    }
    constants = {id(v): kernels.get(id(v), v).numpy() for v in kept}
    biases = {id(conv): folded_bias(conv, bn) for conv, bn in pairs}

    def call(*flat: Any) -> list[Any]:
        given = {id(v): tensor for v, tensor in zip(lifted, flat[len(inputs) :], strict=True)}
        given |= {key: tf.constant(value) for key, value in constants.items()}
        folding.start({id(conv): (given[id(conv.kernel)], tf.constant(biases[id(conv)])) for conv, _ in pairs})
        with keras.StatelessScope([(v, given[id(v)]) for v in outside]):
            made = model(signature.structured_inputs(model, flat[: len(inputs)]), training=False)
        return [tf.identity(tensor) for tensor in signature.flat_outputs(made, outputs)]

    weight_specs = [tf.TensorSpec(v.shape, v.dtype, name=names[id(v)]) for v in lifted]
    with substituted(), scopes_of(model) as scopes, folded(pairs) as folding:
        traced = tf.function(call, autograph=False)
        function = traced.get_concrete_function(*signature.tensor_specs(inputs), *weight_specs)
    weights = {names[id(v)]: kernels.get(id(v), v) for v in lifted}
    return Traced(function, weights, scopes, len(pairs)), folding.right


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

"""A model that computes in bfloat16 or float64, made to compute in float32 for as long as it is converted.

Nothing is built again: its layers get another dtype policy, as Keras' own quantization gives them one, and its weights
another dtype. So a model may be made of anything, subclassed, shared or nested, and is as it was afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from keronyx.export.substitutions import replaced

FLOAT32 = "float32"

PRECISION = "keronyx.precision"
"""Key in a file's metadata: what it computes in float32 instead, in words; only where it does."""

NEVER = "bfloat16"
"""What ONNX Runtime has next to no operators for on the CPU, whatever the model is made of."""

SOMETIMES = "float64"
"""What it has no convolutions for, and many other operators; but matrix products, for example."""


def computed(model: Any) -> frozenset[str]:
    """The dtypes a `keras.Model` computes in or keeps its weights in; of a SavedModel, none."""
    import keras

    if not isinstance(model, keras.Model):
        return frozenset()
    policies = [_policy(layer) for layer in model._flatten_layers()]
    return frozenset(dtype for policy in policies for dtype in (policy.compute_dtype, policy.variable_dtype))


def told(dtypes: frozenset[str], not_in_float64: str) -> list[str]:
    """What the user is to be told of a file that computes in float32 instead of these.

    Args:
        not_in_float64: why, where float64 is among them.
    """
    why = {NEVER: "ONNX Runtime has no bfloat16 kernels on CPU", SOMETIMES: not_in_float64}
    return [f"computes in float32 where Keras computes in {dtype}: {why[dtype]}" for dtype in sorted(dtypes)]


@contextmanager
def in_float32(model: Any, dtypes: frozenset[str]) -> Iterator[None]:
    """Whatever of the model computes in one of `dtypes`, or is kept in it, is float32 for the time being.

    Weights are cast, so that what is said in bfloat16 stays exactly that; constants that a layer made of them too.
    """
    import keras
    import tensorflow as tf

    with ExitStack() as stack:

        def replace(owner: Any, attribute: str, new: Any) -> None:
            stack.enter_context(replaced(owner, attribute, new))

        for variable in model.variables if dtypes else ():
            if variable._dtype in dtypes:
                value = tf.Variable(tf.cast(variable.value, FLOAT32), name=variable.name, trainable=variable.trainable)
                replace(variable, "_value", value)
                replace(variable, "_dtype", FLOAT32)
        for layer in model._flatten_layers() if dtypes else ():
            policy = _policy(layer)
            if dtypes & {policy.compute_dtype, policy.variable_dtype}:
                replace(layer, "_dtype_policy", _in_float32(policy))
            for name, held in list(vars(layer).items()):
                cast = _cast(held, dtypes)
                if cast is not held:
                    stack.enter_context(_entry(vars(layer), name, cast))
            for operation in _operations(layer):
                if isinstance(operation, keras.layers.InputLayer):
                    if operation.dtype in dtypes:
                        replace(operation, "_dtype", FLOAT32)
                elif not isinstance(operation, keras.Layer) and _name(vars(operation).get("dtype")) in dtypes:
                    replace(operation, "dtype", FLOAT32)  # Keras puts a Cast between layers of two policies
            for tensor in _inputs(layer):
                if tensor.dtype in dtypes:
                    replace(tensor, "_dtype", FLOAT32)
        yield


@contextmanager
def _entry(attributes: dict[str, Any], name: str, new: Any) -> Iterator[None]:
    """An attribute is `new` for the time being, past Keras' tracking, which would copy lists."""
    old = attributes[name]
    attributes[name] = new
    try:
        yield
    finally:
        attributes[name] = old


def _cast(held: Any, dtypes: frozenset[str]) -> Any:
    """A constant that a layer keeps in one of `dtypes`, or a list, tuple or dictionary with such, in float32; else the
    very same."""
    import tensorflow as tf

    if isinstance(held, tf.Variable):
        if held.dtype.name not in dtypes:
            return held
        return tf.Variable(tf.cast(held, FLOAT32), name=held.name.partition(":")[0], trainable=held.trainable)
    if isinstance(held, tf.Tensor):
        return tf.cast(held, FLOAT32) if held.dtype.name in dtypes else held
    if isinstance(held, dict):
        made = {key: _cast(value, dtypes) for key, value in held.items()}
        return made if any(made[key] is not held[key] for key in made) else held
    if isinstance(held, list) or type(held) is tuple:
        parts = [_cast(value, dtypes) for value in held]
        same = all(a is b for a, b in zip(parts, held, strict=True))
        return held if same else tuple(parts) if isinstance(held, tuple) else parts
    return held


def _policy(layer: Any) -> Any:
    """The dtype policy that holds for a layer, where it has a map of them, too."""
    import keras

    policy = layer.dtype_policy
    if isinstance(policy, keras.dtype_policies.DTypePolicyMap):
        return policy[layer.path] if layer.path else policy.default_policy
    return policy


def _in_float32(policy: Any) -> Any:
    """The same policy, quantization included, over float32."""
    config = policy.get_config()
    named = "source_name" if "source_name" in config else "name"
    return type(policy).from_config({**config, named: FLOAT32})


def _functional(layer: Any) -> Any:
    """The graph of a functional or sequential model, None for other layers."""
    from keras.src.models import Functional

    graph = getattr(layer, "_functional", None) or layer
    return graph if isinstance(graph, Functional) else None


def _operations(layer: Any) -> Sequence[Any]:
    graph = _functional(layer)
    return () if graph is None else graph.operations


def _inputs(layer: Any) -> Sequence[Any]:
    graph = _functional(layer)
    return () if graph is None else graph._inputs


def _name(dtype: Any) -> str:
    """`tf.bfloat16`, `numpy.float64` or "bfloat16" as a name."""
    return str(getattr(dtype, "name", getattr(dtype, "__name__", dtype)))

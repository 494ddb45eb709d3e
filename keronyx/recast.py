"""A Keras model made to compute in another precision for as long as a scope lasts.

Nothing is built again: its layers get another dtype policy, as Keras' own quantization gives them one, and its weights
another dtype. So a model may be made of anything, subclassed, shared or nested, and is as it was afterwards.
`keras.config.set_floatx` does not do this: a model keeps the dtype it was built or loaded with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any


def computed(model: Any) -> frozenset[str]:
    """The dtypes a `keras.Model` computes in or keeps its weights in; of a SavedModel, none."""
    import keras

    if not isinstance(model, keras.Model):
        return frozenset()
    policies = [_policy(layer) for layer in model._flatten_layers()]
    return frozenset(dtype for policy in policies for dtype in (policy.compute_dtype, policy.variable_dtype))


@contextmanager
def recast(model: Any, dtypes: frozenset[str], to: str) -> Iterator[None]:
    """Whatever of the model computes in one of `dtypes`, or is kept in it, is in the dtype `to` for the time being.

    Weights are cast, so that what is said in bfloat16 stays exactly that; constants that a layer made of them too.

    Args:
        model: a `keras.Model` of the TensorFlow backend.
        dtypes: names such as "float32".
    """
    import keras
    import tensorflow as tf

    with ExitStack() as stack:

        def replace(owner: Any, attribute: str, new: Any) -> None:
            stack.enter_context(replaced(owner, attribute, new))

        for variable in model.variables if dtypes else ():
            if variable._dtype in dtypes:
                value = tf.Variable(tf.cast(variable.value, to), name=variable.name, trainable=variable.trainable)
                replace(variable, "_value", value)
                replace(variable, "_dtype", to)
        for layer in model._flatten_layers() if dtypes else ():
            policy = _policy(layer)
            if dtypes & {policy.compute_dtype, policy.variable_dtype}:
                replace(layer, "_dtype_policy", _over(policy, to))
            for name, held in list(vars(layer).items()):
                cast = _cast(held, dtypes, to)
                if cast is not held:
                    stack.enter_context(_entry(vars(layer), name, cast))
            for operation in _operations(layer):
                if isinstance(operation, keras.layers.InputLayer):
                    if operation.dtype in dtypes:
                        replace(operation, "_dtype", to)
                elif not isinstance(operation, keras.Layer) and _name(vars(operation).get("dtype")) in dtypes:
                    replace(operation, "dtype", to)  # Keras puts a Cast between layers of two policies
            for tensor in _inputs(layer):
                if tensor.dtype in dtypes:
                    replace(tensor, "_dtype", to)
        yield


@contextmanager
def replaced(owner: Any, attribute: str, new: Any) -> Iterator[None]:
    """`owner.attribute` is `new` for the time being."""
    old = getattr(owner, attribute)
    setattr(owner, attribute, new)
    try:
        yield
    finally:
        setattr(owner, attribute, old)


@contextmanager
def _entry(attributes: dict[str, Any], name: str, new: Any) -> Iterator[None]:
    """An attribute is `new` for the time being, past Keras' tracking, which would copy lists."""
    old = attributes[name]
    attributes[name] = new
    try:
        yield
    finally:
        attributes[name] = old


def _cast(held: Any, dtypes: frozenset[str], to: str) -> Any:
    """A constant that a layer keeps in one of `dtypes`, or a list, tuple or dictionary with such, in `to`; else the
    very same."""
    import tensorflow as tf

    if isinstance(held, tf.Variable):
        if held.dtype.name not in dtypes:
            return held
        return tf.Variable(tf.cast(held, to), name=held.name.partition(":")[0], trainable=held.trainable)
    if isinstance(held, tf.Tensor):
        return tf.cast(held, to) if held.dtype.name in dtypes else held
    if isinstance(held, dict):
        made = {key: _cast(value, dtypes, to) for key, value in held.items()}
        return made if any(made[key] is not held[key] for key in made) else held
    if isinstance(held, list) or type(held) is tuple:
        parts = [_cast(value, dtypes, to) for value in held]
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


def _over(policy: Any, to: str) -> Any:
    """The same policy, quantization included, over another dtype."""
    config = policy.get_config()
    named = "source_name" if "source_name" in config else "name"
    return type(policy).from_config({**config, named: to})


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

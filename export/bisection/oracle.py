"""Keras' values, call by call: exact in float64, and what Keras' own precision makes of exact inputs.

A layer is recast to float64 for one call and made the other as it is. A value is forgotten when nobody can ask for it
any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from keronyx.export.bisection.calls import Call, Program
from keronyx.in_graph import as_in_graph
from keronyx.recast import recast, replaced
from keronyx.types import Array


class Oracle:
    """Values by their numbers in the program.

    Args:
        dtypes: the floating-point precisions that the model computes in or keeps weights in.
        inputs: the model's, in its order.
    """

    def __init__(self, program: Program, dtypes: frozenset[str], inputs: Sequence[Array]) -> None:
        import tensorflow as tf

        self.program, self._dtypes = program, dtypes
        self.represented = set(program.inputs)
        """Values the file is known to have: what comes after them is computed from their exact values."""
        self._made: set[int] = set()
        self._exact: dict[int, Any] = {}
        self._own: dict[int, Any] = {}
        self._producer = program.producers()
        self._takers: dict[int, set[int]] = {}
        for i, call in enumerate(program.calls):
            for number in call.inputs:
                self._takers.setdefault(number, set()).add(i)
        for number, array in zip(program.inputs, inputs, strict=True):
            self._own[number] = tf.constant(array)
            self._exact[number] = tf.constant(array, tf.float64 if array.dtype.kind == "f" else None)

    def has(self, number: int) -> bool:
        return number in self._exact

    def exact(self, number: int) -> Array:
        """A value in float64, or as it is if it is no floating-point number."""
        return np.asarray(self._exact[number])

    def own(self, number: int) -> Array:
        """The same as Keras computes it in its own precision, from exact values that were rounded."""
        found = self._own[number]
        return np.asarray(found if found.dtype != "bfloat16" else found.numpy().astype(np.float32))

    def dtype(self, number: int) -> str:
        """Keras' own."""
        return str(self.program.tensors[number].dtype)

    def reach(self, number: int, most: int | None) -> bool:
        """Compute a value, if that takes no more than so many calls. Returns whether it is there."""
        if self.has(number):
            return True
        calls = self._needed(number, most)
        for i in sorted(calls or ()):
            self._make(i)
        return bool(calls)

    def _needed(self, number: int, most: int | None) -> set[int] | None:
        """Calls that must be made for a value; None if they are too many, or take what is forgotten."""
        needed, waiting = set[int](), [number]
        while waiting:
            one = waiting.pop()
            if self.has(one):
                continue
            i = self._producer.get(one)
            if i is None or i in self._made:
                return None
            if i not in needed:
                needed.add(i)
                waiting += self.program.calls[i].inputs
            if most is not None and len(needed) > most:
                return None
        return needed

    def _make(self, i: int) -> None:
        call = self.program.calls[i]
        given = {n: self._rounded(n) if n in self.represented else self._own[n] for n in call.inputs}
        with as_in_graph():
            self._own |= _called(call, given)
            try:
                with _in_float64(call.operation, self._dtypes):
                    self._exact |= _called(call, self._exact)
            except Exception:  # TensorFlow has not every operator in float64
                self._exact |= {n: _doubled(self._own[n]) for n in call.outputs}
        self._made.add(i)

    def forget(self, wanted: Callable[[int], bool]) -> None:
        """Let go of values that no further call takes, that are not `wanted` and no answers of the model."""
        done = [n for n in self._exact if self._takers.get(n, set()) <= self._made and n not in self.program.outputs]
        for number in [n for n in done if not wanted(n)]:
            del self._exact[number], self._own[number]

    def _rounded(self, number: int) -> Any:
        import tensorflow as tf
        from keras.src.backend.common.masking import get_keras_mask, set_keras_mask

        value = self._exact[number]
        if not value.dtype.is_floating:
            return value
        rounded = tf.cast(value, self.dtype(number))
        if (mask := get_keras_mask(value)) is not None:
            set_keras_mask(rounded, mask)
        return rounded


@contextmanager
def _in_float64(operation: Any, dtypes: frozenset[str]) -> Iterator[None]:
    """A layer, or an operation such as a Cast to one of `dtypes`, is in float64 for the time being."""
    import keras

    if isinstance(operation, keras.Layer):
        with recast(operation, dtypes, "float64"):
            yield
        return
    told = vars(operation).get("dtype")
    named = told is not None and keras.backend.standardize_dtype(told) in dtypes
    with replaced(operation, "dtype", "float64") if named else nullcontext():
        yield


def _doubled(value: Any) -> Any:
    import tensorflow as tf

    return tf.cast(value, tf.float64) if value.dtype.is_floating else value


def _called(call: Call, values: dict[int, Any]) -> dict[int, Any]:
    import keras

    by_tensor = {tensor: values[number] for tensor, number in call.scope.items() if number in values}
    args, kwargs = call.arguments.fill_in(by_tensor)
    if getattr(call.operation, "_call_has_training_arg", False):
        kwargs = {**kwargs, "training": False}
    made = keras.tree.flatten(call.operation(*args, **kwargs))
    return dict(zip(call.outputs, made, strict=True))

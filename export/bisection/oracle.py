"""Keras' values, call by call: exact in float64, and what Keras' own precision makes of exact inputs.

Two copies of the model are called, one of them recast. A value is forgotten when nobody can ask for it any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keronyx.export.bisection.calls import Call, Program
from keronyx.in_graph import as_in_graph
from keronyx.types import Array


class Oracle:
    """Values by their numbers in the programs, which are those of two loads of the same model.

    Args:
        exact: of the model that is recast to float64 for as long as this is used.
        own: of the model as it is.
        inputs: the model's, in its order.
    """

    def __init__(self, exact: Program, own: Program, inputs: Sequence[Array]) -> None:
        import tensorflow as tf

        self.program = exact
        self.represented = set(exact.inputs)
        """Values the file is known to have: what comes after them is computed from their exact values."""
        self._made: set[int] = set()
        self._own_program = own
        self._exact: dict[int, Any] = {}
        self._own: dict[int, Any] = {}
        self._producer = exact.producers()
        self._takers: dict[int, set[int]] = {}
        for i, call in enumerate(exact.calls):
            for number in call.inputs:
                self._takers.setdefault(number, set()).add(i)
        for number, array in zip(exact.inputs, inputs, strict=True):
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
        return str(self._own_program.tensors[number].dtype)

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
        call, own = self.program.calls[i], self._own_program.calls[i]
        given = {n: self._rounded(n) if n in self.represented else self._own[n] for n in call.inputs}
        with as_in_graph():
            self._exact |= _called(call, self._exact)
            self._own |= _called(own, given)
        self._made.add(i)

    def forget(self, wanted: Callable[[int], bool]) -> None:
        """Let go of values that no further call takes and that are not `wanted`."""
        for number in [n for n in self._exact if self._takers.get(n, set()) <= self._made and not wanted(n)]:
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


def _called(call: Call, values: dict[int, Any]) -> dict[int, Any]:
    import keras

    by_tensor = {tensor: values[number] for tensor, number in call.scope.items() if number in values}
    args, kwargs = call.arguments.fill_in(by_tensor)
    if getattr(call.operation, "_call_has_training_arg", False):
        kwargs = {**kwargs, "training": False}
    made = keras.tree.flatten(call.operation(*args, **kwargs))
    return dict(zip(call.outputs, made, strict=True))

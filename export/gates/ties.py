"""Which places share the largest value, as far as rounding goes, of an output that is an argmax?

A saturated sigmoid gives 1 or the number before it: which place is the first with the largest then says nothing of a
conversion, and Keras' own answer does not change when its weights move.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from keronyx.recast import replaced
from keronyx.types import Array


@contextmanager
def watched() -> Iterator[list[tuple[Array, Array]]]:
    """What argmax and argmin are asked in eager calls meanwhile: values with the axis last (argmin's negated; all of
    them in a row where no axis is named), and their answers (flat)."""
    import tensorflow as tf

    seen: list[tuple[Array, Array]] = []

    def watch(original: Any, sign: int) -> Any:
        def call(input: Any, axis: Any = None, *arguments: Any, **options: Any) -> Any:
            made = original(input, axis, *arguments, **options)
            if tf.executing_eagerly() and np.asarray(input).dtype.kind not in "iub":  # those are never rounded
                values = np.moveaxis(np.asarray(input, np.float64) * sign, 0 if axis is None else int(axis), -1)
                seen.append((values, np.asarray(made).reshape(-1)))
            return made

        return call

    with ExitStack() as stack:
        for owner in (tf, tf.math):
            for name, sign in (("argmax", 1), ("argmin", -1)):
                stack.enter_context(replaced(owner, name, watch(getattr(owner, name), sign)))
        yield seen


def tied(answers: Sequence[Array], seen: Sequence[tuple[Array, Array]], tie: float) -> list[Array]:
    """For each output bool[n, places]: which places hold the largest value or less by no more than `tie` of the RMS.

    Empty for outputs that are no answers of an argmax or argmin.
    """
    found = []
    for answer in answers:
        flat = answer.reshape(-1)
        values = [v for v, made in seen if answer.dtype.kind in "iu" and np.array_equal(made, flat)]
        found.append(_near(values[-1], tie) if values and flat.size else np.zeros((0, 0), bool))
    return found


def _near(values: Array, tie: float) -> Array:
    finite = values[np.isfinite(values)]
    allowed = tie * float(np.sqrt(np.mean(finite**2))) if finite.size else 0.0
    most = values.max(-1, keepdims=True)
    return np.asarray((values == most) | (values >= most - allowed)).reshape(-1, values.shape[-1])


def settled(answers: Sequence[Array], right: Sequence[Array], ties: Sequence[Array]) -> list[Array]:
    """The answers, with the reference's place wherever another one is given that is tied with it."""
    made = list(answers)
    for k, near in enumerate(ties):
        if near.size and answers[k].shape == right[k].shape and answers[k].dtype.kind in "iu":
            both = _holds(near, answers[k]) & _holds(near, right[k])
            made[k] = np.where(both, right[k], answers[k])
    return made


def _holds(near: Array, answer: Array) -> Array:
    """Where a place that is answered is among those."""
    places = answer.reshape(-1).astype(np.int64)
    inside = (places >= 0) & (places < near.shape[1])
    return np.asarray(inside & near[np.arange(places.size), np.where(inside, places, 0)]).reshape(answer.shape)

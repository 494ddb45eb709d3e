"""A model whose weights are moved by rounding for the time being: what its answers owe to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from keronyx.types import Array

ROUNDED = 1 / 12
"""Share of numbers to move by a whole unit in the last place for the variance that rounding to nearest has, which is
uniform within half a unit: 1/12 unit squared."""


@contextmanager
def moved(variables: Sequence[Any], by: float, random: np.random.Generator, share: float = 1.0) -> Iterator[None]:
    """Every floating-point weight, or a share of them, is moved by `by`, relatively, up or down, for the time being.

    Args:
        variables: of Keras or TensorFlow.
        by: one unit in the last place of a precision, 2**-23 of float32.
        share: of the weights that are moved, drawn at random; with ROUNDED they differ from the true ones by as much
            as if each had been rounded once.
    """
    kept = []
    try:
        for variable in variables:
            values = np.asarray(variable.numpy())
            if is_float(values):
                kept.append((variable, values))
                variable.assign(jittered(values, by, random, share))
        yield
    finally:
        for variable, values in kept:
            variable.assign(values)


def jittered(values: Array, by: float, random: np.random.Generator, share: float = 1.0) -> Array:
    """Each number, or a share of them, moved by `by`, relatively, up or down; what is no floating-point number as it
    is."""
    if not is_float(values):
        return values
    signs = random.integers(0, 2, values.shape, np.int8) * 2.0 - 1.0
    if share < 1:
        signs *= random.random(values.shape, np.float32) < share
    return np.asarray(values.astype(np.float64) * (1 + by * signs)).astype(values.dtype)


def is_float(values: Array) -> bool:
    """Whether an array holds floating-point numbers, numpy's own or bfloat16."""
    return values.dtype.kind == "f" or values.dtype.name == "bfloat16"

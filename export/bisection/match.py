"""Is a tensor of the file a value of Keras', in whatever layout? Errors are judged by Keras' own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from math import prod

import numpy as np

from keronyx.types import Array

TIMES = 64.0
"""How many times Keras' own error (its 99th percentile over 2.5) a value may be off. Sums in another
order and convolutions by another algorithm stay below 8 in every layer of the zoo, resized images reach some 50; one
filter of 2 % too much is at 10,000, one bias of 1 % too much at 1,000."""

LEAST = 4.0
"""How many roundings an error is counted as at least, where Keras makes none."""

SHARE = 1e-4
"""Share of values that may be further off, besides four times Keras' own: what is chosen by comparison can flip."""

EPSILON = {"float64": 2.0**-24, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""Rounding error of one operation, relatively. What is in float64 may come from float32 all the same, as images that
Keras resizes do."""

SAMPLE = 4096
"""Values looked at first, of which most must fit before all are compared."""

SAMPLED = 65536
"""Values that the percentile of Keras' own error is taken from."""


@dataclass(frozen=True)
class Layout:
    """How a value of Keras' lies in a tensor of the file: its axes in this order, then reshaped."""

    axes: tuple[int, ...]
    shape: tuple[int, ...]

    def of(self, value: Array) -> Array:
        """The value as the file has it."""
        found: Array = value.transpose(self.axes).reshape(self.shape)
        return found


@dataclass(frozen=True)
class Difference:
    """Errors are root mean squares in units of the exact value's. `ratio` is that of the file over that of Keras, or
    over rounding once where Keras makes none. `outliers` is the share of values further off than TIMES Keras' error."""

    error: float
    keras_error: float
    ratio: float
    outliers: float
    right: bool


def layouts(value: tuple[int, ...], tensor: tuple[int, ...]) -> Iterator[Layout]:
    """All that are plausible between two shapes, the likeliest first."""
    rank = len(value)
    if prod(value) != prod(tensor):
        return
    usual = [tuple(range(rank))]
    if rank > 2:
        usual += [(0, rank - 1, *range(1, rank - 1)), (0, *range(2, rank), 1)]
    every = [axes for axes in permutations(range(rank)) if axes not in usual] if 1 < rank <= 4 else []
    fitting = [axes for axes in [*usual, *every] if tuple(value[a] for a in axes) == tensor]
    for axes in fitting or usual:
        yield Layout(axes, tensor)


def fits(tensor: Array, exact: Array, own: Array, layout: Layout, dtype: str) -> bool:
    """Whether a sample says that it may be the value; where not, it is not."""
    if not tensor.size:
        return True
    places = np.random.default_rng(0).integers(0, tensor.size, min(SAMPLE, tensor.size))
    moved = exact.transpose(layout.axes)
    where = np.unravel_index(places, moved.shape)
    judged = compare(tensor.reshape(-1)[places], moved[where], own.transpose(layout.axes)[where], dtype)
    return judged.outliers < 0.05


def compare(tensor: Array, exact: Array, own: Array, dtype: str) -> Difference:
    """How far a tensor is from the exact value, and whether it is that value.

    Args:
        tensor: of the file; any dtype.
        exact, own: of the same shape: the value in float64, and in Keras' own precision.
        dtype: Keras' own, a key of EPSILON if it is a floating-point one.
    """
    if not exact.size:
        return Difference(0.0, 0.0, 0.0, 0.0, True)
    if exact.dtype.kind not in "fiub" or tensor.dtype.kind not in "fiub":
        share, of_keras = float(np.mean(tensor != exact)), float(np.mean(own != exact))
        return Difference(share, of_keras, share / max(of_keras, SHARE), share, share <= SHARE + 4 * of_keras)
    wanted = exact.astype(np.float64, copy=False)
    mine, keras = _errors(tensor, wanted), _errors(own, wanted)
    size = np.abs(wanted)
    scale = _rms(size)
    epsilon = max(EPSILON.get(dtype, 0.0), EPSILON.get(tensor.dtype.name, 0.0)) if exact.dtype.kind == "f" else 0.0
    floor = epsilon * scale
    step = max(1, keras.size // SAMPLED)
    noise = max(float(np.quantile(keras.reshape(-1)[::step], 0.99)) / 2.5, LEAST * floor)
    bound = TIMES * (noise + epsilon * np.where(np.isfinite(size), size, 0.0)) + float(np.finfo(np.float32).tiny)
    outliers, of_keras = float(np.mean(mine > bound)), float(np.mean(keras > bound))
    error, keras_error = _rms(mine), _rms(keras)
    smallest = max(keras_error, floor)
    ratio = error / smallest if smallest else (0.0 if not error else float("inf"))
    unit = scale or 1.0
    return Difference(error / unit, keras_error / unit, ratio, outliers, outliers <= SHARE + 4 * of_keras)


def _errors(values: Array, exact: Array) -> Array:
    """Absolute errors; infinite where one is NaN or Inf and the other is not the same."""
    with np.errstate(invalid="ignore"):
        error: Array = np.abs(values - exact)
    odd = ~np.isfinite(error)
    if odd.any():
        same = (values == exact) | (np.isnan(values) & np.isnan(exact))
        error[odd & same] = 0.0
        error[odd & ~same] = np.inf
    return error


def _rms(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(np.square(finite)))) if finite.size else 0.0

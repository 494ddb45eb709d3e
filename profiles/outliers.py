"""Tukey's outliers: counted and told, never deleted.

Fences at 1.5 and 3 interquartile ranges beyond the quartiles (Tukey, Exploratory Data Analysis, 1977), with linearly
interpolated quartiles, as criterion.rs labels them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MILD, SEVERE = 1.5, 3.0
"""Interquartile ranges beyond a quartile from which a value is a mild, a severe outlier."""


@dataclass(frozen=True)
class Outliers:
    """Number of values beyond each fence, of `n` values; a severe outlier is not counted as a mild one too."""

    low_severe: int
    low_mild: int
    high_mild: int
    high_severe: int
    n: int


def label(values: Sequence[float | None]) -> Outliers:
    """Count the outliers; what is None or not finite is no value.

    The definition finds none among fewer than 4 values. Nor is there one where the middle half of the values is equal
    (interquartile range 0: a clock that ticks too slowly), because then there is no scale to judge by.
    """
    known = np.array([value for value in values if value is not None and math.isfinite(value)], dtype=float)
    if not len(known):
        return Outliers(0, 0, 0, 0, 0)
    first, third = (float(quartile) for quartile in np.percentile(known, [25, 75]))
    spread = third - first
    if not 0 < spread < math.inf:
        return Outliers(0, 0, 0, 0, len(known))
    low_severe = int(np.sum(known < first - SEVERE * spread))
    high_severe = int(np.sum(known > third + SEVERE * spread))
    low_mild = int(np.sum(known < first - MILD * spread)) - low_severe
    high_mild = int(np.sum(known > third + MILD * spread)) - high_severe
    return Outliers(low_severe, low_mild, high_mild, high_severe, len(known))


def describe(found: Outliers) -> str:
    """`2 of 200 calls high mild, 1 high severe`, or nothing where there are none."""
    counts = {
        "low severe": found.low_severe,
        "low mild": found.low_mild,
        "high mild": found.high_mild,
        "high severe": found.high_severe,
    }
    parts = [(count, kind) for kind, count in counts.items() if count]
    if not parts:
        return ""
    (count, kind), *others = parts
    return ", ".join([f"{count} of {found.n} calls {kind}", *(f"{count} {kind}" for count, kind in others)])

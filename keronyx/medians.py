"""Medians and their order-statistic confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

LEVEL = 0.95
"""Confidence of every interval that is printed."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval. `level` is the confidence it achieves (0..1), at least the one asked for."""

    low: float
    high: float
    level: float


def median(values: Sequence[float]) -> float | None:
    """Median, or None of nothing."""
    # sorted() rather than numpy: a report holds thousands of rounds of a few calls, too small for an array to pay
    ordered = sorted(values)
    middle = len(ordered) // 2
    if not ordered:
        return None
    return float(ordered[middle]) if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


@lru_cache(maxsize=256)
def _order_statistic(n: int, level: float) -> tuple[int, float] | None:
    """Index `low` (0-based) such that [x[low], x[n-1-low]] covers the median with at least `level`; and its coverage.

    The number of samples below the median is Binomial(n, 1/2); `low` is the largest with P(X <= low) < (1-level)/2
    (Conover, Practical Nonparametric Statistics, 3.2; what `scipy.stats.quantile_test` computes). Integers are exact.
    """
    numerator, denominator = ((1 - level) / 2).as_integer_ratio()
    limit = -(-numerator * 2**n // denominator)
    low, below, term = -1, 0, 1
    while low + 1 < n and below + term < limit:
        below += term
        low += 1
        term = term * (n - low) // (low + 1)
    if low < 0:
        return None
    return low, 1 - 2 * (below / 2**n)


def median_interval(values: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Order-statistic confidence interval of the median, or None where `level` cannot be reached (n < 6 at 95 %).

    Valid for independent samples of any continuous distribution; conservative with ties. `Interval.level` is the
    exact coverage, e.g. 0.9785 for n = 10. Source: Conover 3.2, as `scipy.stats.quantile_test`.
    """
    ranks = _order_statistic(len(values), level)
    if ranks is None:
        return None
    low, coverage = ranks
    ordered = sorted(values)
    return Interval(float(ordered[low]), float(ordered[-1 - low]), coverage)

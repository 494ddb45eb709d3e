"""What fresh processes change: the interval of a figure between sets of processes.

A process keeps its luck (memory layout, thread placement, autotuning) for as long as it lives, so rounds of one set of
processes say nothing about the next one's. Between processes figures spread about three times as far as the interval
within one process says. Each set therefore counts as one observation here.

All values and intervals are logarithms (of ratios or of latencies), in which such luck adds up evenly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from keronyx.profiles import stats
from keronyx.profiles.stats import Estimate, Interval

LEAST_SETS = 3
"""Of two sets the interval would reach 12.7 standard errors to each side."""

QUANTILES = {
    0.95: (4.3027, 3.1825, 2.7765, 2.5706, 2.4470, 2.3647, 2.3061, 2.2622),
    0.98: (6.9646, 4.5408, 3.7470, 3.3650, 3.1427, 2.9980, 2.8965, 2.8215),
    0.99: (9.9249, 5.8410, 4.6041, 4.0322, 3.7075, 3.4995, 3.3554, 3.2499),
    0.995: (14.0891, 7.4534, 5.5976, 4.7734, 4.3169, 4.0294, 3.8326, 3.6897),
    0.998: (22.3272, 10.2146, 7.1732, 5.8935, 5.2077, 4.7853, 4.5008, 4.2969),
    0.999: (31.5991, 12.9240, 8.6104, 6.8689, 5.9589, 5.4079, 5.0414, 4.7810),
}
"""Two-sided quantiles of Student's t distribution, by level, for 2 to 9 degrees of freedom, rounded up."""


def between(values: Sequence[float], sets: Sequence[int], level: float = stats.LEVEL) -> Interval | None:
    """t interval (Student 1908) of the mean over process sets, each counted by the median of its rounds.

    Args:
        values: one logarithm for each round; rounds that are not finite are left out.
        sets: the process set of each of these rounds.
        level: confidence; the next tabulated one is used (0.95 or 0.98), as is the quantile of 10 sets for more sets.

    Assumes that the sets' medians are independent and about normal. None for fewer than 3 sets, and above 98 %.
    """
    levels = [known for known in QUANTILES if known >= level]
    medians = _set_medians(values, sets)
    if not levels or len(medians) < LEAST_SETS:
        return None
    quantiles = QUANTILES[min(levels)]
    quantile = quantiles[min(len(medians) - LEAST_SETS, len(quantiles) - 1)]
    mean = float(np.mean(medians))
    half = quantile * float(np.std(medians, ddof=1)) / math.sqrt(len(medians))
    return Interval(mean - half, mean + half, min(levels))


def widened(within: Estimate, values: Sequence[float], sets: Sequence[int], level: float = stats.LEVEL) -> Estimate:
    """The estimate with the interval between process sets where that is wider than its own, else unchanged.

    `within` is the estimate over all rounds of all sets, in the logarithm as `values` are. The wider interval is
    extended to hold the estimate's value, where the sets' mean lies far from it. An estimate without an interval (too
    few rounds) stays without. Measuring stops on intervals within processes, so 95 % is enough for this one.
    """
    own, other = within.interval, between(values, sets, level)
    if own is None or other is None or not other.high - other.low > own.high - own.low:
        return within
    return replace(within, interval=Interval(min(other.low, within.value), max(other.high, within.value), other.level))


def _set_medians(values: Sequence[float], sets: Sequence[int]) -> list[float]:
    """The median of each set's rounds."""
    rounds: dict[int, list[float]] = {}
    for value, one in zip(values, sets, strict=False):
        if math.isfinite(value):
            rounds.setdefault(one, []).append(value)
    return [middle for own in rounds.values() if (middle := stats.median(own)) is not None]

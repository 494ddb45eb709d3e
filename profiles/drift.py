"""Whether a row became slower or faster from round to round: Kendall's test for a trend and Theil and Sen's slope.

Neither assumes a noise model, but the test does assume independent rounds. A machine whose speed wanders (noise that
correlates 0.7 from one round to the next) seems to drift in a quarter of all runs of 40 rounds, by simulation: a
noticeable drift is a reason to distrust latencies taken far apart in time, not proof of a cause.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST = 10
"""Below so many rounds the normal approximation of Kendall's test is poor."""

MOST = 2000
"""More rounds than this are thinned evenly: every pair is looked at, and 2000 rounds have two million."""

MOST_P_VALUE = 0.01
LEAST_CHANGE = 0.05
"""A drift is noticeable when chance would give it in one of 100 runs at most and it changed the latency by 5 %."""

MOST_LOG_CHANGE = 700.0
"""The largest logarithm of a change whose exponential is still a float."""


@dataclass(frozen=True)
class Drift:
    """A trend over `n` rounds: Kendall's `tau` with time (-1..1; positive: slower), its two-sided p-value, and
    `change`, by how much the latency changed from the first to the last round (0.05: 5 % slower)."""

    tau: float
    p_value: float
    change: float
    n: int


def drift(values: Sequence[float]) -> Drift | None:
    """Trend of a row's round medians (any unit) in the order of the rounds.

    None for fewer than 10 values, or when one is not positive and finite. Values that are all equal have no trend:
    tau 0 with p-value 1. The slope is that of the logarithm, so that `change` is relative and never below -100 %.

    Sources: Kendall, Rank Correlation Methods, 1970 (tau-b, normal approximation corrected for ties; what
    `scipy.stats.kendalltau(method="asymptotic")` computes); Theil 1950 and Sen 1968 (median of the slopes of all pairs;
    `scipy.stats.theilslopes`).
    """
    if len(values) < LEAST or not all(0 < value < math.inf for value in values):
        return None
    step = -(-len(values) // MOST)
    logs = np.log(np.asarray(values[::step], dtype=float))
    earlier, later = np.triu_indices(len(logs), k=1)
    differences = logs[later] - logs[earlier]
    tau, p_value = _kendall(logs, float(np.sum(np.sign(differences))))
    slope = float(np.median(differences / (later - earlier))) / step
    log_change = min(slope * (len(values) - 1), MOST_LOG_CHANGE)
    return Drift(tau, p_value, math.expm1(log_change), len(values))


def noticeable(found: Drift | None) -> bool:
    """Whether the drift is neither chance (p < 0.01) nor too small to matter (5 % over the run)."""
    return found is not None and found.p_value < MOST_P_VALUE and abs(found.change) >= LEAST_CHANGE


def _kendall(values: NDArray[np.float64], score: float) -> tuple[float, float]:
    """Tau-b with time and its two-sided p-value, given the pairs that rise less those that fall."""
    n = len(values)
    ties = np.unique(values, return_counts=True)[1].astype(float)
    pairs = n * (n - 1) / 2
    untied = pairs - float(np.sum(ties * (ties - 1))) / 2
    if untied <= 0:
        return 0.0, 1.0
    variance = (n * (n - 1) * (2 * n + 5) - float(np.sum(ties * (ties - 1) * (2 * ties + 5)))) / 18
    tau = score / math.sqrt(pairs * untied)
    return tau, math.erfc(abs(score) / math.sqrt(2 * variance))

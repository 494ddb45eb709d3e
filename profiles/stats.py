"""Statistics of latencies, computed from raw samples: medians, their intervals, paired ratios, verdicts.

Everything rests on order statistics, so no noise model is assumed. The unit of evidence is the *round*: a round's
value is the median of its timed calls, and two rows are compared by their ratio inside the same round, because rounds
share what the machine was doing at that moment and calls of one turn are not independent.

Functions take plain sequences of numbers (or `Samples`) and never raise for odd ones: what cannot be said is None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from keronyx.medians import LEVEL as LEVEL
from keronyx.medians import Interval as Interval
from keronyx.medians import median as median
from keronyx.medians import median_interval as median_interval
from keronyx.types import Cold, Row, Samples

LOOK_EVERY = 20
LOOK_LEVEL = 0.98
"""Measuring looks at the intervals every so many rounds and may stop on what it sees. That costs coverage, so every
interval of that many rounds is taken at the higher level: then at least 95 % remain after stopping."""

MARGIN = 0.02
"""Smallest relative difference worth a verdict: two rows within 2 % of each other are equivalent."""

MOST_ROUNDS = 100_000
"""An estimate of rounds needed above this is "never" in practice."""


@dataclass(frozen=True)
class Estimate:
    """A median over `n` rounds with its interval; `interval` is None when `n` is too small for one (n < 6 at 95 %)."""

    value: float
    interval: Interval | None
    n: int

    def inverse(self) -> Estimate:
        """The same estimate of 1/value: a latency ratio becomes a speed-up. The value must be positive."""
        interval = self.interval
        if interval is not None:
            interval = Interval(1 / interval.high, 1 / interval.low, interval.level)
        return Estimate(1 / self.value, interval, self.n)


class Comparison(StrEnum):
    """What the interval of a latency ratio says about a pair of rows."""

    FASTER = "faster"
    SLOWER = "slower"
    EQUIVALENT = "equivalent"
    UNDECIDED = "undecided"


# --- one row --------------------------------------------------------------------------------------------------------


def estimate(values: Sequence[float], level: float | None = None) -> Estimate | None:
    """Median with its order-statistic interval, or None of nothing.

    Without a `level` the interval keeps 95 % under measuring's own stopping rule (see LOOK_LEVEL).
    """
    centre = median(values)
    if level is None:
        level = LOOK_LEVEL if len(values) >= LOOK_EVERY else LEVEL
    return None if centre is None else Estimate(centre, median_interval(values, level), len(values))


def claimable(n: int, q: float) -> bool:
    """Whether `n` samples are enough to claim their `q`-th percentile (see `percentile`)."""
    return n > 0 and 1 - (q / 100) ** n >= LEVEL


def percentile(values: Sequence[float], q: float) -> float | None:
    """The `q`-th percentile (q in 50..100, linear interpolation), or None when there are too few samples to claim it.

    The largest of n samples lies above the percentile with probability 1 - (q/100)**n; below 95 % there is no upper
    bound for it, so it is refused: n >= 29 for p90, 59 for p95, 299 for p99.
    """
    if not claimable(len(values), q):
        return None
    return float(np.percentile(np.asarray(values, dtype=float), q))


def round_medians(rounds: Sequence[Sequence[float]]) -> tuple[float | None, ...]:
    """One value per round, the median of its timed calls, in the samples' unit; None for a round without calls."""
    return tuple(median(calls) for calls in rounds)


def present(values: Sequence[float | None]) -> tuple[float, ...]:
    """The values that are there."""
    return tuple(value for value in values if value is not None)


def calls(rounds: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """All timed calls of all rounds, in order."""
    return tuple(call for one in rounds for call in one)


def cpu_per_wall(samples: Samples) -> float | None:
    """Median over rounds of CPU time / wall time: how many cores a row kept busy while its caller waited."""
    ratios = [
        sum(cpu) / sum(wall)
        for wall, cpu in zip(samples.wall_ns, samples.cpu_ns, strict=False)
        if len(wall) == len(cpu) and sum(wall) > 0
    ]
    return median(ratios)


def cold_total_s(cold: Cold) -> float:
    """Seconds from starting the process to the end of the first call."""
    return cold.start_s + cold.import_s + cold.load_s + cold.compile_s + cold.first_call_s


def cold_s(row: Row) -> float | None:
    """The row's cold start in seconds, the median over its process sets; None when it was never started."""
    return median([cold_total_s(cold) for cold in (row.cold, *row.cold_repeats) if cold is not None])


# --- pairs ----------------------------------------------------------------------------------------------------------


def round_values(samples: Samples) -> tuple[float | None, ...]:
    """What a round says of a row, nanoseconds a call: the median of its timed calls.

    With concurrent callers the time of the saturated part by its calls: rows are compared by what they serve, since
    the latency beside it is at a rate of each row's own. None for a round without calls.
    """
    if not any(samples.window_calls):
        return round_medians(samples.wall_ns)
    pairs = zip(samples.window_ns, samples.window_calls, strict=False)
    return tuple(ns / count if count else None for ns, count in pairs)


def log_ratios_by_round(row: Samples, reference: Samples) -> dict[int, float]:
    """Round (from 0) -> logarithm of the latency ratio, of the rounds in which both rows have a positive value."""
    pairs = enumerate(zip(round_values(row), round_values(reference), strict=False))
    return {i: math.log(a / b) for i, (a, b) in pairs if a is not None and b is not None and a > 0 and b > 0}


def log_ratios(row: Samples, reference: Samples) -> list[float]:
    """Logarithm of the latency ratio in each round that both rows have; rounds without positive values are left out."""
    return list(log_ratios_by_round(row, reference).values())


def paired_ratio(row: Samples, reference: Samples, level: float | None = None) -> Estimate | None:
    """Latency of `row` over latency of `reference`: below 1 means `row` is faster.

    Median of the rounds' log-ratios and its order-statistic interval, exponentiated; None when there is no common
    round. Without a `level` as in `estimate`.
    """
    found = estimate(log_ratios(row, reference), level)
    return None if found is None else exponential(found)


def exponential(found: Estimate) -> Estimate:
    """An estimate of a logarithm as one of the value itself."""
    interval = found.interval
    if interval is not None:
        interval = Interval(math.exp(interval.low), math.exp(interval.high), interval.level)
    return Estimate(math.exp(found.value), interval, found.n)


def equivalence_margin(control: Estimate | None) -> float:
    """The relative difference below which two rows count as equal: 2 %, or what the A/A' control shows if that is more.

    `control` is the reference row's ratio to itself, whose truth is 1: neither its deviation from 1 nor half the
    width of its interval (both in logarithms) can be told from a real difference of that size.
    """
    if control is None or not control.value > 0:
        return MARGIN
    seen = abs(math.log(control.value))
    if control.interval is not None:
        seen = max(seen, math.log(control.interval.high / control.interval.low) / 2)
    return max(MARGIN, math.expm1(seen))


def compare(ratio: Estimate | None, margin: float = MARGIN) -> Comparison:
    """Verdict of a pair from its latency ratio.

    FASTER or SLOWER when the whole interval lies beyond the margin, EQUIVALENT when it lies inside, else UNDECIDED.
    Without an interval (too few rounds) a pair is always undecided.
    """
    if ratio is None or ratio.interval is None:
        return Comparison.UNDECIDED
    low, high = ratio.interval.low, ratio.interval.high
    if high < 1 / (1 + margin):
        return Comparison.FASTER
    if low > 1 + margin:
        return Comparison.SLOWER
    if low >= 1 / (1 + margin) and high <= 1 + margin:
        return Comparison.EQUIVALENT
    return Comparison.UNDECIDED


def difference_p_value(logs: Sequence[float], margin: float = MARGIN) -> float:
    """Probability of so one-sided a set of log-ratios if the true median were within the margin (two-sided sign test).

    The exact binomial test of Conover 3.4 against the nearer edge of the margin, in both directions.
    """
    n, edge = len(logs), math.log1p(margin)
    if n == 0:
        return 1.0
    most = max(sum(x > edge for x in logs), sum(x < -edge for x in logs))
    term = tail = math.comb(n, most)
    for k in range(most, n):
        term = term * (n - k) // (k + 1)
        tail += term
    return min(1.0, 2 * tail / int(2**n))


def holm(p_values: Sequence[float], level: float = LEVEL) -> list[bool]:
    """Which of several hypotheses may be rejected together, with one false rejection in 20 runs at most (Holm 1979)."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    rejected = [False] * len(p_values)
    for place, index in enumerate(order):
        if p_values[index] > (1 - level) / (len(p_values) - place):
            break
        rejected[index] = True
    return rejected


def rounds_needed(ratio: Estimate | None, margin: float = MARGIN) -> int | None:
    """About how many more rounds would decide an undecided pair; 0 when decided, None when it cannot be said.

    The interval's width shrinks with 1/sqrt(n), so n grows with the square of (half width / distance of the ratio
    from the nearer edge of the margin).
    """
    if ratio is None or ratio.interval is None:
        return None
    if compare(ratio, margin) is not Comparison.UNDECIDED:
        return 0
    if not (ratio.value > 0 and ratio.interval.low > 0):  # a clock that ticks too slowly
        return None
    half_width = math.log(ratio.interval.high / ratio.interval.low) / 2
    distance = abs(abs(math.log(ratio.value)) - math.log1p(margin))
    if distance * math.sqrt(MOST_ROUNDS) <= half_width * math.sqrt(ratio.n):
        return None
    return max(1, math.ceil(ratio.n * (half_width / distance) ** 2) - ratio.n)


def break_even_calls(
    cold_s: float, reference_cold_s: float, latency_ms: float, reference_latency_ms: float
) -> int | None:
    """Number of calls after which a slower start has paid for itself; 0 when it starts no later, None for never."""
    gain_s = (reference_latency_ms - latency_ms) / 1000
    extra_s = cold_s - reference_cold_s
    if not gain_s > 0 or not math.isfinite(extra_s) or not math.isfinite(extra_s / gain_s):
        return None
    return max(0, math.ceil(extra_s / gain_s))

"""How many items a row serves in a second, and its latencies under concurrent callers."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from keronyx.profiles import stats
from keronyx.profiles.stats import Estimate
from keronyx.types import Row, Samples

if TYPE_CHECKING:
    from hdrh.histogram import HdrHistogram

SHORTEST_NS, LONGEST_NS = 1, 3_600_000_000_000
"""Range of the histogram, 1 ns to 1 h; what lies outside counts as its end. From 1 us it would count in steps of
512 ns, which is 2.5 % of a latency of 20 us."""

LARGEST_BATCH = 2**31
"""No batch is larger: a report that says so is wrong."""

DIGITS = 3
"""Significant digits that the histogram keeps."""


def items_per_second(row: Row) -> Estimate | None:
    """Items per second: the batch by the time of a call, or by what one call adds while all callers call at once.

    Median over rounds with its order-statistic interval; None without a positive time.
    """
    if not 0 < row.batch < LARGEST_BATCH:
        return None
    values = [ns for ns in stats.present(stats.round_values(row.samples)) if ns > 0]
    return stats.estimate([1e9 * row.batch / ns for ns in values])


def gain(row: Row, smaller: Row) -> float | None:
    """Relative gain of throughput over the same runtime's smaller setting: 0.05 is 5 % more. None where unknown."""
    now, before = items_per_second(row), items_per_second(smaller)
    if now is None or before is None or not before.value > 0:
        return None
    return now.value / before.value - 1


def latency_percentile(row: Row, q: float) -> float | None:
    """The `q`-th percentile of latency in milliseconds from the histogram; None where `stats.percentile` refuses."""
    count = len(stats.calls(row.samples.wall_ns))
    if not stats.claimable(count, q):
        return None
    return float(histogram(row.samples).get_value_at_percentile(q)) / 1e6


@lru_cache(maxsize=64)
def histogram(samples: Samples) -> HdrHistogram:
    """All latencies in nanoseconds as a High Dynamic Range Histogram, 3 significant digits."""
    from hdrh.histogram import HdrHistogram

    made: Any = HdrHistogram(SHORTEST_NS, LONGEST_NS, DIGITS)
    for call in stats.calls(samples.wall_ns):
        made.record_value(min(max(int(call), SHORTEST_NS), LONGEST_NS))
    return made

"""Uncontended rounds: the pair rule by example, and what it is worth by simulation on a busy host."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from keronyx.profiles import stats
from keronyx.profiles.contention import contended, cpu_ratio, share, uncontended, uncontended_ratio
from keronyx.profiles.stats import Interval
from keronyx.types import Samples

MS = 1_000_000

nanoseconds = st.integers(0, 2**63 - 1)
rounds = st.lists(st.lists(nanoseconds, max_size=3).map(tuple), max_size=30).map(tuple)
waits = st.lists(st.one_of(st.none(), nanoseconds, st.sampled_from([0, 15_600_000])), max_size=30).map(tuple)
samples = st.builds(Samples, wall_ns=rounds, cpu_ns=rounds, waited_ns=waits)


def turns(wall_ms: Sequence[float], waited_ms: Sequence[float | None]) -> Samples:
    """One call a round, whose CPU time is what it did not wait."""
    waited = tuple(None if ms is None else round(ms * MS) for ms in waited_ms)
    return Samples(
        wall_ns=tuple((round(ms * MS),) for ms in wall_ms),
        cpu_ns=tuple((round((wall - (wait or 0)) * MS),) for wall, wait in zip(wall_ms, waited_ms, strict=False)),
        waited_ns=waited,
    )


# --- the rule


@pytest.mark.parametrize(
    ("wall_ms", "waited_ms", "expected"),
    [
        ([100.0], 2.0, False),
        ([100.0], 2.001, True),
        ([50.0, 50.0], 2.0, False),
        ([50.0, 50.0], 2.001, True),
        ([1.0], 0.1, False),  # 10 % of the call, but no longer than any process waits
        ([1.0], 0.101, True),
        ([100.0], None, None),
        ([], 0.0, None),
    ],
)
def test_turn_is_contended_above_100_us_and_two_percent(
    wall_ms: list[float], waited_ms: float | None, expected: bool | None
) -> None:
    wall = tuple(round(ms * MS) for ms in wall_ms)
    waited = None if waited_ms is None else round(waited_ms * MS)
    assert contended(Samples(wall_ns=(wall,), waited_ns=(waited,)), 0) is expected


def test_round_counts_only_when_neither_turn_is_contended() -> None:
    row = turns([100.0] * 4, [0.0, 50.0, 0.0, 50.0])
    reference = turns([100.0] * 4, [0.0, 0.0, 50.0, 50.0])
    assert uncontended(row, reference) == uncontended(reference, row) == [0]
    assert share(row, reference) == 0.75


def test_rounds_that_are_unknown_or_not_of_both_rows_are_left_out() -> None:
    row = turns([100.0] * 5, [0.0, None, 0.0, 50.0, 0.0])
    reference = turns([100.0] * 4, [0.0, 0.0, None, 0.0])
    assert uncontended(row, reference) == [0]
    assert share(row, reference) == 0.5


def test_nothing_is_said_where_the_wait_is_unknown() -> None:
    known, unknown = turns([100.0] * 8, [0.0] * 8), Samples(wall_ns=((100 * MS,),) * 8)
    for row, reference in ((unknown, known), (known, unknown), (Samples(), Samples())):
        assert uncontended(row, reference) is None
        assert share(row, reference) is None
        assert uncontended_ratio(row, reference) is None
    assert contended(known, 8) is None and contended(known, -1) is None


def test_all_contended_is_known_and_gives_no_ratio() -> None:
    busy = turns([100.0] * 8, [50.0] * 8)
    assert uncontended(busy, busy) == [] and share(busy, busy) == 1.0
    assert uncontended_ratio(busy, busy) is None


def test_ratio_needs_six_uncontended_rounds_and_uses_no_others() -> None:
    row = turns([50.0] * 6 + [900.0] * 4, [0.0] * 6 + [850.0] * 4)
    reference = turns([100.0] * 10, [0.0] * 10)
    found = uncontended_ratio(row, reference)
    assert found is not None and found.interval is not None and found.n == 6
    assert (found.value, found.interval.low, found.interval.high) == pytest.approx((0.5, 0.5, 0.5))
    fewer = turns([50.0] * 5 + [900.0] * 5, [0.0] * 5 + [850.0] * 5)
    assert uncontended_ratio(fewer, reference) is None


def test_uncontended_ratio_of_a_calm_machine_is_the_paired_ratio() -> None:
    rng = np.random.default_rng(1)
    row = turns([100 * math.exp(rng.normal(scale=0.1)) for _ in range(40)], [0.0] * 40)
    reference = turns([100 * math.exp(rng.normal(scale=0.1)) for _ in range(40)], [0.0] * 40)
    assert uncontended_ratio(row, reference) == stats.paired_ratio(row, reference)
    assert uncontended_ratio(row, reference, 0.99) == stats.paired_ratio(row, reference, 0.99)


def test_ratio_on_cpu_time_needs_one_value_a_round() -> None:
    row = Samples(wall_ns=((30, 10, 20),) * 6, cpu_ns=((60,),) * 6)
    reference = Samples(wall_ns=((10,),) * 6, cpu_ns=((40, 20, 30),) * 6)
    found = cpu_ratio(row, reference)
    assert found is not None and found.value == pytest.approx(2) and found.n == 6
    assert cpu_ratio(Samples(wall_ns=((10,),)), reference) is None


# --- a busy host


@dataclass(frozen=True)
class Host:
    """Rows of 80 and 100 ms; each of these is hit in a share of turns by a delay of 30 ms (median) to hundreds."""

    hit: float
    hit_reference: float
    truth: float = 0.8

    def pair(self, n: int, rng: np.random.Generator) -> tuple[Samples, Samples]:
        shared = np.exp(rng.normal(scale=0.05, size=n))
        return (
            self._row(100 * self.truth * shared, self.hit, rng),
            self._row(100 * shared, self.hit_reference, rng),
        )

    def _row(self, own_ms: NDArray[np.float64], hit: float, rng: np.random.Generator) -> Samples:
        own = own_ms * np.exp(rng.normal(scale=0.02, size=len(own_ms)))
        delays = np.where(rng.random(len(own)) < hit, 30 * np.exp(rng.normal(size=len(own))), 0.0)
        return turns((own + delays).tolist(), delays.tolist())


def coverage(intervals: list[Interval | None], truth: float) -> float:
    return float(np.mean([one is not None and one.low <= truth <= one.high for one in intervals]))


def width(intervals: list[Interval | None]) -> float:
    return float(np.median([math.log(one.high / one.low) for one in intervals if one is not None]))


def test_on_a_busy_host_uncontended_rounds_cover_the_truth_with_a_narrower_interval() -> None:
    host, rng = Host(0.4, 0.4), np.random.default_rng(2)
    pairs = [host.pair(40, rng) for _ in range(300)]
    over_all = [found.interval for row, other in pairs if (found := stats.paired_ratio(row, other))]
    calm = [found.interval for row, other in pairs if (found := uncontended_ratio(row, other))]
    assert len(calm) > 0.98 * len(pairs)
    assert 0.94 <= coverage(calm, host.truth) <= 1.0
    assert width(calm) < 0.5 * width(over_all)
    contended_rounds = np.mean([share(row, other) for row, other in pairs])
    assert contended_rounds == pytest.approx(1 - 0.6**2, abs=0.02)


def test_where_one_row_is_hit_more_often_only_all_rounds_are_biased() -> None:
    host, rng = Host(0.6, 0.1), np.random.default_rng(3)
    pairs = [host.pair(40, rng) for _ in range(300)]
    over_all = [found.interval for row, other in pairs if (found := stats.paired_ratio(row, other))]
    calm = [found.interval for row, other in pairs if (found := uncontended_ratio(row, other))]
    cpu = [found.interval for row, other in pairs if (found := cpu_ratio(row, other))]
    assert coverage(over_all, host.truth) < 0.2
    assert coverage(calm, host.truth) >= 0.94
    assert coverage(cpu, host.truth) >= 0.94


# --- odd samples


@given(samples, samples)
def test_no_samples_crash_and_the_rows_can_be_swapped(row: Samples, reference: Samples) -> None:
    found = uncontended(row, reference)
    assert found == uncontended(reference, row)
    ratio = uncontended_ratio(row, reference)
    cpu_ratio(row, reference)
    hit = share(row, reference)
    assert (found is None) == (hit is None)
    if found is not None and hit is not None:
        assert 0 <= hit <= 1 and (hit == 1) == (not found)
    if ratio is not None:
        assert found is not None and 6 <= ratio.n <= len(found)


@given(samples)
def test_row_is_never_different_from_itself(row: Samples) -> None:
    for ratio in (uncontended_ratio(row, row), cpu_ratio(row, row)):
        assert stats.compare(ratio) in (stats.Comparison.EQUIVALENT, stats.Comparison.UNDECIDED)

"""Intervals between process sets: against scipy, by simulation with processes that keep their luck, on odd values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as oracle

from keronyx.profiles import stats
from keronyx.profiles.process_sets import QUANTILES, between, widened
from keronyx.profiles.stats import Estimate, Interval

TRUTH = math.log(0.8)

logarithms = st.one_of(
    st.floats(-800, 800), st.sampled_from([0.0, math.log(15.6), math.log(31.2), math.inf, -math.inf, math.nan])
)


def measured(set_count: int, rounds: int, luck: float, rng: np.random.Generator) -> tuple[list[float], list[int]]:
    """Log-ratios of so many rounds in each process set. Noise within a process has sigma 0.02; `luck` is the sigma
    between processes, in units of the standard error of one process's median."""
    noise = 0.02
    standard_error = noise * math.sqrt(math.pi / 2 / rounds)
    effects = np.repeat(rng.normal(scale=luck * standard_error, size=set_count), rounds)
    values = TRUTH + effects + rng.normal(scale=noise, size=len(effects))
    return [float(value) for value in values], [1 + i // rounds for i in range(len(values))]


def within_of(values: list[float]) -> Estimate:
    found = stats.estimate(values)
    assert found is not None
    return found


def holds(interval: Interval | None, value: float) -> bool:
    return interval is not None and interval.low <= value <= interval.high


# --- against scipy


@pytest.mark.parametrize("level", [0.95, 0.98])
def test_quantiles_are_those_of_students_t(level: float) -> None:
    expected = [float(oracle.t.ppf((1 + level) / 2, degrees)) for degrees in range(2, 10)]
    assert QUANTILES[level] == pytest.approx(expected, abs=1e-4)
    assert all(ours >= theirs for ours, theirs in zip(QUANTILES[level], expected, strict=True))


@pytest.mark.parametrize("set_count", [3, 4, 6, 10])
@pytest.mark.parametrize("level", [0.95, 0.98])
def test_interval_is_scipys_of_the_sets_medians(set_count: int, level: float) -> None:
    values, sets = measured(set_count, 7, 3.0, np.random.default_rng(set_count))
    medians = np.median(np.reshape(values, (set_count, 7)), axis=1)
    expected = oracle.ttest_1samp(medians, 0).confidence_interval(level)
    found = between(values, sets, level)
    assert found is not None and found.level == level
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-5)


def test_more_than_ten_sets_use_the_quantile_of_ten() -> None:
    values = np.random.default_rng(0).normal(size=12)
    found = between([float(value) for value in values], list(range(12)))
    assert found is not None
    assert found.high - found.low == pytest.approx(2 * 2.2622 * np.std(values, ddof=1) / math.sqrt(12))


def test_level_between_the_tabulated_ones_is_rounded_up() -> None:
    values, sets = measured(3, 7, 3.0, np.random.default_rng(0))
    assert between(values, sets, 0.9) == between(values, sets, 0.95)
    assert between(values, sets, 0.96) == between(values, sets, 0.98)
    assert between(values, sets, 0.997) == between(values, sets, 0.998)
    assert between(values, sets, 0.9995) is None


def test_set_counts_once_however_many_rounds_it_has() -> None:
    assert between([0.1, 0.2, 0.3], [1, 2, 3]) == between([0.1] * 9 + [0.2] + [0.0, 0.3, 9.0], [1] * 9 + [2] + [3] * 3)


def test_rounds_that_are_not_finite_are_left_out() -> None:
    odd = [0.1, math.nan, 0.2, math.inf, 0.3, -math.inf]
    assert between(odd, [1, 1, 2, 2, 3, 3]) == between([0.1, 0.2, 0.3], [1, 2, 3])
    assert between([0.1, 0.2, math.nan], [1, 2, 3]) is None


def test_two_sets_give_no_interval() -> None:
    assert between([0.1, 0.2, 0.3, 0.4], [1, 1, 2, 2]) is None
    assert between([], []) is None


# --- widened


def test_wider_interval_is_kept() -> None:
    values, sets = [0.0] * 6 + [0.1] * 6 + [0.2] * 6, [1] * 6 + [2] * 6 + [3] * 6
    other = between(values, sets)
    assert other is not None
    narrow, wide = Estimate(0.1, Interval(0.09, 0.11, 0.97), 18), Estimate(0.1, Interval(-9.0, 9.0, 0.97), 18)
    assert widened(narrow, values, sets) == Estimate(0.1, other, 18)
    assert widened(wide, values, sets) == wide
    assert widened(narrow, values, sets, 0.98) == Estimate(0.1, between(values, sets, 0.98), 18)


def test_interval_is_extended_to_hold_the_estimate() -> None:
    values, sets = [0.0, 0.1, 0.2], [1, 2, 3]
    other = between(values, sets)
    assert other is not None and other.high < 0.5
    found = widened(Estimate(0.5, Interval(0.49, 0.51, 0.97), 18), values, sets)
    assert found.interval == Interval(other.low, 0.5, 0.95)
    found = widened(Estimate(-0.5, Interval(-0.51, -0.49, 0.97), 18), values, sets)
    assert found.interval == Interval(-0.5, other.high, 0.95)


def test_nothing_is_widened_without_an_interval_or_three_sets() -> None:
    bare, known = Estimate(0.1, None, 3), Estimate(0.1, Interval(0.0, 0.2, 0.97), 12)
    assert widened(bare, [0.1, 5.0, 9.0], [1, 2, 3]) == bare
    assert widened(known, [0.1, 5.0] * 6, [1, 2] * 6) == known


# --- processes that keep their luck


@pytest.mark.parametrize("set_count", [3, 5])
def test_widened_interval_covers_the_truth_where_the_one_within_processes_does_not(set_count: int) -> None:
    rng, trials = np.random.default_rng(set_count), 500
    alone, wide = 0, 0
    for _ in range(trials):
        values, sets = measured(set_count, 20, 3.0, rng)
        within = within_of(values)
        alone += holds(within.interval, TRUTH)
        wide += holds(widened(within, values, sets).interval, TRUTH)
    assert alone / trials < 0.80
    assert wide / trials >= 0.93


def test_equal_processes_are_still_covered() -> None:
    rng = np.random.default_rng(8)
    covered = 0
    for _ in range(300):
        values, sets = measured(3, 20, 0.0, rng)
        covered += holds(widened(within_of(values), values, sets).interval, TRUTH)
    assert covered / 300 >= 0.95


# --- odd values


@given(st.lists(logarithms, max_size=40), st.lists(st.integers(-2, 5), max_size=40), st.sampled_from([0.5, 0.95, 0.98]))
def test_no_values_crash(values: list[float], sets: list[int], level: float) -> None:
    found = between(values, sets, level)
    if found is not None:
        assert found.low <= found.high and found.level >= level
        assert math.isfinite(found.low) and math.isfinite(found.high)


@given(st.lists(st.floats(-50, 50), min_size=6, max_size=40), st.data())
def test_widened_holds_its_value_and_is_never_narrower(values: list[float], data: st.DataObject) -> None:
    sets = data.draw(st.lists(st.integers(1, 4), min_size=len(values), max_size=len(values)))
    within = within_of(values)
    found = widened(within, values, sets)
    assert within.interval is not None and found.interval is not None
    assert holds(found.interval, within.value)
    assert found.interval.high - found.interval.low >= within.interval.high - within.interval.low
    assert (found.value, found.n) == (within.value, within.n)

"""Statistics against scipy, by property, and by simulation with a known truth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as oracle

from keronyx.profiles import stats
from keronyx.profiles.stats import Comparison, Estimate, Interval
from keronyx.types import Cold, Samples

finite = st.floats(-1e9, 1e9)
nanoseconds = st.integers(0, 2**63 - 1)
rounds = st.lists(st.lists(nanoseconds, max_size=3).map(tuple), max_size=40).map(tuple)
samples = st.builds(Samples, wall_ns=rounds, cpu_ns=rounds)


def one_call_rounds(values: list[float]) -> Samples:
    return Samples(wall_ns=tuple((round(value),) for value in values))


# --- medians and percentiles


@given(st.lists(finite, min_size=1, max_size=120), st.sampled_from([0.9, 0.95, 0.98, 0.99]))
def test_interval_of_the_median_is_scipys(values: list[float], level: float) -> None:
    expected = oracle.quantile_test(values, q=0, p=0.5).confidence_interval(level)
    found = stats.median_interval(values, level)
    if found is None:
        assert math.isnan(expected.low) or math.isnan(expected.high)
    else:
        assert (found.low, found.high) == (expected.low, expected.high)
        assert level <= found.level < 1


@pytest.mark.parametrize("n", [999, 1000, 1001, 5000])
def test_interval_of_many_samples_is_scipys(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    expected = oracle.quantile_test(values, q=0, p=0.5).confidence_interval(0.95)
    found = stats.median_interval(values.tolist())
    assert found is not None and (found.low, found.high) == (expected.low, expected.high)


def test_95_percent_interval_begins_at_six_samples() -> None:
    assert stats.median_interval([3.0, 1.0, 2.0, 5.0, 4.0]) is None
    assert stats.median_interval([3.0, 1.0, 2.0, 5.0, 4.0, 6.0]) == Interval(1.0, 6.0, 1 - 2 / 64)


NOISE = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "lognormal": lambda rng, shape: rng.lognormal(sigma=1.0, size=shape) - 1.0,
    "exponential": lambda rng, shape: rng.exponential(size=shape) - math.log(2),
    "cauchy": lambda rng, shape: rng.standard_cauchy(size=shape),
    "two modes": lambda rng, shape: np.where(rng.random(shape) < 0.5, -1.0, 1.0) + rng.normal(scale=0.3, size=shape),
}


@pytest.mark.parametrize("n", [10, 20, 40])
@pytest.mark.parametrize("noise", NOISE)
def test_interval_covers_the_true_median_as_often_as_it_says(noise: str, n: int) -> None:
    trials = 1000
    draws = NOISE[noise](np.random.default_rng(n), (trials, n))
    found = [stats.median_interval(values.tolist()) for values in draws]
    covered = np.mean([interval.low <= 0 <= interval.high for interval in found])
    level = found[0].level
    assert level >= 0.95
    assert abs(covered - level) < 4 * math.sqrt(level * (1 - level) / trials)


@pytest.mark.parametrize(("q", "least"), [(90, 29), (95, 59), (99, 299)])
def test_percentile_is_refused_below_its_least_number_of_samples(q: float, least: int) -> None:
    assert stats.percentile(list(range(least - 1)), q) is None
    assert stats.percentile(list(range(least)), q) == pytest.approx(np.percentile(range(least), q))


def test_round_counts_by_the_median_of_its_calls_and_an_empty_one_by_nothing() -> None:
    assert stats.round_medians([[1, 100, 3], [], [4, 6]]) == (3.0, None, 5.0)


def test_cpu_per_wall_is_the_cores_kept_busy() -> None:
    assert stats.cpu_per_wall(Samples(((100, 100), (50,), ()), ((190, 210), (100,), ()))) == 2.0
    assert stats.cpu_per_wall(Samples(((0,),), ((5,),))) is None
    assert stats.cpu_per_wall(Samples(((100,),), ())) is None


# --- pairs


def test_ratio_is_paired_within_rounds_so_shared_noise_cancels() -> None:
    shared = np.random.default_rng(0).lognormal(sigma=0.5, size=20)
    found = stats.paired_ratio(one_call_rounds(5e8 * shared), one_call_rounds(1e9 * shared))
    assert found is not None and found.interval is not None and found.n == 20
    assert found.value == pytest.approx(0.5, rel=1e-6)
    assert found.interval.high / found.interval.low == pytest.approx(1, rel=1e-6)


def test_ratio_uses_only_rounds_that_both_have() -> None:
    row = Samples(wall_ns=((10,), (), (30,), (0,), (50,)))
    reference = Samples(wall_ns=((20,), (1,), (60,), (5,)))
    found = stats.paired_ratio(row, reference)
    assert found == Estimate(pytest.approx(0.5), None, 2)


def test_ratio_against_scipy() -> None:
    rng = np.random.default_rng(5)
    row, reference = rng.integers(1e6, 2e6, 30), rng.integers(1e6, 2e6, 30)
    logs = np.log(row / reference)
    expected = oracle.quantile_test(logs, q=0, p=0.5).confidence_interval(stats.LOOK_LEVEL)
    found = stats.paired_ratio(one_call_rounds(row.tolist()), one_call_rounds(reference.tolist()))
    assert found is not None and found.interval is not None
    assert found.value == pytest.approx(math.exp(np.median(logs)))
    assert (found.interval.low, found.interval.high) == pytest.approx((math.exp(expected.low), math.exp(expected.high)))


def test_speed_up_is_the_inverse_ratio_with_its_ends_swapped() -> None:
    assert Estimate(0.5, Interval(0.4, 0.8, 0.95), 9).inverse() == Estimate(2.0, Interval(1.25, 2.5, 0.95), 9)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.5, 0.97, Comparison.FASTER),
        (1.03, 2.0, Comparison.SLOWER),
        (0.985, 1.015, Comparison.EQUIVALENT),
        (1.0, 1.0, Comparison.EQUIVALENT),
        (0.97, 0.99, Comparison.UNDECIDED),
        (0.9, 1.1, Comparison.UNDECIDED),
    ],
)
def test_verdict_needs_the_whole_interval(low: float, high: float, verdict: Comparison) -> None:
    ratio = Estimate(math.sqrt(low * high), Interval(low, high, 0.95), 20)
    assert stats.compare(ratio) is verdict
    mirrored = {Comparison.FASTER: Comparison.SLOWER, Comparison.SLOWER: Comparison.FASTER}
    assert stats.compare(ratio.inverse()) is mirrored.get(verdict, verdict)


@pytest.mark.parametrize("ratio", [None, Estimate(0.1, None, 5)])
def test_no_verdict_without_an_interval(ratio: Estimate | None) -> None:
    assert stats.compare(ratio) is Comparison.UNDECIDED
    assert stats.rounds_needed(ratio) is None


def test_same_latencies_are_rarely_called_different() -> None:
    rng = np.random.default_rng(11)
    false = 0
    for _ in range(500):
        draws = rng.lognormal(mean=math.log(1e8), sigma=0.02, size=(2, 20))
        verdict = stats.compare(stats.paired_ratio(one_call_rounds(draws[0]), one_call_rounds(draws[1])))
        false += verdict in (Comparison.FASTER, Comparison.SLOWER)
    assert false <= 5


def test_margin_is_two_percent_or_what_the_control_shows() -> None:
    assert stats.equivalence_margin(None) == 0.02
    assert stats.equivalence_margin(Estimate(1.001, Interval(0.995, 1.005, 0.95), 20)) == 0.02
    assert stats.equivalence_margin(Estimate(1.05, None, 3)) == pytest.approx(0.05)
    wide = Estimate(1.0, Interval(1 / 1.1, 1.1, 0.95), 20)
    assert stats.equivalence_margin(wide) == pytest.approx(0.1)


def test_rounds_needed_grow_with_the_square_of_the_width() -> None:
    def undecided(half_width: float) -> Estimate:
        return Estimate(1.0, Interval(math.exp(-half_width), math.exp(half_width), 0.95), 20)

    edge = math.log1p(0.02)
    assert stats.rounds_needed(undecided(2 * edge)) == pytest.approx(60, abs=1)
    assert stats.rounds_needed(undecided(3 * edge)) == pytest.approx(160, abs=1)
    assert stats.rounds_needed(undecided(0.9 * edge)) == 0


def test_rounds_needed_says_nothing_on_the_edge_of_the_margin() -> None:
    assert stats.rounds_needed(Estimate(1.02, Interval(1.0, 1.04, 0.95), 20)) is None


def test_rounds_needed_are_enough_on_average() -> None:
    rng = np.random.default_rng(2)

    def measured(n: int) -> Estimate:
        shared = rng.lognormal(mean=math.log(1e8), sigma=0.1, size=n)
        found = stats.paired_ratio(
            one_call_rounds(shared * rng.lognormal(mean=-0.06, sigma=0.1, size=n)), one_call_rounds(shared)
        )
        assert found is not None
        return found

    undecided = [found for found in (measured(20) for _ in range(200)) if stats.rounds_needed(found)]
    typical = round(np.median([stats.rounds_needed(found) for found in undecided]))
    decided = [stats.compare(measured(20 + 2 * typical)) is not Comparison.UNDECIDED for _ in range(200)]
    assert len(undecided) > 100
    assert np.mean(decided) > 0.5


def test_break_even_is_the_extra_start_over_the_gain_per_call() -> None:
    assert stats.break_even_calls(14.0, 2.0, 180.0, 190.0) == 1200
    assert stats.break_even_calls(1.0, 2.0, 180.0, 190.0) == 0
    assert stats.break_even_calls(14.0, 2.0, 190.0, 190.0) is None
    assert stats.break_even_calls(14.0, 2.0, 200.0, 190.0) is None
    assert stats.break_even_calls(math.nan, 2.0, 180.0, 190.0) is None
    assert stats.break_even_calls(14.0, 2.0, 1.0, math.nextafter(1.0, 2.0) + 1e-300) is not None


def test_cold_total_is_the_sum_of_its_phases() -> None:
    assert stats.cold_total_s(Cold(1, 2, 4, 8, 16, (99.0,), 0)) == 31


# --- odd samples


@given(samples, samples)
def test_no_samples_crash_or_give_a_verdict_without_six_pairs(row: Samples, reference: Samples) -> None:
    ratio = stats.paired_ratio(row, reference)
    margin = stats.equivalence_margin(ratio)
    assert margin >= stats.MARGIN
    verdict = stats.compare(ratio, margin)
    stats.rounds_needed(ratio)
    stats.cpu_per_wall(row)
    stats.percentile(stats.calls(row.wall_ns), 95)
    if ratio is None or ratio.n < 6:
        assert verdict is Comparison.UNDECIDED


@given(samples)
def test_row_is_never_different_from_itself(row: Samples) -> None:
    assert stats.compare(stats.paired_ratio(row, row)) in (Comparison.EQUIVALENT, Comparison.UNDECIDED)


def test_nothing_is_said_of_nothing() -> None:
    assert stats.median([]) is None
    assert stats.estimate([]) is None
    assert stats.median_interval([]) is None
    assert stats.percentile([], 95) is None
    assert stats.paired_ratio(Samples(), Samples()) is None

"""Trends over rounds: against scipy, by simulation with a known drift, and on odd values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as oracle

from keronyx.profiles.drift import Drift, drift, noticeable


def run(n: int, change: float, sigma: float, rng: np.random.Generator) -> list[float]:
    """Round medians that change by so much from the first to the last, with lognormal noise, about 10 ms."""
    trend = np.linspace(0, math.log1p(change), n)
    return [float(value) for value in 1e7 * np.exp(trend + rng.normal(scale=sigma, size=n))]


def found_drift(values: list[float]) -> Drift:
    found = drift(values)
    assert found is not None
    return found


# --- against scipy


@pytest.mark.parametrize("n", [10, 11, 40, 400])
@pytest.mark.parametrize("ticks", [False, True])
def test_test_and_slope_are_scipys(n: int, ticks: bool) -> None:
    rng = np.random.default_rng(n)
    for change in (-0.3, 0.0, 0.1):
        values = run(n, change, 0.2, rng)
        if ticks:
            values = [15.6e6 * math.ceil(value / 2e6) for value in values]
        found = found_drift(values)
        kendall = oracle.kendalltau(range(n), values, method="asymptotic")
        slope = oracle.theilslopes(np.log(values), range(n)).slope
        assert (found.tau, found.p_value) == pytest.approx((kendall.statistic, kendall.pvalue))
        assert found.change == pytest.approx(math.expm1(slope * (n - 1)), abs=1e-12)
        assert found.n == n


@given(st.lists(st.integers(1, 6), min_size=10, max_size=60))
def test_test_is_scipys_with_many_ties(values: list[int]) -> None:
    found = found_drift([float(value) for value in values])
    kendall = oracle.kendalltau(range(len(values)), values, method="asymptotic")
    if len(set(values)) == 1:
        assert (found.tau, found.p_value, found.change) == (0.0, 1.0, 0.0)
    else:
        assert (found.tau, found.p_value) == pytest.approx((kendall.statistic, kendall.pvalue))


# --- known drifts


@pytest.mark.parametrize("change", [-0.2, 0.05, 0.3])
def test_change_is_that_from_the_first_round_to_the_last(change: float) -> None:
    values = run(40, change, 0.0, np.random.default_rng(0))
    found = found_drift(values)
    assert found.change == pytest.approx(change) == pytest.approx(values[-1] / values[0] - 1)
    assert found.tau == pytest.approx(math.copysign(1, change))


def test_drift_of_ten_percent_is_noticed_and_noise_is_not() -> None:
    rng = np.random.default_rng(4)
    seen = [noticeable(drift(run(40, 0.10, 0.03, rng))) for _ in range(300)]
    false = [noticeable(drift(run(40, 0.0, 0.15, rng))) for _ in range(1000)]
    assert np.mean(seen) > 0.9
    assert np.mean(false) < 0.02


def test_p_value_is_below_its_limit_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    p_values = np.array([found_drift(run(20, 0.0, 0.1, rng)).p_value for _ in range(2000)])
    assert np.mean(p_values < 0.05) == pytest.approx(0.05, abs=0.015)


def test_one_wild_round_is_no_drift() -> None:
    values = run(40, 0.0, 0.01, np.random.default_rng(6))
    values[-1] *= 50
    assert not noticeable(drift(values))


def test_certain_but_small_drift_is_not_noticeable() -> None:
    found = found_drift(run(200, 0.04, 0.001, np.random.default_rng(7)))
    assert found.p_value < 1e-6 and not noticeable(found)
    assert noticeable(drift(run(200, 0.06, 0.001, np.random.default_rng(7))))
    assert noticeable(drift(run(200, -0.06, 0.001, np.random.default_rng(7))))


def test_large_drift_that_may_be_chance_is_not_noticeable() -> None:
    assert not noticeable(Drift(0.3, 0.02, 0.5, 20))
    assert noticeable(Drift(0.5, 0.009, 0.5, 20))
    assert not noticeable(None)


def test_thousands_of_rounds_are_thinned_and_keep_their_drift() -> None:
    found = found_drift(run(5000, 0.2, 0.05, np.random.default_rng(8)))
    assert found.change == pytest.approx(0.2, abs=0.02)
    assert found.n == 5000 and found.p_value < 1e-6
    values = run(4000, 0.2, 0.05, np.random.default_rng(9))
    assert (found_drift(values).tau, found_drift(values).p_value) == (
        found_drift(values[::2]).tau,
        found_drift(values[::2]).p_value,
    )


# --- odd values


def test_impossible_values_say_nothing_and_absurd_ones_something_finite() -> None:
    assert drift([]) is None
    assert drift([1.0] * 9) is None
    assert drift([1.0] * 10) == Drift(0.0, 1.0, 0.0, 10)
    assert found_drift([10.0**exponent for exponent in range(-300, 300, 20)]).change > 1e300
    for odd in (0.0, -1.0, math.nan, math.inf):
        assert drift([1.0] * 10 + [odd]) is None


@given(st.lists(st.one_of(st.floats(0, exclude_min=True), st.sampled_from([0.0, 15.6, 31.2])), max_size=40))
def test_no_values_crash(values: list[float]) -> None:
    found = drift(values)
    noticeable(found)
    if found is not None:
        assert len(values) >= 10 and -1 <= found.change < math.inf
        assert 0 <= found.p_value <= 1 and abs(found.tau) <= 1 + 1e-12


@given(st.lists(st.floats(0.1, 10), min_size=10, max_size=40))
def test_reversed_run_drifts_the_other_way(values: list[float]) -> None:
    found, mirrored = found_drift(values), found_drift(values[::-1])
    assert mirrored.tau == pytest.approx(-found.tau)
    assert math.log1p(mirrored.change) == pytest.approx(-math.log1p(found.change), abs=1e-9)

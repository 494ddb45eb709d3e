"""Tukey's labels against a plain restatement with scipy's quartiles."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as oracle

from keronyx.profiles.outliers import Outliers, describe, label


def restated(values: list[float]) -> Outliers:
    """One value after the other, as criterion.rs labels them."""
    first, third = np.percentile(values, 25), np.percentile(values, 75)
    spread = oracle.iqr(values)
    kinds: Counter[str] = Counter()
    for value in values:
        if value > third + 3 * spread:
            kinds["high severe"] += 1
        elif value > third + 1.5 * spread:
            kinds["high mild"] += 1
        elif value < first - 3 * spread:
            kinds["low severe"] += 1
        elif value < first - 1.5 * spread:
            kinds["low mild"] += 1
    return Outliers(kinds["low severe"], kinds["low mild"], kinds["high mild"], kinds["high severe"], len(values))


@pytest.mark.parametrize("n", [4, 5, 6, 7, 50, 201])
def test_labels_are_those_of_the_definition(n: int) -> None:
    rng = np.random.default_rng(n)
    found = [values for values in rng.standard_cauchy(size=(50, n)).tolist() if label(values) == restated(values)]
    assert len(found) == 50


def test_each_fence_counts_its_own() -> None:
    middle = [10.0, 11.0, 12.0, 13.0, 14.0] * 40  # quartiles 11 and 13
    assert label([*middle, 8.1, 15.9]) == Outliers(0, 0, 0, 0, 202)
    assert label([*middle, 7.9, 16.1, 16.2, 18.9, 4.9, 19.1, 20.0, 90.0]) == Outliers(1, 1, 3, 3, 208)


def test_normal_noise_has_seven_outliers_in_a_thousand() -> None:
    found = label(np.random.default_rng(1).normal(size=100_000).tolist())
    beyond = found.low_severe + found.low_mild + found.high_mild + found.high_severe
    assert beyond / found.n == pytest.approx(0.007, abs=0.001)


def test_nothing_is_labelled_without_a_scale() -> None:
    assert label([]) == Outliers(0, 0, 0, 0, 0)
    assert label([1.0, 1.1, 900.0]) == Outliers(0, 0, 0, 0, 3)
    assert label([5.0] * 20) == Outliers(0, 0, 0, 0, 20)
    assert label([15.6] * 16 + [31.2] * 4) == Outliers(0, 0, 0, 0, 20)


def test_missing_values_are_left_out() -> None:
    values = [10.0, 11.0, 12.0, 13.0, 90.0]
    assert label([None, *values, math.nan, math.inf]) == label(values) == Outliers(0, 0, 0, 1, 5)


def test_description_names_what_there_is() -> None:
    assert describe(Outliers(0, 0, 2, 1, 200)) == "2 of 200 calls high mild, 1 high severe"
    assert describe(Outliers(1, 3, 0, 0, 30)) == "1 of 30 calls low severe, 3 low mild"
    assert describe(Outliers(0, 0, 0, 0, 200)) == ""


@given(st.lists(st.one_of(st.none(), st.floats(), st.sampled_from([0.0, 15.6, 31.2]), st.integers(0, 2**63))))
def test_no_values_crash_and_at_most_half_are_outliers(values: list[float | None]) -> None:
    found = label(values)
    beyond = found.low_severe + found.low_mild + found.high_mild + found.high_severe
    assert 0 <= 2 * beyond <= found.n <= len(values)
    assert bool(describe(found)) == (beyond > 0)

"""Items per second and latencies under concurrent callers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keronyx.profiles import stats, throughput
from keronyx.types import Row, Samples, Status

MS = 1_000_000


def row(wall=(), batch=1, **samples):
    return Row("r", "ort", "cpu", "fp32", batch, Status.OK, samples=Samples(wall_ns=tuple(wall), **samples))


def test_with_one_caller_it_is_the_batch_by_the_latency():
    found = throughput.items_per_second(row([(20 * MS,)] * 10, batch=8))
    assert found.value == pytest.approx(400) and found.n == 10


def test_with_several_callers_it_is_what_all_are_served_together():
    """Latencies at a paced rate say nothing of it."""
    one = row([(90 * MS,)] * 10, batch=2, window_ns=(100 * MS,) * 10, window_calls=(10,) * 10)
    assert throughput.items_per_second(one).value == pytest.approx(200)


def test_rounds_without_a_window_or_a_time_are_left_out():
    one = row([(5,)] * 3, window_ns=(0, MS, 0), window_calls=(0, 1, 3))
    assert throughput.items_per_second(one).n == 1
    assert throughput.items_per_second(row([(0,), ()])) is None and throughput.items_per_second(row()) is None


def test_gain_is_relative_to_the_smaller_setting():
    small, large = row([(10 * MS,)] * 6), row([(15 * MS,)] * 6, batch=2)
    assert throughput.gain(large, small) == pytest.approx(1 / 3)
    assert throughput.gain(small, row()) is None and throughput.gain(row(), small) is None


@pytest.mark.parametrize(("q", "least"), [(90, 29), (95, 59), (99, 299)])
def test_percentiles_come_from_enough_requests_alone(q, least):
    values = np.random.default_rng(0).lognormal(17, 0.5, least).astype(int)
    enough = row([tuple(map(int, values))], window_ns=(MS,), window_calls=(9999,))
    found = throughput.latency_percentile(enough, q)
    ranked = sorted(values)[int(q / 100 * least + 0.5) - 1]  # HdrHistogram's definition: the nearest rank
    assert found == pytest.approx(float(ranked) / 1e6, rel=2e-3)
    assert found == pytest.approx(float(np.percentile(values, q)) / 1e6, rel=0.2)
    fewer = dataclasses.replace(enough, samples=dataclasses.replace(enough.samples, wall_ns=(tuple(values[1:]),)))
    assert throughput.latency_percentile(fewer, q) is None


@pytest.mark.parametrize("typical_ns", [20_000, MS, 1000 * MS])
@pytest.mark.parametrize("q", [50, 90, 95, 99])
def test_percentiles_of_many_requests_are_numpys_to_three_digits(q, typical_ns):
    values = np.random.default_rng(q).lognormal(np.log(typical_ns), 0.3, 20_000).astype(int)
    found = throughput.latency_percentile(row([tuple(map(int, values))]), q)
    assert found == pytest.approx(float(np.percentile(values, q)) / 1e6, rel=1.5e-3)


def test_a_latency_beyond_the_histograms_range_counts_as_its_end():
    hour_ms = 3_600_000
    assert throughput.latency_percentile(row([(10**18,) * 30]), 90) == pytest.approx(hour_ms, rel=1e-3)
    assert throughput.histogram(Samples(wall_ns=((10**18,) * 30,))).get_total_count() == 30


@given(st.lists(st.integers(0, 2**62), max_size=80))
def test_odd_values_never_raise(values):
    one = row([tuple(values)])
    throughput.items_per_second(one)
    found = throughput.latency_percentile(one, 90)
    assert (found is not None) is stats.claimable(len(values), 90)

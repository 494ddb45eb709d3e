"""The steady state of a fresh session: real warm-up shapes, and noisy machines by simulation."""

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keronyx.profiles.warmup import LEAST_CALLS, MOST_CALLS, finished, steady_after

Shape = Callable[[int], float]


def ort(i: int) -> float:
    """ONNX Runtime's CPU provider, as multiples of the steady call (measured)."""
    return (5.3, 1.65, 1.06)[i] if i < 3 else 1.0


def constant(_i: int) -> float:
    return 1.0


def one_slow_first(i: int) -> float:
    return 3.0 if i == 0 else 1.0


def warm_up(
    shape: Shape, rng: np.random.Generator, sigma: float, spikes: float = 0.0, call_ms: float = 10
) -> list[float]:
    """Calls until warming up is finished, with lognormal noise and a share of calls that take three times as long."""
    taken: list[float] = []
    while not finished(taken):
        spike = 3.0 if rng.random() < spikes else 1.0
        taken.append(call_ms * shape(len(taken)) * spike * math.exp(rng.normal(scale=sigma)))
    return taken


def outcomes(
    shape: Shape, sigma: float, spikes: float = 0.0, call_ms: float = 10, trials: int = 400
) -> Counter[int | None]:
    rng = np.random.default_rng(7)
    return Counter(steady_after(warm_up(shape, rng, sigma, spikes, call_ms)) for _ in range(trials))


# --- shapes


@pytest.mark.parametrize("call_ms", [0.05, 10, 600])
def test_onnx_runtime_is_steady_after_two_or_three_calls(call_ms: float) -> None:
    assert set(outcomes(ort, sigma=0.01, call_ms=call_ms)) <= {2, 3}


@pytest.mark.parametrize("call_ms", [0.05, 10, 600, 2000])
def test_constant_calls_are_steady_from_the_start(call_ms: float) -> None:
    assert set(outcomes(constant, sigma=0.01, call_ms=call_ms)) <= {0, 1}


@pytest.mark.parametrize("call_ms", [10, 2000])
def test_only_a_slow_first_call_is_steady_after_one(call_ms: float) -> None:
    assert set(outcomes(one_slow_first, sigma=0.01, call_ms=call_ms)) == {1}


def test_calls_that_grow_without_end_are_never_steady() -> None:
    assert outcomes(lambda i: 1.05**i, sigma=0.0) == {None: 400}
    assert outcomes(lambda i: 1.05**i, sigma=0.01)[None] >= 0.98 * 400


def test_calls_that_shrink_without_end_are_never_steady() -> None:
    assert outcomes(lambda i: 0.95**i, sigma=0.0) == {None: 400}
    assert outcomes(lambda i: 0.95**i, sigma=0.01)[None] >= 0.98 * 400


def test_slow_decay_is_waited_for() -> None:
    """Each call has 22 % less of the excess over the steady state than the one before, which is 400 % at first."""

    def excess(i: int) -> float:
        return 4 * math.exp(-i / 4)

    found = outcomes(lambda i: 1 + excess(i), sigma=0.02)
    assert None not in found
    assert max(excess(after) for after in found if after is not None) < 0.45
    assert sum(n for after, n in found.items() if after is not None and excess(after) < 0.3) > 0.9 * 400


def test_calls_that_alternate_between_two_durations_are_steady() -> None:
    assert steady_after([1.0, 2.0, 1.0, 2.0, 1.0]) == 0
    assert steady_after([2.0, 1.0, 2.0, 1.0, 2.0, 1.0]) == 1


def test_lasting_slow_down_is_not_steady_and_a_small_one_is() -> None:
    assert steady_after([10.0] * 5 + [14.0] * 4) is None
    assert steady_after([10.0] * 5 + [12.0] * 4) == 0


def test_one_spike_later_changes_nothing() -> None:
    assert steady_after([50.0, 10.0, 10.0, 30.0, 10.0, 10.0]) == 1
    assert steady_after([50.0, 10.0, 10.0, 10.0, 10.0, 30.0]) == 1


def test_steady_state_needs_a_call_before_the_last_ones() -> None:
    assert steady_after([10.0] * 4) is None
    assert steady_after([10.0] * 5) == 0
    assert steady_after([600.0] * 2) is None
    assert steady_after([600.0] * 3) == 0


# --- noise


@pytest.mark.parametrize("shape", [ort, constant, one_slow_first])
def test_noisy_machine_is_rarely_without_a_steady_state(shape: Shape) -> None:
    trials = 2000
    assert outcomes(shape, sigma=0.15, spikes=0.03, trials=trials)[None] <= 0.01 * trials


@pytest.mark.parametrize(("shape", "before"), [(ort, 3), (constant, 0), (one_slow_first, 1)])
def test_noisy_machine_miscounts_by_few_calls(shape: Shape, before: int) -> None:
    found = outcomes(shape, sigma=0.15, spikes=0.03)
    near = sum(n for after, n in found.items() if after is not None and abs(after - before) <= 2)
    assert near >= 0.95 * 400


def test_slow_model_is_steady_within_four_calls_of_a_calm_machine() -> None:
    found = outcomes(one_slow_first, sigma=0.02, call_ms=2000)
    assert found[1] >= 0.97 * 400


# --- the limit


def test_warm_up_ends_at_32_quick_calls() -> None:
    growing = [1.05**i for i in range(MOST_CALLS)]
    assert not finished(growing[:-1])
    assert finished(growing)


def test_warm_up_of_a_slow_model_ends_after_five_seconds_but_not_before_four_calls() -> None:
    assert not finished([9000.0, 6000.0, 4000.0])
    assert finished([9000.0, 6000.0, 4000.0, 2000.0])
    growing = [600 * 1.12**i for i in range(9)]
    assert [finished(growing[:n]) for n in range(1, 9)] == [False] * 5 + [True] * 3


def test_long_compilation_in_the_first_call_does_not_end_the_warm_up() -> None:
    assert not finished([60_000.0, 16.5, 10.6, 10.0])
    assert steady_after([60_000.0, 16.5, 10.6, 10.0, 10.0, 10.0, 10.0]) == 2


def test_steady_session_is_finished() -> None:
    assert finished([10.0] * 5)
    assert not finished([10.0] * 4)
    assert not finished([])


# --- odd calls


@given(st.lists(st.one_of(st.floats(0, 1e12), st.sampled_from([0.0, 15.6, 31.2]), st.floats()), max_size=40))
def test_no_calls_crash_and_an_answer_names_a_call_before_the_last_ones(calls: list[float]) -> None:
    found = steady_after(calls)
    assert found is None or 0 <= found < len(calls) - 2
    assert finished(calls) or len(calls) < MOST_CALLS


@given(st.floats(1e-3, 1e5), st.integers(5, 40))
def test_identical_calls_are_steady_from_the_start(call: float, n: int) -> None:
    assert steady_after([call] * n) == 0


def test_clock_of_15_milliseconds_has_a_steady_state() -> None:
    rng = np.random.default_rng(3)
    ends = []
    for _ in range(200):
        ticks = [15.6 * round(float(x)) for x in 2.0 + rng.normal(scale=0.3, size=MOST_CALLS)]
        ends.append(any(steady_after(ticks[:n]) is not None for n in range(LEAST_CALLS, MOST_CALLS)))
    assert np.mean(ends) > 0.97

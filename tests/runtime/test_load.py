"""Concurrent callers: what counts as throughput, who waits for whom, and that every answer is its own input's."""

from __future__ import annotations

import heapq
import threading
import time
from collections import Counter
from contextlib import nullcontext
from statistics import median

import numpy as np
import pytest

from keronyx.export import folder
from keronyx.runtime import RUNTIMES
from keronyx.runtime.load import (
    LOAD,
    PATIENCE,
    Callers,
    Window,
    enough,
    latencies,
    requests,
    saturated_window,
    schedule,
    take_concurrent_turn,
)
from keronyx.runtime.turn import MAX_CALLS
from keronyx.types import SessionRequest

MS = 1_000_000
INPUTS = [[np.full(1, i)] for i in range(1000)]


class SharedClock:
    """A clock that many threads read and that sleeping and serving move, nanoseconds."""

    def __init__(self):
        self.now = 0
        self.lock = threading.RLock()

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        with self.lock:
            self.now += round(seconds * 1e9)


class OneLane:
    """A session that serves one call at a time; `service(number)` nanoseconds for its so many-th call of a part.

    `served` has the input and the end of each call since the witness last looked, which it does between the parts.
    """

    def __init__(self, service=lambda number: MS):
        self.clock = SharedClock()
        self.service = service
        self.served = []
        self.threads = Counter()
        self.witnessed = []

    def run(self, inputs):
        with self.clock.lock:
            self.threads[threading.get_ident()] += 1
            self.clock.now += self.service(len(self.served))
            self.served.append((int(inputs[0][0]), self.clock.now))
        return [inputs[0] + 0.5]

    def witness(self, number, outputs):
        self.witnessed.append((number, float(outputs[0][0])))
        self.served = []


def turn(session, callers, start=0, turn_ns=20 * MS, cpu_clock=lambda: 0):
    with Callers(callers) if isinstance(callers, int) else callers as threads:
        clock = session.clock
        return take_concurrent_turn(
            session, INPUTS, start, turn_ns, threads, clock, cpu_clock, clock.sleep, session.witness
        )


# --- throughput


def closed_system(callers, lanes, draw, deadline, cold=1.0):
    """When each caller's calls end where so many are served at a time, first come first served; callers leave as the
    real ones do. The first call of each takes `cold` times as long."""
    ends, waiting, busy = [[] for _ in range(callers)], list(range(callers)), []
    now, over = 0, False
    while waiting or busy:
        while waiting and len(busy) < lanes:
            caller = waiting.pop(0)
            heapq.heappush(busy, (now + int(draw() * (1 if ends[caller] else cold)), caller))
        now, caller = heapq.heappop(busy)
        ends[caller].append(now)
        over = over or enough(ends[caller], ends, deadline)
        if not over:
            waiting.append(caller)
    return ends


@pytest.mark.parametrize("calls", [0, 5, 50])
@pytest.mark.parametrize(("callers", "lanes"), [(1, 1), (2, 1), (4, 1), (4, 2), (4, 4), (8, 3)])
def test_throughput_is_exact_where_calls_are_regular(callers, lanes, calls):
    window = saturated_window(closed_system(callers, lanes, lambda: MS, calls * MS, cold=3))
    assert window.calls / window.ns * MS == pytest.approx(lanes)


@pytest.mark.parametrize("calls", [0, 5, 50])
@pytest.mark.parametrize(("callers", "lanes"), [(2, 1), (4, 1), (4, 2), (4, 4)])
def test_throughput_is_unbiased_where_calls_vary(callers, lanes, calls):
    random = np.random.default_rng(callers + lanes + calls)
    found = []
    for _ in range(300):
        window = saturated_window(closed_system(callers, lanes, lambda: random.normal(MS, MS / 10), calls * MS, 1.5))
        found.append(window.calls / window.ns * MS / lanes)
    assert median(found) == pytest.approx(1, abs=0.02)


def test_a_caller_that_was_kept_out_does_not_hide_what_the_other_did():
    ends = [[k * MS for k in range(1, PATIENCE + 1)], [(PATIENCE + 1) * MS]]
    assert enough(ends[0], [ends[0], []], 0) and not enough(ends[0][:-1], [ends[0][:-1], []], 0)
    assert saturated_window(ends) == Window((PATIENCE - 1) * MS, PATIENCE - 1)


def test_a_clock_that_stands_still_gives_no_throughput():
    assert saturated_window([[5, 5, 5], [5, 5]]) == Window(0, 0)


def test_the_turn_carries_the_throughput_of_its_saturated_part():
    taken = turn(OneLane(), 1)
    assert taken.window_ns == taken.window_calls * MS and taken.window_calls > 10


@pytest.mark.parametrize(("callers", "lanes"), [(1, 1), (2, 1), (4, 1), (4, 4), (8, 3)])
def test_every_caller_calls_twice_at_least_in_a_turn_of_no_length(callers, lanes):
    assert all(len(own) >= 2 for own in closed_system(callers, lanes, lambda: MS, 0))


def test_callers_call_at_the_same_time():
    together = threading.Barrier(4)

    class Meeting(OneLane):
        def run(self, inputs):
            if not self.witnessed and self.threads[threading.get_ident()] == 0:
                together.wait(10)
            return super().run(inputs)

    session = Meeting()
    turn(session, 4)
    assert not together.broken and len(session.threads) >= 4


def test_a_session_that_lets_one_caller_starve_does_not_keep_the_turn_from_ending():
    left = threading.Event()

    class Unfair(OneLane):
        def run(self, inputs):
            if not self.witnessed and int(inputs[0][0]) == 1 and not left.wait(10):
                raise TimeoutError
            outputs = super().run(inputs)
            if len(self.served) >= PATIENCE:
                left.set()
            return outputs

    taken = turn(Unfair(), 2, turn_ns=0)
    assert taken.window_ns == pytest.approx(taken.window_calls * MS)


# --- requests and their latencies


def test_a_schedule_is_even_and_keeps_its_rate():
    assert schedule(100, 2.5, 5) == [100, 102, 105, 108, 110]
    assert schedule(0, 1e9 / 3, 3001)[-1] == 1000 * 10**9


def test_requests_fill_the_turn_at_four_fifths_of_the_throughput():
    due = requests(Window(ns=40 * MS, calls=10), 100 * MS, callers=2)
    assert due == [k * 5 * MS for k in range(20)] and LOAD == 0.8


@pytest.mark.parametrize(
    ("window", "turn_ns", "n"),
    [
        (Window(4000 * MS, 4), 20 * MS, 8),
        (Window(1000, 10), 20 * MS, MAX_CALLS),
        (Window(0, 0), 20 * MS, 8),
        (Window(40 * MS, 10), 0, 8),
    ],
)
def test_requests_are_two_a_caller_at_least_and_never_too_many(window, turn_ns, n):
    assert len(requests(window, turn_ns, callers=4)) == n


def test_latency_runs_from_when_a_request_fell_due():
    assert latencies([0, 10, 20], [15, 30, 21]) == (15, 20, 1)


@pytest.mark.parametrize("callers", [1, 4])
def test_every_request_is_served_once_with_its_own_input(callers):
    session = OneLane()
    taken = turn(session, callers, start=990, turn_ns=60 * MS)
    n = len(taken.wall_ns)
    assert n >= 2 * callers
    assert sorted(number for number, _ in session.served) == sorted((990 + k) % 1000 for k in range(n))


@pytest.mark.parametrize("callers", [1, 2, 4])
def test_no_latency_is_shorter_than_the_service(callers):
    taken = turn(OneLane(), callers)
    assert min(taken.wall_ns) >= MS


def test_requests_behind_a_stalled_one_have_the_waiting_in_their_latency():
    session = OneLane(lambda number: 11 * MS if session.witnessed and number == 4 else MS)
    taken = turn(session, 1)
    # One request each 1.25 ms: the stalled one takes 11 ms, and the queue behind it shrinks by 0.25 ms a request.
    stalled = [11 * MS - k * MS // 4 for k in range(len(taken.wall_ns) - 4)]
    assert taken.wall_ns == (MS,) * 4 + tuple(stalled)
    assert len(stalled) >= 10


def test_a_stall_shows_in_the_latencies_of_other_callers_requests():
    session = OneLane(lambda number: 50 * MS if session.witnessed and number == 2 else MS)
    taken = turn(session, 3, turn_ns=40 * MS)
    interval = taken.window_ns / taken.window_calls / LOAD
    behind = [number for number, _ in session.served[3:8]]
    # What was served after the stall ended after it; and the part had begun before its first call ended.
    waited = [session.served[2][1] - session.served[0][1] - number * interval for number in behind]
    assert max(waited) > 20 * MS
    assert all(taken.wall_ns[number] >= least for number, least in zip(behind, waited, strict=True))


def test_cpu_time_is_that_of_the_paced_part_a_request():
    reads = iter([10 * MS, 90 * MS])
    taken = turn(OneLane(), 2, cpu_clock=lambda: next(reads))
    assert taken.cpu_ns == (80 * MS // len(taken.wall_ns),)


def test_the_witness_sees_each_callers_last_answer_under_its_number():
    session = OneLane()
    turn(session, 4, start=500)
    assert len(session.witnessed) == 4 == len({number for number, _ in session.witnessed})
    assert all(answer == number % 1000 + 0.5 and number >= 500 for number, answer in session.witnessed)


# --- threads


@pytest.mark.parametrize("paced", [False, True])
def test_what_a_call_raises_is_raised_when_all_callers_have_stopped(paced):
    class Failing(OneLane):
        def run(self, inputs):
            if bool(self.witnessed) == paced and len(self.served) == 5:
                self.served.append((-1, self.clock.now))
                raise MemoryError("out of device memory")
            if len(self.served) > 5:
                time.sleep(0.001)  # for the one that failed to get on
            return super().run(inputs)

    session = Failing()
    with Callers(4) as callers:
        with pytest.raises(MemoryError, match="out of device memory"):
            turn(session, nullcontext(callers), turn_ns=100 * MS if paced else 10**15)
        assert len(session.served) < 40  # of 80
        calls = session.threads.total()
        healthy = OneLane()
        turn(healthy, nullcontext(callers))
        assert session.threads.total() == calls
        assert len(healthy.threads) == 4


def test_callers_keep_their_threads_from_turn_to_turn_and_end_when_closed():
    before = threading.active_count()
    first, second = OneLane(), OneLane()
    with Callers(3) as callers:
        turn(first, nullcontext(callers))
        turn(second, nullcontext(callers))
        assert threading.active_count() == before + 3
    assert set(first.threads) == set(second.threads)
    assert threading.active_count() == before


# --- the runtimes


ON_CPU = [runtime for runtime in RUNTIMES if runtime.provider == "cpu"]


@pytest.mark.slow
@pytest.mark.parametrize("network", ["segmenter", "two_headed"])
@pytest.mark.parametrize("runtime", ON_CPU, ids=lambda runtime: runtime.name)
def test_each_of_four_callers_gets_the_answer_to_its_own_input(runtime, network, request, tiny_networks, monkeypatch):
    """In `two_headed`, whose batch is dynamic, each caller has a batch of its own, too."""
    if missing := runtime.missing():
        pytest.skip(missing.reason)
    if hasattr(runtime, "start"):  # TensorFlow's threads can only be set once a process, and this is not its first use
        monkeypatch.setattr(runtime, "start", lambda request: None)
    exported = request.getfixturevalue("segmenter_export" if network == "segmenter" else "dynamic_export")
    manifest = folder.read(exported)
    runtime.import_library()
    path = exported / manifest.artifact(runtime.artifacts[0]).path
    session = runtime.open(SessionRequest(str(path), manifest.spec, "cpu", 1))
    session.prepare()
    random = np.random.default_rng(3)
    scale = np.float32(255 if network == "segmenter" else 1)
    wrong = []

    feeds = [
        [random.random([size or caller + 1 for size in tensor.shape], "float32") * scale for tensor in session.inputs]
        for caller in range(4)
    ]
    wanted = [getattr(tiny_networks, f"{network}_in_numpy")(*feed) for feed in feeds]

    def check(caller, stop):
        for _ in range(15):
            answers = session.run(feeds[caller])
            for got, right in zip(answers, wanted[caller], strict=True):
                if got.shape != right.shape or not np.allclose(got, right, rtol=2e-4, atol=2e-5):
                    wrong.append(caller)

    with Callers(4) as callers:
        callers.together(check)
    assert not wrong

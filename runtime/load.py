"""Concurrent callers: a turn in which several threads call one session, as a server's would.

A session must be safe to call from several threads. ONNX Runtime's and TensorFlow's are; those of LiteRT and OpenVINO
keep an interpreter or infer request for each thread that calls.

The callers share Python's lock, as a Python server's threads do: a model of some microseconds is bounded by it.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from keronyx.runtime.callers import Callers as Callers
from keronyx.runtime.turn import MAX_CALLS
from keronyx.types import Array, Clock, Session, Turn

LOAD = 0.8
"""Rate of the paced requests as a share of the throughput: near 1 the queue would grow for as long as one looks."""

LEAD_NS = 1_000_000
"""Time between the start of the paced part and its first request, for every caller to be up and waiting."""

PATIENCE = 16
"""Calls after which a caller leaves though another had none: an unfair lock in a session can keep one out for ever."""


@dataclass(frozen=True)
class Window:
    """A time in which all callers were busy, nanoseconds, and the number of calls served in it; 0 and 0 for none."""

    ns: int
    calls: int


def take_concurrent_turn(
    session: Session,
    inputs: Sequence[Sequence[Array]],
    start: int,
    turn_ns: int,
    callers: Callers,
    clock: Clock = time.perf_counter_ns,
    cpu_clock: Clock = time.process_time_ns,
    sleep: Callable[[float], object] = time.sleep,
    witness: Callable[[int, Sequence[Array]], None] = lambda _call, _outputs: None,
) -> Turn:
    """A saturated part of `turn_ns`, which gives the throughput, then a paced one of as long, which gives latencies.

    Saturated: every caller calls again at once, at least twice. Paced: requests fall due at `LOAD` of that throughput,
    whether or not earlier ones are done; the next free caller serves the next of them. A latency runs from when the
    request fell due to the end of its call, so that waiting for a caller is in it: timed from the start of the call, a
    stalled session would delay the requests behind it and hide that ("coordinated omission", Gil Tene).

    Calls rotate over `inputs` from `start`. `wall_ns` holds the paced latencies in the order in which they fell due,
    `cpu_ns` one value, the CPU time of the paced part by its requests (a spinning pool's included). Each caller's last
    answer of the saturated part is shown to `witness`, with the number of the call, counted from `start`. What a call
    raises is raised here, when all callers have stopped.
    """

    def call(number: int) -> Sequence[Array]:
        return session.run(inputs[number % len(inputs)])

    window, answers = _saturate(call, start, turn_ns, callers, clock)
    for number, outputs in answers:
        witness(number, outputs)
    due = requests(window, turn_ns, callers.count)
    cpu_before = cpu_clock()
    wall = _pace(call, start, due, callers, clock, sleep)
    cpu = cpu_clock() - cpu_before
    return Turn(wall, (cpu // len(wall),), window_ns=window.ns, window_calls=window.calls)


def _saturate(
    call: Callable[[int], Sequence[Array]], start: int, turn_ns: int, callers: Callers, clock: Clock
) -> tuple[Window, list[tuple[int, Sequence[Array]]]]:
    """Call with all callers for `turn_ns`, and until there is a window; then each finishes the call it is in.

    Returns the window, and each caller's last call's number and outputs.
    """
    ends: list[list[int]] = [[] for _ in range(callers.count)]
    answers: list[tuple[int, Sequence[Array]]] = []
    over = threading.Event()
    deadline = clock() + turn_ns

    def saturate(caller: int, stop: threading.Event) -> None:
        own = ends[caller]
        for number in itertools.count(start + caller, callers.count):
            outputs = call(number)
            own.append(clock())
            if enough(own, ends, deadline):
                over.set()
            if over.is_set() or stop.is_set():
                answers.append((number, outputs))
                return
            del outputs

    callers.together(saturate)
    return saturated_window(ends), answers


def _pace(
    call: Callable[[int], Sequence[Array]],
    start: int,
    due: Sequence[int],
    callers: Callers,
    clock: Clock,
    sleep: Callable[[float], object],
) -> tuple[int, ...]:
    """Serve requests that fall due at `due`, nanoseconds from the start; return their latencies in that order."""
    ended = [0] * len(due)
    following = iter(range(len(due)))  # next() is atomic: no request is served twice
    origin = clock() + LEAD_NS

    def serve(_: int, stop: threading.Event) -> None:
        for request in following:
            ahead = origin + due[request] - clock()
            if ahead > 0:
                sleep(ahead / 1e9)
            if stop.is_set():
                return
            outputs = call(start + request)
            ended[request] = clock() - origin
            del outputs

    callers.together(serve)
    return latencies(due, ended)


def steady_from(ends: Sequence[Sequence[int]]) -> int | None:
    """Since when all calls in progress began with warm caches: each caller's first call only warms them.

    `ends` are the times at which each caller's calls ended. When the last first call has ended, others are in calls
    that had to wait for it; so the time is when each has ended one more. None while that has not come.
    """
    if not all(ends):
        return None
    warm = max(own[0] for own in ends)
    if any(own[-1] < warm for own in ends):
        return None
    return max(next(end for end in own if end >= warm) for own in ends)


def enough(own: Sequence[int], ends: Sequence[Sequence[int]], deadline: int) -> bool:
    """Whether a caller whose calls ended at `own` may leave: after the deadline, and once there is a window."""
    if len(own) < 2 or own[-1] < deadline:
        return False
    first = steady_from(ends)
    return (first is not None and own[-1] > first) or len(own) >= PATIENCE


def saturated_window(ends: Sequence[Sequence[int]]) -> Window:
    """Throughput of callers that call again at once; `ends` has, for each, the times at which its calls ended.

    The window runs from the steady state to when the first caller has made its last call: all were busy throughout. A
    call that lies partly in it counts with that share, since whole calls would favour one end or the other where there
    are few. The window is then cut to a whole number of calls at the same rate.

    Where others were kept out, it is the time from that caller's first call on.
    """
    leaver = min(ends, key=lambda own: own[-1])
    first, last = steady_from(ends), leaver[-1]
    if first is None or first >= last:
        first = leaver[0]
    shares = sum(
        max(0, min(end, last) - max(begin, first)) / (end - begin)
        for own in ends
        for begin, end in itertools.pairwise(own)
        if end > begin
    )
    if not shares > 0:
        return Window(0, 0)
    calls = max(1, int(shares))
    return Window(round((last - first) * calls / shares), calls)


def requests(window: Window, turn_ns: int, callers: int) -> list[int]:
    """When paced requests fall due: as many as fill `turn_ns`, two for each caller at least, `MAX_CALLS` at most."""
    interval = window.ns / window.calls / LOAD if window.calls else 0.0
    filling = round(turn_ns / interval) if interval else 0
    return schedule(0, interval, max(2 * callers, min(filling, MAX_CALLS)))


def schedule(start: int, interval_ns: float, n: int) -> list[int]:
    """`n` evenly spaced times from `start` on, nanoseconds; rounded each for itself, so that the rate is kept."""
    return [start + round(k * interval_ns) for k in range(n)]


def latencies(due: Sequence[int], ended: Sequence[int]) -> tuple[int, ...]:
    """From when each request fell due to the end of its call."""
    return tuple(end - begin for begin, end in zip(due, ended, strict=True))

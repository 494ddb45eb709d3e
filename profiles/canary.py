"""A fixed calculation of about a millisecond, made once a round: how fast this machine is at that moment."""

from __future__ import annotations

import time

from keronyx.types import Clock

STEPS = 6_000
"""Steps of the calculation: 0.6 to 1.5 ms on cores of 2.5 to 5 GHz."""


def sing(clock: Clock = time.perf_counter_ns, cpu_clock: Clock = time.thread_time_ns) -> tuple[int, int]:
    """Nanoseconds of wall time and of this thread's CPU time that the calculation took.

    It touches no memory, so that it shows clock frequency (CPU time) and contention (wall beyond CPU time) alone.
    """
    cpu_before, before = cpu_clock(), clock()
    state = 1
    for _ in range(STEPS):
        state = (state * 1_103_515_245 + 12_345) & 0x7FFF_FFFF
    after, cpu_after = clock(), cpu_clock()
    return after - before, cpu_after - cpu_before

"""The timed loop: which inputs, which calls count, when it ends."""

from __future__ import annotations

import numpy as np
import pytest

from keronyx.runtime.fake import FakeClock, FakeSession
from keronyx.runtime.turn import MAX_CALLS, settle, take_turn
from keronyx.types import Turn

MS = 1_000_000
INPUTS = [[np.full(1, i)] for i in range(4)]


class Recording(FakeSession):
    """Remembers which inputs it was called with."""

    def run(self, inputs):
        self.seen = [*getattr(self, "seen", []), int(inputs[0][0])]
        return super().run(inputs)


def turn(latencies, start=0, turn_ns=20 * MS) -> tuple[Turn, Recording]:
    clock = FakeClock()
    session = Recording(clock, latencies if callable(latencies) else lambda call: latencies[call])
    return take_turn(session, INPUTS, start, turn_ns, clock, clock), session


def test_calls_rotate_over_the_inputs_from_the_start_given():
    _, session = turn(lambda call: 4 * MS, start=3)
    assert session.seen == [3, 0, 1, 2, 3]


def test_the_first_of_several_calls_is_dropped():
    taken, session = turn([50_000, 7 * MS, 9 * MS, 5 * MS])
    assert taken.wall_ns == (7 * MS, 9 * MS, 5 * MS) and taken.cpu_ns == taken.wall_ns
    assert session.calls == 4


def test_one_long_call_fills_the_turn_and_is_kept():
    taken, session = turn([100 * MS])
    assert taken.wall_ns == (100 * MS,) and session.calls == 1


def test_a_call_whose_caches_were_cold_is_made_again_below_100_ms():
    taken, session = turn([99 * MS, 95 * MS])
    assert taken.wall_ns == (95 * MS,) and session.calls == 2


def test_a_turn_of_no_length_keeps_one_call():
    taken, _ = turn([3, 2], turn_ns=0)
    assert taken.wall_ns == (2,)


@pytest.mark.parametrize("latency", [0, 1])
def test_idle_models_end_after_the_most_calls(latency):
    taken, session = turn(lambda call: latency)
    assert session.calls == MAX_CALLS and len(taken.wall_ns) == MAX_CALLS - 1


def test_cpu_time_is_read_outside_the_wall_clock():
    reads = []
    take_turn(
        FakeSession(FakeClock(), lambda call: 0),
        INPUTS,
        0,
        0,
        lambda: reads.append("wall") or len(reads),
        lambda: reads.append("cpu") or len(reads),
    )
    assert reads == ["cpu", "wall", "wall", "cpu"] * 2


def test_settle_returns_at_the_first_quiet_pause():
    reads = []
    settle(1.0, lambda: reads.append(0) or 0)
    assert len(reads) == 2


def test_settle_gives_up_on_a_process_that_never_rests():
    reads = []
    settle(0.02, lambda: reads.append(0) or len(reads) * 10**9)
    assert len(reads) == 20

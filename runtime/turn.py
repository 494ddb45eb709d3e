"""The timed loop itself: the only code between a runtime and its latency."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from keronyx.types import Array, Clock, Placement, Session, TensorSpec, Turn

MAX_CALLS = 1000
"""Calls of one turn at most, so that an idle model cannot fill the memory with samples."""


COLD_MATTERS_NS = 100_000_000
"""A call shorter than this is never the first of its turn: refilling the caches takes some milliseconds."""


class Nothing:
    """A session that does nothing: what its calls take is the harness."""

    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()

    def prepare(self) -> None:
        """Nothing."""

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        return inputs

    def placement(self) -> Placement:
        return Placement()


def take_turn(
    session: Session,
    inputs: Sequence[Sequence[Array]],
    start: int,
    turn_ns: int,
    clock: Clock = time.perf_counter_ns,
    cpu_clock: Clock = time.process_time_ns,
    witness: Callable[[int, Sequence[Array]], None] = lambda _call, _outputs: None,
) -> Turn:
    """Call the session until `turn_ns` were spent in calls, at least once, rotating over `inputs` from `start`.

    When a turn makes several calls, the first only brings the row's memory back into the caches after the other rows'
    turns and is not kept. A call of 100 ms or more is made once and kept: there those milliseconds do not matter.
    The answer of the last call is shown to `witness`, with the number of the call, counted from `start`.

    CPU time is that of all threads of this process. The wall clock is read inside the CPU clock, so that reading the
    CPU clock is not in the latency.
    """
    run, count = session.run, len(inputs)
    wall: list[int] = []
    cpu: list[int] = []
    spent, index = 0, start
    outputs: Sequence[Array] = ()
    while not wall or (spent < turn_ns and len(wall) < MAX_CALLS) or (len(wall) == 1 and spent < COLD_MATTERS_NS):
        feed = inputs[index % count]
        outputs = ()  # gives their memory back before the next call, outside of the timing
        cpu_before = cpu_clock()
        before = clock()
        outputs = run(feed)
        after = clock()
        cpu_after = cpu_clock()
        wall.append(after - before)
        cpu.append(cpu_after - cpu_before)
        spent += max(after - before, 1)
        index += 1
    witness(index - 1, outputs)
    if len(wall) > 1:
        del wall[0], cpu[0]
    return Turn(tuple(wall), tuple(cpu))


def settle(limit_s: float = 0.2, clock: Clock = time.process_time_ns) -> None:
    """Wait until this process's threads stop using the CPU, or `limit_s` passed.

    A runtime's idle thread pool spins for a while after a call (ONNX Runtime's for 40-50 ms), which would otherwise be
    the next row's turn.
    """
    pause_s, quiet_ns = 0.002, 400_000
    for _ in range(int(limit_s / pause_s)):
        before = clock()
        time.sleep(pause_s)
        if clock() - before < quiet_ns:
            return

"""Runtimes that need no model: for tests of keronyx and of what is built on it.

`FakeWorker` takes turns on a `FakeClock` in this process, so a whole profile run is instant and always the same.
`CRASHING`, `HANGING` and `HUNGRY` misbehave in a real worker process, named as `keronyx.runtime.fake:CRASHING`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from keronyx.runtime.turn import Turn, take_turn
from keronyx.types import Array, Missing, Placement, Session, SessionRequest, TensorSpec


@dataclass
class FakeClock:
    """A clock that only moves when told to, nanoseconds."""

    now: int = 0

    def __call__(self) -> int:
        return self.now

    def advance(self, nanoseconds: int) -> None:
        self.now += nanoseconds


@dataclass
class FakeSession:
    """Takes `latency(call number)` nanoseconds of the clock a call and returns `answer(inputs)`."""

    clock: FakeClock
    latency: Callable[[int], int]
    answer: Callable[[Sequence[Array]], Sequence[Array]] = lambda inputs: [np.asarray(x) for x in inputs]
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    calls: int = field(default=0, init=False)

    def prepare(self) -> None:
        """Nothing to compile."""

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        self.clock.advance(self.latency(self.calls))
        self.calls += 1
        return self.answer(inputs)

    def placement(self) -> Placement:
        return Placement(assigned={"cpu": 1})


@dataclass
class FakeWorker:
    """A worker without a process: the timed loop is the real one, the session and the clock are not."""

    row: str
    session: FakeSession
    pid: int = 0

    def turn(self, start: int, turn_ns: int) -> Turn:
        clock = self.session.clock
        return take_turn(self.session, [[np.zeros(1)]], start, turn_ns, clock, clock)

    def close(self) -> None:
        """Nothing to end."""


class Misbehaving:
    """A runtime whose sessions answer normally `good_calls` times and then do something else.

    Args:
        deed: what it does then.
    """

    name = "fake"
    provider = "cpu"
    artifacts = ("keras",)
    package = "numpy"

    def __init__(self, good_calls: int, deed: Callable[[], None]) -> None:
        self.good_calls = good_calls
        self.deed = deed

    def missing(self) -> Missing | None:
        return None

    def import_library(self) -> None:
        """Nothing to import."""

    def open(self, request: SessionRequest) -> Session:
        spec, clock = request.spec, FakeClock()

        def latency(call: int) -> int:
            if call >= self.good_calls:
                self.deed()
            time.sleep(0.001)
            return 1

        def answer(inputs: Sequence[Array]) -> Sequence[Array]:
            return [np.zeros([size or 1 for size in output.shape], output.dtype) for output in spec.outputs]

        return FakeSession(clock, latency, answer, spec.inputs, spec.outputs)


def _exhaust_memory() -> None:
    held = []
    while True:
        held.append(np.ones(2**24))  # 128 MiB, touched


WELL_BEHAVED = Misbehaving(2**60, lambda: None)
CRASHING = Misbehaving(10, lambda: os.kill(os.getpid(), signal.SIGSEGV))
CRASHING_AT_ONCE = Misbehaving(0, lambda: os.kill(os.getpid(), signal.SIGSEGV))
HANGING = Misbehaving(10, lambda: time.sleep(3600))
HUNGRY = Misbehaving(0, _exhaust_memory)

"""Runtimes that need no model: for tests of keronyx and of what is built on it.

`FakeWorker` takes turns on a `FakeClock` in this process, so a whole profile run is instant and always the same.
`CRASHING`, `HANGING` and `HUNGRY` misbehave in a real worker process, named as `keronyx.runtime.fake:CRASHING`.
`CACHED`, `STALE`, `EARLY` and `NAN_LATER` are quick or wrong in ways that a proof must find; `HONEST` is neither.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from keronyx.runtime.turn import take_turn
from keronyx.types import Array, Missing, Placement, Session, SessionRequest, TensorSpec, Turn


@dataclass
class FakeClock:
    """A clock that only moves when told to, nanoseconds."""

    now: int = 0

    def __call__(self) -> int:
        return self.now

    def advance(self, nanoseconds: int) -> None:
        self.now += nanoseconds

    def sleep(self, seconds: float) -> None:
        self.advance(round(seconds * 1e9))


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


class FakeRuntime:
    """What the runtimes below share; there is nothing to import."""

    name = "fake"
    provider = "cpu"
    artifacts = ("keras",)
    package = "numpy"

    def missing(self) -> Missing | None:
        return None

    def import_library(self) -> None:
        """Nothing to import."""


class Misbehaving(FakeRuntime):
    """A runtime whose sessions answer normally `good_calls` times and then do something else.

    Args:
        deed: what it does then.
    """

    def __init__(self, good_calls: int, deed: Callable[[], None]) -> None:
        self.good_calls = good_calls
        self.deed = deed

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


class HonestSession:
    """Answers sin(place + mean of the inputs), place by place, in 3 ms: another input has another answer.

    Args:
        sleep: what the time is spent with, seconds.
    """

    good_calls = 40
    """Calls after which those derived from this one begin to cheat, where they do so late."""

    def __init__(self, request: SessionRequest, sleep: Callable[[float], None] = time.sleep) -> None:
        self.inputs = request.spec.inputs
        self.outputs = request.spec.outputs
        self.calls = 0
        self._batch = request.batch
        self._sleep = sleep

    def prepare(self) -> None:
        """Nothing to compile."""

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        self.calls += 1
        self._sleep(0.003)
        return self.answer(inputs)

    def answer(self, inputs: Sequence[Array]) -> list[Array]:
        """The right answer, in no time. Whole numbers are of 0 to 200."""
        mean = sum(float(np.mean(array)) for array in inputs)
        return [self._wave(spec, mean) for spec in self.outputs]

    def _wave(self, spec: TensorSpec, mean: float) -> Array:
        shape = [size or (self._batch if axis == 0 else 1) for axis, size in enumerate(spec.shape)]
        wave = np.sin(np.arange(np.prod(shape, dtype=int)) + mean).reshape(shape)
        return np.asarray(wave if np.dtype(spec.dtype).kind == "f" else 100 + 100 * wave).astype(spec.dtype)

    def placement(self) -> Placement:
        return Placement(assigned={"cpu": 1})


class CachingSession(HonestSession):
    """Remembers the answer to every input."""

    def __init__(self, request: SessionRequest, sleep: Callable[[float], None] = time.sleep) -> None:
        super().__init__(request, sleep)
        self._answers: dict[bytes, Sequence[Array]] = {}

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        content = b"".join(array.tobytes() for array in inputs)
        if content not in self._answers:
            self._answers[content] = super().run(inputs)
        return self._answers[content]


class StaleSession(HonestSession):
    """Gives the answer to the call before, once it has given enough right ones."""

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        now = super().run(inputs)
        before, self._last = getattr(self, "_last", now), now
        return now if self.calls <= self.good_calls else before


class EarlySession(HonestSession):
    """Returns after 1 ms with outputs that a thread fills 20 ms later, whatever `sleep` is."""

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        time.sleep(0.001)
        answer = self.answer(inputs)
        outputs = [np.zeros_like(array) for array in answer]

        def fill() -> None:
            for output, array in zip(outputs, answer, strict=True):
                np.copyto(output, array)

        threading.Timer(0.02, fill).start()
        return outputs


class LaterNanSession(HonestSession):
    """Answers with NaN, where an output can hold it, once it has given enough right answers."""

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        outputs = super().run(inputs)
        if self.calls <= self.good_calls:
            return outputs
        return [np.full_like(array, np.nan) if array.dtype.kind == "f" else array for array in outputs]


class Computing(FakeRuntime):
    """A runtime whose sessions take their time, honestly or not."""

    def __init__(self, session: type[HonestSession]) -> None:
        self.session = session

    def open(self, request: SessionRequest) -> Session:
        return self.session(request)


def _exhaust_memory() -> None:
    held = []
    while True:
        held.append(np.ones(2**24))  # 128 MiB, touched


WELL_BEHAVED = Misbehaving(2**60, lambda: None)
CRASHING = Misbehaving(10, lambda: os.kill(os.getpid(), signal.SIGSEGV))
CRASHING_AT_ONCE = Misbehaving(0, lambda: os.kill(os.getpid(), signal.SIGSEGV))
HANGING = Misbehaving(10, lambda: time.sleep(3600))
HUNGRY = Misbehaving(0, _exhaust_memory)

HONEST = Computing(HonestSession)
CACHED = Computing(CachingSession)
STALE = Computing(StaleSession)
EARLY = Computing(EarlySession)
NAN_LATER = Computing(LaterNanSession)

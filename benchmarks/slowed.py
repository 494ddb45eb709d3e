"""ONNX Runtime on the CPU with every call a tenth longer: a slowdown whose true size is known, for measuring.py.

The tenth is spun away after the call, in the call's own proportion. More work of the network's kind would be slower by
a tenth only on average and only on one machine; this is slower by a tenth in every mood of any machine.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from keronyx.runtime.ort_cpu import OnnxRuntimeCpu
from keronyx.types import Array, Clock, Placement, Session, SessionRequest

SHARE = 0.1


class SlowedSession:
    """A session whose calls take `SHARE` longer than those of the one it holds."""

    def __init__(self, session: Session, clock: Clock = time.perf_counter_ns) -> None:
        self.inputs, self.outputs = session.inputs, session.outputs
        self._session, self._clock = session, clock

    def prepare(self) -> None:
        self._session.prepare()

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        clock = self._clock
        before = clock()
        outputs = self._session.run(inputs)
        until = before + (clock() - before) * (1 + SHARE)
        while clock() < until:
            pass
        return outputs

    def placement(self) -> Placement:
        return self._session.placement()


class SlowedOnnxRuntime(OnnxRuntimeCpu):
    """What a worker opens as `benchmarks.slowed:RUNTIME`."""

    def open(self, request: SessionRequest) -> Session:
        return SlowedSession(super().open(request))


RUNTIME = SlowedOnnxRuntime()
"""Named by text in trials.py."""

"""The test doubles are public: they must behave as they say."""

from __future__ import annotations

import numpy as np

from keronyx.runtime.fake import FakeClock, FakeSession, FakeWorker


def test_a_fake_worker_takes_real_turns_on_a_fake_clock():
    clock = FakeClock()
    taken = FakeWorker("row", FakeSession(clock, lambda call: (call + 1) * 1000)).turn(0, 10_000)
    assert taken.wall_ns == (2000, 3000, 4000) and clock.now == 10_000


def test_a_fake_session_answers_what_it_was_told_to():
    session = FakeSession(FakeClock(), lambda call: 1, lambda inputs: [inputs[0] + 1])
    assert session.run([np.zeros(2)])[0].tolist() == [1, 1]
    assert session.placement().assigned == {"cpu": 1}

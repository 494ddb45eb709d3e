"""An option is recorded only when it is clearly quicker, twice, in fresh sessions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from keronyx.export.session_options import CANDIDATES, choose


class Machine:
    """A clock that calls move on: by 100 us with the defaults, by what each look has for the candidate."""

    def __init__(self, *candidate_us: float) -> None:
        self.now, self.opened, self._looks = 0, list[dict[str, Any]](), iter(candidate_us)

    def open(self, options: dict[str, Any]) -> Any:
        self.opened.append(options)
        spent = 1000 * (next(self._looks) if options else 100)
        noise: Iterator[int] = iter(range(10**6))

        def call() -> None:
            self.now += int(spent) + next(noise) % 3

        return call

    def clock(self) -> int:
        return self.now


def test_a_clear_gain_seen_twice_is_chosen():
    machine = Machine(80, 82)
    chosen, ratio = choose(machine.open, machine.clock)
    assert chosen == CANDIDATES[0] and ratio is not None and ratio.value == pytest.approx(0.82, abs=0.01)
    assert len(machine.opened) == 4


@pytest.mark.parametrize("looks", [(80, 99), (97,), (100,), (150,)])
def test_anything_less_leaves_the_defaults(looks):
    machine = Machine(*looks)
    assert choose(machine.open, machine.clock) == ({}, None)


def test_the_choice_is_a_copy():
    chosen, _ = choose((machine := Machine(50, 50)).open, machine.clock)
    chosen["config"] = {}
    assert "config" not in CANDIDATES[0]

"""The rounds: every row once per round in random order, the reference twice, until enough is known or time is up.

Interleaving is what makes ratios trustworthy: on a busy machine, rows measured one after the other are called
"different" in one of three to five A/A experiments, interleaved ones in one of twenty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from keronyx.errors import KeronyxError
from keronyx.profiles import stats
from keronyx.types import Clock, Plan, RoundReading, Samples

CONTROL = "control"
"""What the reference's second turn of a round is called in `RoundReading.order`."""

TARGET = 0.01
"""Measuring stops when every ratio to the reference is known to this relative half-width."""


class Turn(Protocol):
    """What a worker's turn gives: nanoseconds per timed call."""

    @property
    def wall_ns(self) -> tuple[int, ...]: ...

    @property
    def cpu_ns(self) -> tuple[int, ...]: ...


class TurnTaker(Protocol):
    """A parked worker, or a fake one."""

    def turn(self, start: int, turn_ns: int) -> Turn: ...


class Sensors(Protocol):
    """Reads what the machine does during a round."""

    def begin(self) -> None: ...

    def end(self, order: tuple[str, ...]) -> RoundReading: ...


@dataclass(frozen=True)
class Measured:
    """What the rounds gave.

    `samples[row].wall_ns[i]` is round i of every row, so that rows pair by index; a row that failed has fewer rounds.
    `failures` are rows whose worker died: the error, and the round (from 1) in which it struck.
    """

    samples: dict[str, Samples]
    control: Samples
    rounds: tuple[RoundReading, ...]
    failures: dict[str, tuple[KeronyxError, int]]
    stopped: str


def measure(
    workers: Mapping[str, TurnTaker],
    reference: str,
    plan: Plan,
    clock: Clock,
    sensors: Sensors,
    progress: Callable[[int, float], None] = lambda _round, _share: None,
) -> Measured:
    """Take rounds until the target is reached, the budget would be passed, or `plan.max_rounds` are done.

    Args:
        workers: row id -> worker, all warm and parked.
        reference: row id whose second turn is the A/A' control.
        progress: told the number of rounds done and the share of the budget used.

    A worker that fails drops out and keeps its samples. Ctrl-C ends the rounds, not the run. One round is always made.
    """
    random = np.random.default_rng(plan.seed)
    turns: dict[str, list[Turn]] = {row: [] for row in [*workers, CONTROL]}
    readings: list[RoundReading] = []
    failures: dict[str, tuple[KeronyxError, int]] = {}
    started, longest, stopped = clock(), 0, "rounds"

    def samples(row: str) -> Samples:
        return Samples(tuple(taken.wall_ns for taken in turns[row]), tuple(taken.cpu_ns for taken in turns[row]))

    def turn(row: str, number: int) -> None:
        name = reference if row == CONTROL else row
        if name in failures:
            return
        # The control is half the inputs away, lest it gets what the reference has just brought into the caches.
        start = number + (plan.rotation // 2 if row == CONTROL else 0)
        try:
            turns[row].append(workers[name].turn(start, round(plan.turn_ms * 1e6)))
        except KeronyxError as error:
            failures[name] = (error, number + 1)

    try:
        for number in range(plan.max_rounds):
            begun = clock()
            if number and begun - started + longest > plan.budget_s * 1e9:
                stopped = "budget"
                break
            names = [*workers, CONTROL]
            order = tuple(names[i] for i in random.permutation(len(names)))
            sensors.begin()
            for row in order:
                turn(row, number)
            readings.append(sensors.end(order))
            if len(failures) == len(workers):
                stopped = "every worker failed"
                break
            longest = max(longest, clock() - begun)
            progress(number + 1, (clock() - started) / (plan.budget_s * 1e9))
            if (number + 1) % stats.LOOK_EVERY == 0:
                alive = {row: samples(row) for row in turns if row not in failures}
                if target_reached(alive, reference):
                    stopped = "target"
                    break
    except KeyboardInterrupt:
        stopped = "interrupted"
    return Measured({row: samples(row) for row in workers}, samples(CONTROL), tuple(readings), failures, stopped)


def target_reached(samples: Mapping[str, Samples], reference: str) -> bool:
    """Whether every row's ratio to the reference, the control's included, is known within the target.

    Without the reference (its worker failed) it never is.
    """
    if reference not in samples:
        return False
    for row in samples:
        ratio = stats.paired_ratio(samples[row], samples[reference], stats.LOOK_LEVEL)
        if ratio is None or ratio.interval is None:
            return False
        if ratio.interval.high / ratio.interval.low > (1 + TARGET) ** 2:
            return False
    return True

"""The rounds: every row once per round in random order, the reference twice, until enough is known or time is up.

Interleaving is what makes ratios trustworthy: on a busy machine, rows measured one after the other are called
"different" in one of three to five A/A experiments, interleaved ones in one of twenty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np

from keronyx.errors import KeronyxError
from keronyx.profiles import stats
from keronyx.types import Clock, Plan, RoundReading, Samples, Turn

T = TypeVar("T")

CONTROL = "control"
"""What the reference's second turn of a round is called in `RoundReading.order`."""

TARGET = 0.01
"""Measuring stops when every ratio to the reference is known to this relative half-width."""


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
    before: Measured | None = None,
    setting: str = "b1",
) -> Measured:
    """Take rounds until the target is reached, the budget would be passed, or there are `plan.max_rounds`.

    Args:
        workers: row id -> worker, all warm and parked.
        reference: row id whose second turn is the A/A' control.
        progress: told the number of rounds there are and the share of the budget used.
        before: rounds of these rows in earlier sets of processes, to which this call adds; a row that failed in them
            has no worker here and keeps its samples.
        setting: name of the setting the rows belong to.

    A worker that fails drops out and keeps its samples. Ctrl-C ends the rounds, not the run. One round is always made.
    """
    earlier = before or Measured({}, Samples(), (), {}, "")
    done = len(earlier.rounds)
    process_set = 1 + max((one.process_set for one in earlier.rounds), default=0)
    random = np.random.default_rng(plan.seed if process_set == 1 else (plan.seed, process_set))
    turns: dict[str, list[Turn]] = {row: [] for row in [*workers, CONTROL]}
    readings: list[RoundReading] = []
    failures: dict[str, tuple[KeronyxError, int]] = {}
    started, longest, stopped = clock(), 0, "rounds"

    def samples(row: str) -> Samples:
        old = earlier.control if row == CONTROL else earlier.samples.get(row, Samples())
        return extended(old, turns.get(row, ()))

    def turn(row: str, number: int) -> None:
        name = reference if row == CONTROL else row
        if name in failures or name not in workers:
            return
        # The control is half the inputs away, lest it gets what the reference has just brought into the caches.
        start = number + (plan.rotation // 2 if row == CONTROL else 0)
        try:
            turns[row].append(workers[name].turn(start, round(plan.turn_ms * 1e6)))
        except KeronyxError as error:
            failures[name] = (error, number + 1)

    try:
        for number in range(done, max(plan.max_rounds, done + 1)):
            begun = clock()
            if number > done and begun - started + longest > plan.budget_s * 1e9:
                stopped = "budget"
                break
            names = [*workers, CONTROL]
            order = tuple(names[i] for i in random.permutation(len(names)))
            sensors.begin()
            for row in order:
                turn(row, number)
            readings.append(replace(sensors.end(order), setting=setting, process_set=process_set))
            if len(failures) == len(workers):
                stopped = "every worker failed"
                break
            longest = max(longest, clock() - begun)
            progress(number + 1, (clock() - started) / max(plan.budget_s * 1e9, 1))
            if (number + 1) % stats.LOOK_EVERY == 0:
                alive = {row: samples(row) for row in turns if row not in failures}
                if target_reached(alive, reference):
                    stopped = "target"
                    break
    except KeyboardInterrupt:
        stopped = "interrupted"
    rows = {row: samples(row) for row in [*earlier.samples, *(row for row in workers if row not in earlier.samples)]}
    rounds = (*earlier.rounds, *readings)
    return Measured(rows, samples(CONTROL), rounds, {**earlier.failures, **failures}, stopped)


def extended(samples: Samples, turns: Sequence[Turn]) -> Samples:
    """Samples with one more round for each turn."""

    def readings(old: tuple[T, ...], new: list[T], nothing: T) -> tuple[T, ...]:
        """What was read in every turn; nothing at all where no turn ever had it."""
        known = (*old, *([nothing] * (len(samples.wall_ns) - len(old))), *new)
        return known if any(one != nothing for one in known) else ()

    return Samples(
        wall_ns=(*samples.wall_ns, *(turn.wall_ns for turn in turns)),
        cpu_ns=(*samples.cpu_ns, *(turn.cpu_ns for turn in turns)),
        waited_ns=readings(samples.waited_ns, [turn.waited_ns for turn in turns], None),
        switches=readings(samples.switches, [turn.switches for turn in turns], None),
        window_ns=readings(samples.window_ns, [turn.window_ns for turn in turns], 0),
        window_calls=readings(samples.window_calls, [turn.window_calls for turn in turns], 0),
        gpu=readings(samples.gpu, [turn.gpu for turn in turns], None),
    )


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

"""Is the graph slower with the passes than without? Two sessions in one process, called in turn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from keronyx.medians import Interval, median, median_interval

SLOWER = 1.02
"""A graph is clearly slower when the whole interval of its ratio is above this."""

LEAST_PAIRS, MOST_PAIRS = 6, 200
"""Six pairs are the fewest that have an interval at 95 %."""

BUDGET_NS = 2_000_000_000
"""Pairs are made for this long, LEAST_PAIRS in any case..."""

LONGEST_NS = 5_000_000_000
"""...but no further one after this long."""


@dataclass(frozen=True)
class Ratio:
    """Latency of the second over that of the first: median over `pairs`, interval None when these are too few."""

    value: float
    interval: Interval | None
    pairs: int

    @property
    def clearly_slower(self) -> bool:
        return self.interval is not None and self.interval.low > SLOWER

    def speed_up(self) -> str:
        """`graph passes 1.14x faster than without [1.10, 1.18]`, where the second graph is the one with passes."""
        value = 1 / self.value
        if self.interval is None:
            return f"graph passes {value:.2f}x as fast as without ({self.pairs} pairs, too few to tell)"
        low, high = 1 / self.interval.high, 1 / self.interval.low
        word = "faster than" if low > 1 else "as fast as"
        return f"graph passes {value:.2f}x {word} without [{low:.2f}, {high:.2f}]"


@dataclass(frozen=True)
class Decided:
    """Passes to leave out, and what was measured."""

    dropped: frozenset[str]
    evidence: tuple[str, ...]


def decide(
    changed: Sequence[str], with_all: Callable[[], Ratio], without: Callable[[frozenset[str]], Ratio]
) -> Decided:
    """Leave out the pass without which the graph is quickest, all if that is not enough, none if it is not slower.

    Args:
        changed: names of the passes that changed the graph.
        with_all: measures the graph with all passes over the raw one, in fresh sessions.
        without: the same of the graph without the named passes.
    """
    for _ in range(2):  # sessions differ by where their memory happens to lie: slower means twice
        ratio = with_all()
        if not ratio.clearly_slower:
            return Decided(frozenset(), (ratio.speed_up(),))
    said = f"{ratio.value:.2f}x slower than without graph passes"
    if len(changed) > 1:
        name, best = min(((name, without(frozenset([name]))) for name in changed), key=lambda one: one[1].value)
        if not best.clearly_slower:
            return Decided(frozenset([name]), (best.speed_up(), f"DroppedPass {name}: with it {said}"))
    return Decided(frozenset(changed), (f"DroppedPass {', '.join(changed)}: {said}",))


def compare(first: Callable[[], object], second: Callable[[], object], clock: Callable[[], int]) -> Ratio:
    """Call both alternately, the order changing from pair to pair, after one call each that does not count.

    Args:
        clock: nanoseconds that never step back.
    """

    def timed(call: Callable[[], object]) -> int:
        before = clock()
        call()
        return max(clock() - before, 1)

    timed(first), timed(second)
    started, logs = clock(), list[float]()
    while len(logs) < MOST_PAIRS:
        spent = clock() - started
        if spent > LONGEST_NS or (spent > BUDGET_NS and len(logs) >= LEAST_PAIRS):
            break
        if len(logs) % 2:
            b, a = timed(second), timed(first)
        else:
            a, b = timed(first), timed(second)
        logs.append(math.log(b / a))
    interval = median_interval(logs)
    if interval is not None:
        interval = Interval(math.exp(interval.low), math.exp(interval.high), interval.level)
    return Ratio(math.exp(median(logs) or 0.0), interval, len(logs))

"""What keeps a pass: that the graph is not clearly slower with it. The clock is the test's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keronyx.export.gates import latency
from keronyx.export.gates.latency import Ratio, compare, decide
from keronyx.medians import Interval

MS = 1_000_000


class Clock:
    """Stands still but for what calls take."""

    def __init__(self) -> None:
        self.now = 0
        self.order: list[str] = []

    def __call__(self) -> int:
        return self.now

    def call(self, name: str, ms: float, first_ms: float | None = None) -> Callable[[], None]:
        def one() -> None:
            self.now += int((ms if first_ms is None or name in self.order else first_ms) * MS)
            self.order.append(name)

        return one


def ratio(value: float, spread: float = 0.005) -> Ratio:
    return Ratio(value, Interval(value - spread, value + spread, 0.96), 6)


def test_calls_alternate_and_the_order_changes_from_pair_to_pair() -> None:
    clock = Clock()
    found = compare(clock.call("raw", 100, first_ms=5000), clock.call("new", 50, first_ms=5000), clock)
    assert clock.order[:8] == ["raw", "new", "raw", "new", "new", "raw", "raw", "new"]
    assert found.value == pytest.approx(0.5) and found.interval is not None and not found.clearly_slower
    assert found.speed_up() == "graph passes 2.00x faster than without [2.00, 2.00]"


@pytest.mark.parametrize(("ms", "pairs"), [(0.1, latency.MOST_PAIRS), (20, 51), (400, 6), (2400, 2)])
def test_pairs_are_made_until_the_time_is_spent(ms: float, pairs: int) -> None:
    clock = Clock()
    found = compare(clock.call("raw", ms), clock.call("new", ms), clock)
    assert found.pairs == pairs and len(clock.order) == 2 * pairs + 2


def test_too_few_pairs_say_so_and_condemn_nothing() -> None:
    clock = Clock()
    found = compare(clock.call("raw", 2000), clock.call("new", 4000), clock)
    assert found.interval is None and not found.clearly_slower and "too few to tell" in found.speed_up()


def test_slower_means_the_whole_interval() -> None:
    assert ratio(1.03).clearly_slower
    assert not ratio(1.03, spread=0.02).clearly_slower and not ratio(1.02).clearly_slower
    assert "as fast as without" in ratio(1.01, spread=0.02).speed_up()


def test_a_graph_that_is_not_slower_keeps_all_passes() -> None:
    decided = decide(["A", "B"], lambda: ratio(0.9), lambda _: pytest.fail("measured for nothing"))
    assert not decided.dropped and decided.evidence[0].startswith("graph passes 1.11x faster")


def test_slower_once_may_be_chance() -> None:
    measured = iter([ratio(1.1), ratio(0.99)])
    assert not decide(["A", "B"], lambda: next(measured), lambda _: pytest.fail("not needed")).dropped


def test_the_pass_that_makes_it_slower_is_dropped_and_named() -> None:
    without = {"A": ratio(1.2), "B": ratio(0.8), "C": ratio(1.19)}
    decided = decide(["A", "B", "C"], lambda: ratio(1.2), lambda names: without[next(iter(names))])
    assert decided.dropped == {"B"}
    assert decided.evidence == (
        "graph passes 1.25x faster than without [1.24, 1.26]",
        "DroppedPass B: with it 1.20x slower than without graph passes",
    )


@pytest.mark.parametrize("changed", [["A"], ["A", "B"]])
def test_all_are_dropped_where_no_single_one_explains_it(changed: list[str]) -> None:
    decided = decide(changed, lambda: ratio(1.2), lambda _: ratio(1.1))
    assert decided.dropped == set(changed) and decided.evidence[0].startswith(f"DroppedPass {', '.join(changed)}")

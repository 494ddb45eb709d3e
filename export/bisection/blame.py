"""Which of the layers between two recognised tensors is to blame?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keronyx.export.bisection.match import Layout, compare

if TYPE_CHECKING:
    from keronyx.export.bisection.walk import Walk


@dataclass(frozen=True)
class Blame:
    """`call` is the index of the call to blame, -1 if none is known; `others` are those that are one with it in the
    file, so that it could as well be them."""

    call: int
    others: tuple[int, ...]


def blame(walk: Walk, p: int, number: int, layout: Layout) -> Blame:
    """Who is to blame for a tensor that should be this value.

    The calls behind the last values that were recognised are to choose from. A layer without nodes is left out, or is
    one with its neighbour: it was left out if the nodes are right once they get what it gives. Else it is the first
    layer that has nodes here.
    """
    between = _between(walk, number)
    if not between:
        calls = walk.candidates.calls(walk.graph.steps[p].layer)
        return Blame(calls[0] if calls else -1, ())
    missing = _left_out(walk, p, number, layout, between)
    if missing is not None:
        return Blame(missing, ())
    labels = walk.labels(p)
    own = [i for i in between if any(i in walk.candidates.calls(label) for label in labels)]
    guilty = (own or between)[0]
    return Blame(guilty, tuple(i for i in between if i != guilty))


def _between(walk: Walk, number: int) -> list[int]:
    """Calls that a value depends on and that make no value that was recognised, in their order."""
    found: set[int] = set()
    waiting = [number]
    while waiting:
        i = walk.candidates.producer.get(waiting.pop())
        if i is None or i in found:
            continue
        found.add(i)
        waiting += [n for n in walk.oracle.program.calls[i].inputs if n not in walk.oracle.represented]
    return sorted(found)


def _left_out(walk: Walk, p: int, number: int, layout: Layout, between: list[int]) -> int | None:
    """The layer that the nodes up to `p` lack, if they are right with what it gives."""
    oracle, labels = walk.oracle, walk.labels(p)
    exact, own = layout.of(oracle.exact(number)), layout.of(oracle.own(number))
    tensors = oracle.program.tensors
    for i in between:
        if any(i in walk.candidates.calls(label) for label in labels):
            continue
        for value in (n for n in oracle.program.calls[i].outputs if n != number and oracle.has(n)):
            chain = _between(walk, value)
            for name in walk.entries(p):
                before, how = walk.tags[name]
                first = next((j for j in chain if before in oracle.program.calls[j].inputs), None)
                if first is None or tensors[value].shape != tensors[before].shape:
                    continue
                made = walk.closure(p, {name: walk.placed(value, how, walk.values[name])})
                arrays = [made[output] for output in walk.graph.steps[p].outputs]
                if any(a.shape == exact.shape and compare(a, exact, own, oracle.dtype(number)).right for a in arrays):
                    return first
    return None

"""Did the timed calls do the work? Asked of a session once, after the rounds and outside them.

Gates: `follows` (later answers are their own input's, see `witness.py`), `complete` (what a call returned is not
written to afterwards) and `uncached` (inputs seen before are not answered much quicker than fresh ones).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from statistics import median

import numpy as np

from keronyx.runtime.witness import Witness
from keronyx.types import Array, Clock, Gate, Session, Verdict

LEAST_PAIRS, ENOUGH_PAIRS, MOST_PAIRS = 2, 5, 10
LIMIT_NS = 2_000_000_000
"""No more pairs of calls are begun after so much time was spent in calls, unless a suspicion wants enough pairs."""

WATCHED = 2
"""Pairs whose outputs are watched after the call."""

WAITS_S = (0.05, 0.15)
"""Pauses after which watched outputs are compared with what they were when the call returned."""

SLOWER, SLOWER_NS = 2.0, 100_000
"""A fresh input is taken for slower when it needs this many times as long, and by so many nanoseconds."""

SWAPPED = 100
"""One in so many elements changes its place in a fresh input."""


def prove(
    session: Session,
    inputs: Sequence[Sequence[Array]],
    witness: Witness,
    clock: Clock = time.perf_counter_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Gate, ...]:
    """Call the session on known and fresh inputs in turn; return the gates follows, complete, uncached.

    Makes 4 to 20 calls: 2 s of them, or 4 where a call is longer (10 to confirm a cache); and waits 0.8 s.

    Args:
        inputs: those the rounds rotated over.
        witness: what it saw in the rounds; it knows the first input's answer at least.
        sleep: waits that many seconds.
    """
    known = [index for index in witness.inputs if index < len(inputs)]
    fresh = _Fresh(inputs)
    pairs: list[tuple[int, int]] = []
    problem, spent = "", 0
    for number in range(MOST_PAIRS):
        suspected = number < ENOUGH_PAIRS and uncached(pairs).verdict is Verdict.FAIL
        if number >= LEAST_PAIRS and spent > LIMIT_NS and not suspected:
            break
        index = known[number % len(known)]
        feeds = {"known": inputs[index], "fresh": fresh.like(inputs[index])}
        taken = {}
        for kind in ("known", "fresh") if number % 2 == 0 else ("fresh", "known"):
            feed = feeds[kind]
            if feed is None:
                continue
            if kind == "known" and len(inputs) == 1:
                session.run(feed)  # as in the rounds, where every call followed one on the same input
            before = clock()
            outputs = session.run(feed)
            taken[kind] = clock() - before
            returned = [np.array(output) for output in outputs]
            if kind == "known":
                witness.follows(index, returned)
            if number < WATCHED and not problem:
                problem = _unfinished(outputs, returned, sleep)
        spent += sum(taken.values())
        if len(taken) == 2:
            pairs.append((taken["known"], taken["fresh"]))
    if problem:
        complete = Gate("complete", Verdict.FAIL, problem)
    else:
        complete = Gate("complete", Verdict.PASS, f"outputs stay as returned for {sum(WAITS_S) * 1000:.0f} ms")
    return witness.gate(), complete, uncached(pairs)


def uncached(pairs: Sequence[tuple[int, int]]) -> Gate:
    """The gate over interleaved pairs of calls, nanoseconds (input seen before, fresh input).

    Fails when the fresh input is slower in four of five pairs, all of them when there are fewer than five: a few
    calls that something else held up prove nothing.
    """
    if len(pairs) < LEAST_PAIRS:
        return Gate("uncached", Verdict.NOT_RUN, "the inputs cannot be varied: none is fresh")
    ratio = median(fresh for _, fresh in pairs) / max(median(known for known, _ in pairs), 1)
    slower = sum(fresh > SLOWER * known and fresh - known > SLOWER_NS for known, fresh in pairs)
    if slower >= len(pairs) - len(pairs) // 5:
        said = f"answers to inputs seen before come from a cache: fresh inputs take {ratio:.3g}x as long"
        return Gate("uncached", Verdict.FAIL, said)
    return Gate("uncached", Verdict.PASS, f"fresh inputs take {ratio:.2f}x as long as those seen before")


def _unfinished(outputs: Sequence[Array], returned: Sequence[Array], sleep: Callable[[float], None]) -> str:
    """What shows that the call returned too early, if anything: `returned` are copies made at once."""
    for output in outputs:
        if not isinstance(output, np.ndarray | np.generic):
            return f"a call returns {type(output).__name__}, which is no host array"
    waited = 0.0
    for pause in WAITS_S:
        sleep(pause)
        waited += pause
        for number, (output, before) in enumerate(zip(outputs, returned, strict=True)):
            if output.tobytes() != before.tobytes():
                return f"output {number} changed within {waited * 1000:.0f} ms after the call had returned"
    return ""


class _Fresh:
    """Makes inputs that were never called, as much like a given one as can be.

    A few elements of each array change places, so that every value stays valid (class ids, masks, ranges) and a model
    whose time depends on its data has the same work. Zeros stay where they are if possible: they are often padding.
    """

    def __init__(self, inputs: Sequence[Sequence[Array]]) -> None:
        self._random = np.random.default_rng(0)
        self._seen = {_digest(feed) for feed in inputs}

    def like(self, feed: Sequence[Array]) -> list[Array] | None:
        """A fresh input, or None when its elements have no other order (all the same, or all orders used)."""
        for padding_stays in (True, True, True, False, False, False):
            made = [self._swapped(array, padding_stays) for array in feed]
            digest = _digest(made)
            if digest not in self._seen:
                self._seen.add(digest)
                return made
        return None

    def _swapped(self, array: Array, padding_stays: bool) -> Array:
        flat = array.flatten()
        places = np.flatnonzero(flat) if padding_stays else np.arange(flat.size)
        count = min(max(1, flat.size // (2 * SWAPPED)), places.size // 2)
        one, other = self._random.choice(places, (2, count), replace=False) if count else (places[:0], places[:0])
        flat[one], flat[other] = flat[other], flat[one]
        return flat.reshape(array.shape)


def _digest(feed: Sequence[Array]) -> bytes:
    digest = hashlib.blake2b()
    for array in feed:
        digest.update(array.tobytes())
    return digest.digest()

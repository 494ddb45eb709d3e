"""When a fresh session has reached its steady state, from the durations of its first calls.

The rule was chosen by simulation (`tests/profiles/test_warmup.py`): comparing the fastest of the last calls with the
fastest of all earlier ones finds no steady state in one of eight noisy sessions, comparing medians in one of thousands.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from keronyx.profiles.stats import median

LAST_CALLS = 4
LAST_SLOW_CALLS = 2
"""Calls at the end that are judged; two of a slow model, whose calls cost too much to make many."""

SLOW_MS = 500.0
"""A model whose call takes this long is slow."""

SAME = 1.10
"""Calls within 10 % of one another count as equally fast: noise does that, while warming up costs more."""

MOST_SLOWER = 1.25
"""The steady state may be this much slower than the fastest calls before it (a boost clock that ends)."""

MOST_CALLS = 32
MOST_MS = 5000.0
LEAST_CALLS = 4
"""A session that is not steady by then is taken as it is, see `finished`."""


def steady_after(milliseconds: Sequence[float]) -> int | None:
    """Number of calls before the steady state, or None when it is not reached (yet).

    Args:
        milliseconds: duration of each call of a fresh session in order, the first call included.

    The last 4 calls are judged by their median (the last 2, where calls take 500 ms or more). They are steady when

    - an earlier call was within 10 % of that median, or faster: then it is no longer getting faster;
    - that median is at most 1.25 times the lowest median of as many successive calls: it has not become slower;
    - they and the call before them do not rise or fall one after another by more than 10 % in all.

    The answer is the number of calls before the first one within 10 % of that median, or faster. A slow call later on
    does not change it. Calls that alternate between two durations are steady. Growth that is hidden by the noise
    within five calls is not seen here but by `profiles/drift.py`, over rounds.
    """
    count = _judged(milliseconds)
    if len(milliseconds) <= count:
        return None
    level = _median(milliseconds[-count:])
    first = next((i for i, call in enumerate(milliseconds) if call <= SAME * level), len(milliseconds))
    if first >= len(milliseconds) - count:
        return None
    fastest = min(_median(milliseconds[i : i + count]) for i in range(len(milliseconds) - count + 1))
    if level > MOST_SLOWER * fastest or _moving(milliseconds[-count - 1 :]):
        return None
    return first


def finished(milliseconds: Sequence[float]) -> bool:
    """Whether warming up is over: the steady state is reached, or the limit.

    The limit is 32 calls, or as many as take 5 s at the pace (median) of the last four, but at least 4. The pace and
    not the time spent counts, since a first call may compile for longer than that.
    """
    if steady_after(milliseconds) is not None or len(milliseconds) >= MOST_CALLS:
        return True
    return len(milliseconds) >= LEAST_CALLS and len(milliseconds) * _pace(milliseconds) >= MOST_MS


def _judged(milliseconds: Sequence[float]) -> int:
    return LAST_SLOW_CALLS if _pace(milliseconds) >= SLOW_MS else LAST_CALLS


def _pace(milliseconds: Sequence[float]) -> float:
    return _median(milliseconds[-LAST_CALLS:])


def _median(values: Sequence[float]) -> float:
    found = median(values)
    return 0.0 if found is None else found


def _moving(calls: Sequence[float]) -> bool:
    """Whether the calls rise or fall one after another, by more than 10 % in all."""
    steps = list(pairwise(calls))
    ordered = all(a < b for a, b in steps) or all(a > b for a, b in steps)
    return ordered and max(calls) > SAME * min(calls)

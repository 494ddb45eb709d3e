"""Rounds in which nothing else wanted the CPU, by the kernel's account of how long threads waited for one.

Such rounds are chosen in pairs: a round counts when neither row's turn was contended. Dropping each row's contended
turns by themselves would compare different moments, and favour the row whose turns are longer and so hit more often.
Nothing is deleted: ratios over all rounds stay the headline, those over uncontended rounds and on CPU time tell
whether a busy machine has moved them.

A row that runs more threads or callers than there are cores waits for itself: all its turns are contended.
"""

from __future__ import annotations

from collections.abc import Sequence

from keronyx.profiles import stats
from keronyx.profiles.stats import Estimate
from keronyx.types import Samples

LEAST_WAITED_NS = 100_000
"""Waiting no longer than this is that of any process on an idle machine: a timer tick, a kernel thread."""

LEAST_SHARE = 0.02
"""Waiting for less than this share of the turn's calls cannot move a latency by more than the margin of a verdict."""

LEAST_PAIRS = 6
"""Below so many rounds an order-statistic interval of the median cannot reach 95 %."""


def contended(samples: Samples, round_index: int) -> bool | None:
    """Whether the row's threads waited for a CPU in the turn of that round (from 0): longer than 100 us, and than 2 %
    of the time its timed calls took. None where there is no turn or the wait is unknown.

    Threads' waits are added up, so that what they cost the caller is at most that.
    """
    if not 0 <= round_index < min(len(samples.waited_ns), len(samples.wall_ns)):
        return None
    waited, wall = samples.waited_ns[round_index], samples.wall_ns[round_index]
    if waited is None or not wall:
        return None
    return waited > max(LEAST_WAITED_NS, LEAST_SHARE * sum(wall))


def uncontended(row: Samples, reference: Samples) -> list[int] | None:
    """Rounds (from 0) in which neither turn was contended; None when that is known of no round of both rows."""
    known = _known(row, reference)
    return [i for i, hit in known.items() if not hit] if known else None


def share(row: Samples, reference: Samples) -> float | None:
    """Share of rounds (0..1) in which either turn was contended, of those where it is known of both; else None."""
    known = _known(row, reference)
    return sum(known.values()) / len(known) if known else None


def uncontended_ratio(row: Samples, reference: Samples, level: float | None = None) -> Estimate | None:
    """`stats.paired_ratio` over the uncontended rounds; None when they are unknown or fewer than 6."""
    rounds = uncontended(row, reference)
    if rounds is None:
        return None
    found = stats.paired_ratio(_only(row, rounds), _only(reference, rounds), level)
    return found if found is not None and found.n >= LEAST_PAIRS else None


def cpu_ratio(row: Samples, reference: Samples, level: float | None = None) -> Estimate | None:
    """CPU time per call of `row` over that of `reference`, as `stats.paired_ratio`; None where neither used any.

    Waiting for a CPU uses none, so that this ratio stays true on a busy machine. It is a ratio of work and not of
    latencies: a row that keeps more cores busy can have more of the one and less of the other.
    """
    return stats.paired_ratio(Samples(wall_ns=row.cpu_ns), Samples(wall_ns=reference.cpu_ns), level)


def _known(row: Samples, reference: Samples) -> dict[int, bool]:
    """Round -> whether either turn was contended, where that is known of both."""
    known = {}
    for i in range(min(len(row.wall_ns), len(reference.wall_ns))):
        first, second = contended(row, i), contended(reference, i)
        if first is not None and second is not None:
            known[i] = first or second
    return known


def _only(samples: Samples, rounds: Sequence[int]) -> Samples:
    return Samples(wall_ns=tuple(samples.wall_ns[i] for i in rounds))

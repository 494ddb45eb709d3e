"""What the timed loop adds to a call: a session that does nothing through it, against the bare call.

The bare call is timed as `timeit` does it, with one pair of clock readings around a thousand calls. Both alternate in
this process. To hold: at most 0.3 microseconds a call.
"""

import time
from itertools import repeat

import numpy as np

from keronyx.profiles import stats
from keronyx.runtime.turn import MAX_CALLS, Nothing, take_turn
from keronyx.types import Array

ROUNDS = 200
BOUND_US = 0.3


def harness_us(session: Nothing) -> float:
    """The median call of one turn of a thousand, microseconds."""
    return float(np.median(take_turn(session, [[]], 0, 10**9).wall_ns)) / 1000


def bare_us(session: Nothing) -> float:
    """The mean of a thousand calls, microseconds."""
    run, feed = session.run, list[Array]()
    before = time.perf_counter_ns()
    for _ in repeat(None, MAX_CALLS):
        run(feed)
    return (time.perf_counter_ns() - before) / MAX_CALLS / 1000


def main() -> None:
    session = Nothing()
    pairs = [(harness_us(session), bare_us(session)) for _ in range(ROUNDS)]
    harness, bare = (np.array(values) for values in zip(*pairs, strict=True))
    found = stats.estimate(list(harness - bare))
    assert found is not None and found.interval is not None
    verdict = "met" if found.interval.high <= BOUND_US else "missed" if found.interval.low > BOUND_US else "undecided"
    print(f"bare call             {np.median(bare):6.3f} us")
    print(f"through the timed loop{np.median(harness):6.3f} us, {np.median(harness / bare):.1f} times as long")
    print(
        f"added                 {found.value:6.3f} us [{found.interval.low:.3f}, {found.interval.high:.3f}]"
        f"   to hold: <= {BOUND_US} us: {verdict}"
    )


if __name__ == "__main__":
    main()

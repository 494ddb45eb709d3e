"""Does ONNX Runtime answer this model quicker with other options than its own? Asked of the CPU, once, at export.

What it finds goes into the file (`gates/numeric.py` says where) and is followed by keronyx' own rows. Of the options
tried on a dozen networks only one ever paid: without the blocked layout (NCHWc) convolutions with kernels of 64 and
more over short signals take 5 to 12 % less time; all others take up to twice as long.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from keronyx.export.gates.latency import Ratio, compare

CANDIDATES: tuple[dict[str, Any], ...] = ({"graph_optimization_level": "extended"},)
"""What is tried against the defaults, in the order of preference."""

WORTH = 0.95
"""A choice is recorded when the whole interval of its latency ratio is below this, twice."""

Open = Callable[[dict[str, Any]], Callable[[], object]]
"""Options -> a call of the model in a fresh session with them."""


def choose(open_call: Open, clock: Callable[[], int] = time.perf_counter_ns) -> tuple[dict[str, Any], Ratio | None]:
    """The first candidate that is clearly quicker than the defaults, and its ratio; nothing, None if there is none.

    Both sessions are opened afresh for the second look: sessions differ by where their memory happens to lie.

    Args:
        clock: nanoseconds that never step back.
    """
    for candidate in CANDIDATES:
        for _ in range(2):
            ratio = compare(open_call({}), open_call(candidate), clock)
            if ratio.interval is None or ratio.interval.high >= WORTH:
                break
        else:
            return dict(candidate), ratio
    return {}, None

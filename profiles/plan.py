"""Which rows a run has, in which order, and against which of them ratios are taken."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from keronyx.errors import UsageError
from keronyx.types import Runtime, setting_name

PRECISION = "fp32"

LEAST_PROCESS_SETS, MOST_PROCESS_SETS = 3, 5
LEAST_ROUNDS_IN_SET = 6

REFERENCES = ("tf-graph/cpu", "tf-eager/cpu")
"""Rows that ratios are taken to, first one present: what a TensorFlow user runs today."""


SYNONYMS = {
    "gpu": "cuda",
    "trt": "tensorrt",
    "onnx": "ort",
    "onnxruntime": "ort",
    "tflite": "litert",
    "tensorflow": "tf-graph",
    "keras": "tf-eager",
    "xla": "tf-xla",
}
"""What else people call a provider or runtime; only used to guess what was meant."""


def row_id(
    runtime: Runtime, batch: int, precision: str = PRECISION, threads: int | None = None, concurrency: int = 1
) -> str:
    """`ort/cpu/fp32/b1`; `ort/cpu/fp32/b8/t2/c4` where thread counts are compared, with four callers."""
    return f"{runtime.name}/{runtime.provider}/{precision}/{setting_name(batch, threads, concurrency)}"


def process_sets(budget_s: float, startup_s: float, max_rounds: int) -> int:
    """How many sets of fresh processes a run is divided into: 3 to 5, or 1 when starting them again is too dear.

    Fewer than three tell nothing of the spread between processes. All starts after the first may take a third of the
    budget, and each set has rounds enough for an interval.
    """
    bears = min(1 + int(budget_s / 3 / max(startup_s, 1e-3)), max_rounds // LEAST_ROUNDS_IN_SET)
    return min(bears, MOST_PROCESS_SETS) if bears >= LEAST_PROCESS_SETS else 1


def choose(
    available: Sequence[Runtime], providers: Sequence[str], names: Sequence[str] | None = None
) -> tuple[Runtime, ...]:
    """The runtimes asked for, providers in the order given.

    Args:
        names: runtimes by name; None for all.

    Raises:
        UsageError: an unknown provider or runtime (with the closest names), or nothing left to run.
    """
    _known("provider", providers, {runtime.provider for runtime in available})
    if names is not None:
        _known("runtime", names, {runtime.name for runtime in available})
    chosen = tuple(
        runtime
        for provider in dict.fromkeys(providers)
        for runtime in available
        if runtime.provider == provider and (names is None or runtime.name in names)
    )
    if not chosen:
        raise UsageError(
            f"no runtime of {', '.join(names or ())} runs on {', '.join(providers)}", "see keronyx doctor for the pairs"
        )
    return chosen


def reference_row(rows: Sequence[str]) -> str | None:
    """The row that ratios of one batch are taken to, out of row ids that can run; None of nothing."""
    for wanted in REFERENCES:
        for row in rows:
            if row.startswith(f"{wanted}/"):
                return row
    return rows[0] if rows else None


def _known(what: str, asked: Sequence[str], known: set[str]) -> None:
    for name in asked:
        if name not in known:
            meant = SYNONYMS.get(name.lower())
            close = [meant] if meant in known else difflib.get_close_matches(name.lower(), sorted(known), 2, 0.4)
            hint = f"did you mean {' or '.join(close)}?" if close else f"one of {', '.join(sorted(known))}"
            raise UsageError(f"unknown {what} {name!r}", hint)

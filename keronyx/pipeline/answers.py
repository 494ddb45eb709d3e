"""Every row's answers against the float64 oracle of the same Keras model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from keronyx import accuracy
from keronyx.accuracy import Fixed, Truth
from keronyx.control_groups import available_memory_mib
from keronyx.errors import KeronyxError, UnavailableError, WorkerMemoryError
from keronyx.parity import Answers
from keronyx.pipeline.opening import Bench
from keronyx.runtime import find
from keronyx.runtime.handle import Opened
from keronyx.runtime.oracle import Oracle
from keronyx.types import Parity, Row, SessionRequest

NOT_STARTED = KeronyxError("interrupted before it was measured", "run again")


def check(
    bench: Bench, opened: Mapping[str, Opened], may_start: bool = True, fixed: Fixed | None = None
) -> dict[str, Parity]:
    """Row id -> parity, of every row that was opened.

    Args:
        may_start: whether the oracle's process may be started; without it nothing can be checked.
        fixed: the user's own tolerances in place of Keras' error.

    Raises:
        KeronyxError: the oracle gave no answers.
    """
    if not may_start:
        raise NOT_STARTED
    with_precision: dict[str, list[str]] = {}
    for row_id in opened:
        with_precision.setdefault(computed_in(row_id), []).append(row_id)
    count = max((len(one.files) for one in opened.values()), default=0)
    found = {}
    for precision, truth in truths(bench, count, tuple(with_precision)).items():
        for row_id in with_precision[precision]:
            answers = answers_of(opened[row_id])
            both = min(len(answers.arrays), len(truth.oracle))  # a slow row was warmed up with fewer inputs
            mine = replace(answers, arrays=answers.arrays[:both])
            expected = bench.exported.manifest.spec.outputs
            found[row_id] = accuracy.judge(mine, truth.first(both), expected, precision, fixed)
    return {row_id: found[row_id] for row_id in opened}


def truths(bench: Bench, count: int, precisions: tuple[str, ...]) -> dict[str, Truth]:
    """What rows of these precisions are judged by, on the first `count` inputs at most. Raises KeronyxError."""
    has_keras = bench.exported.manifest.artifact("keras") is not None
    runtime = find("tf-eager" if has_keras else "tf-graph", "cpu")
    found = bench.artifact(runtime)
    if isinstance(found, Row):
        raise UnavailableError(found.reason, found.remedy)
    request = bench.request(runtime, found[0])
    return {precision: _truth(bench, request, count, precision) for precision in precisions}


def _truth(bench: Bench, request: SessionRequest, count: int, precision: str) -> Truth:
    """From a process of its own; where that runs out of memory, without float64 from another."""
    folder: Path = bench.scratch / f"oracle-{precision}"
    folder.mkdir(exist_ok=True)
    try:
        return _asked(bench, request, count, precision, folder, "")
    except WorkerMemoryError:
        return _asked(bench, request, count, precision, folder, "it ran out of memory")


def _asked(bench: Bench, request: SessionRequest, count: int, precision: str, folder: Path, no_float64: str) -> Truth:
    limit = bench.options.memory_limit_mib or available_memory_mib() * 0.9
    oracle = Oracle(request, bench.options.timeout_s, limit)
    try:
        oracle.open()
        return oracle.truth(bench.files, count, precision, folder, no_float64)
    finally:
        oracle.close()


def computed_in(row_id: str) -> str:
    """What a row's convolutions and matrix products compute in: on a GPU TF32 by every runtime's default."""
    provider = row_id.split("/")[1]
    return "float32" if provider == "cpu" else "tf32"


def answers_of(opened: Opened) -> Answers:
    """The answers a row gave while it was warmed up."""
    arrays = [[np.load(path, allow_pickle=False) for path in paths] for paths in opened.files]
    return Answers(opened.outputs, arrays)

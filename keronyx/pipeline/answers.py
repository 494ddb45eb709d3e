"""Every row's answers against those of Keras itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from keronyx import parity
from keronyx.errors import KeronyxError, UnavailableError
from keronyx.parity import Answers
from keronyx.pipeline.opening import Bench
from keronyx.runtime import find
from keronyx.runtime.handle import Opened
from keronyx.types import Parity, Row

NOT_STARTED = KeronyxError("interrupted before it was measured", "run again")


def check(bench: Bench, opened: Mapping[str, Opened], may_start: bool = True) -> dict[str, Parity]:
    """Row id -> parity, of every row that was opened.

    Args:
        may_start: whether a process may be started for the reference's answers where no row has them.

    Raises:
        KeronyxError: the reference gave no answers.
    """
    name, reference = _reference(bench, opened, may_start)
    manifest = bench.exported.manifest
    computed = "float32" if manifest.precision == "float64" else manifest.precision  # as some artifacts do compute
    expected, tolerance = manifest.spec.outputs, parity.TOLERANCES.get(computed, parity.FLOAT32)
    found = {}
    for row_id, one in opened.items():
        answers = _answers(one)
        both = min(len(answers.arrays), len(reference.arrays))  # a slow row was warmed up with fewer inputs
        right = replace(reference, arrays=reference.arrays[:both])
        found[row_id] = parity.check(replace(answers, arrays=answers.arrays[:both]), right, expected, name, tolerance)
    return found


def _reference(bench: Bench, opened: Mapping[str, Opened], may_start: bool) -> tuple[str, Answers]:
    """What Keras itself answers: the eager row's own outputs, or those of a process opened for this alone."""
    has_keras = bench.exported.manifest.artifact("keras") is not None
    runtime = find("tf-eager" if has_keras else "tf-graph", "cpu")
    precision = bench.exported.manifest.precision
    name = f"Keras {precision} (eager)" if has_keras else "the SavedModel (tf.function)"
    row_id = bench.blank(runtime).id
    if row_id in opened:
        return name, _answers(opened[row_id])
    if not may_start:
        raise NOT_STARTED
    found = bench.artifact(runtime)
    if isinstance(found, Row):
        raise UnavailableError(found.reason, found.remedy)
    worker = bench.worker("reference", runtime, found[0])
    try:
        return name, _answers(bench.warm_up(worker))
    finally:
        worker.close()


def _answers(opened: Opened) -> Answers:
    arrays = [[np.load(path, allow_pickle=False) for path in paths] for paths in opened.files]
    return Answers(opened.outputs, arrays)

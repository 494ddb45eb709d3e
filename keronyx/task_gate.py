"""The task gate: does a row score as Keras does on labelled data? For some rows it decides in place of other gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from keronyx.types import Gate, Parity, TaskScore, Verdict

ENOUGH_IMAGES = 30
"""Below this the task overrules no other gate: an interval of few images is a guess."""


def with_task(parity: Parity, scores: Sequence[TaskScore], max_drop: float, decides: bool) -> Parity:
    """The parity with gate `task`: no score may be lower than Keras' by more than `max_drop`.

    A difference counts by its interval: one wholly below the limit fails, one wholly above passes, and one across it is
    undecided, which the gate says without failing. Scores without an interval (too few images) decide nothing.

    Args:
        decides: whether the task overrules the tensor and argmax gates, as for precisions below float32, where there
            are ENOUGH_IMAGES.
    """
    if not scores:
        return parity
    known = [one for one in scores if np.isfinite(one.low) and np.isfinite(one.high)]
    lost = [one for one in scores if np.isfinite(one.reference) and not np.isfinite(one.value)]
    if lost:
        said = f"{lost[0].name} is no number, Keras' is {lost[0].reference:.4f}"
        gate = Gate("task", Verdict.FAIL, said)
    elif not known:
        gate = Gate("task", Verdict.NOT_RUN, f"undecided: {scores[0].images} images are too few for an interval")
    elif min(one.high for one in known) < -max_drop:
        fallen = min(known, key=lambda one: one.high)
        gate = Gate("task", Verdict.FAIL, f"{_change(fallen)}, a drop of more than {max_drop:g}")
    else:
        lowest = min(known, key=lambda one: one.low)
        decided = lowest.low >= -max_drop
        said = _change(lowest) if decided else f"undecided: {_change(lowest)}; more images would tell"
        gate = Gate("task", Verdict.PASS if decided else Verdict.NOT_RUN, said)
    decides = decides and len(scores) > 0 and scores[0].images >= ENOUGH_IMAGES
    gates = (*parity.gates, gate)
    strict = [one for one in gates if not (decides and one.name in ("tensor", "argmax"))]
    if decides and gate.verdict is Verdict.NOT_RUN:
        strict = list(gates)
    failed = any(one.verdict is Verdict.FAIL for one in strict)
    return replace(parity, verdict=Verdict.FAIL if failed else Verdict.PASS, gates=gates, task=tuple(scores))


def task_failed(parity: Parity, why: str) -> Parity:
    """The parity with gate `task` failed, because the row's answers could not be scored."""
    gates = (*parity.gates, Gate("task", Verdict.FAIL, why))
    return replace(parity, verdict=Verdict.FAIL, gates=gates)


def _change(score: TaskScore) -> str:
    """`official F -0.0012 [-0.0019, -0.0004] against Keras over 40 images`."""
    difference = f"{score.name} {score.value - score.reference:+.4f} [{score.low:+.4f}, {score.high:+.4f}]"
    return f"{difference} against Keras over {score.images} images"

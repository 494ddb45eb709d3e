"""The model computed in float32 beside Keras' own answers: near enough for what the precision is?

Its answers are what the ONNX file is then compared with, under float32's limits: those of bfloat16 are so wide that a
wrong file would pass them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keronyx import parity
from keronyx.errors import ExportError
from keronyx.export.gates import numeric, references
from keronyx.export.gates.trials import Trial
from keronyx.export.in_float32 import SOMETIMES, in_float32
from keronyx.parity import Answers, Tolerance
from keronyx.types import ModelSpec, Parity, Verdict

EXCUSED = 0.3
"""What rounding to a coarse precision can excuse at most, in each figure: the answers still are about the same."""


def answered(model: Any, spec: ModelSpec, own: Sequence[Trial], dtypes: frozenset[str]) -> tuple[list[Trial], str]:
    """The trials as the model answers them in float32, and how far that is from Keras' own answers.

    Args:
        own: trials with Keras' own answers.
        dtypes: what is to be computed in float32 instead.

    Raises:
        ExportError: further off than the model's precision allows, and than rounding in it explains.
    """
    precision = references.precision(model)
    tolerance = parity.TOLERANCES["float32" if precision == SOMETIMES else precision]
    kept, _ = numeric.comparable(own, spec)
    with in_float32(model, dtypes):
        twin = [Trial(trial.kind, trial.inputs, references.answers(model, spec, trial.inputs)) for trial in own]
        found = [_compared(spec, own[i], twin[i], tolerance) for i in kept]
        within = all(one.verdict is Verdict.PASS for one in found)
        if not within:
            moved = references.rounded(model, spec, twin, precision)
            found = [_compared(spec, own[i], twin[i], tolerance, moved[i]) for i in kept]
    for i, one in zip(kept, found, strict=True):
        if one.verdict is Verdict.FAIL:
            why = next(gate.detail for gate in one.gates if gate.verdict is Verdict.FAIL)
            raise ExportError(
                f"computed in float32 the model does not answer as in {precision}: {why} ({own[i].kind} input)",
                "build it under the float32 policy, load the same weights, and look whether it is as good",
            )
    typical = max((difference.typical for one in found for difference in one.outputs), default=0.0)
    near = f"in float32 {typical:.1e} of RMS from Keras' own answers"
    return twin, near if within else f"warning: {near}, which rounding to {precision} explains"


def _compared(spec: ModelSpec, own: Trial, twin: Trial, tolerance: Tolerance, moved: Trial | None = None) -> Parity:
    made, right = Answers(spec.outputs, [own.answers]), Answers(spec.outputs, [twin.answers])
    rounding = None if moved is None else Answers(spec.outputs, [moved.answers])
    return parity.check(made, right, spec.outputs, "Keras in float32", tolerance, rounding, EXCUSED)

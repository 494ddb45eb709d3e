"""Does ONNX Runtime give Keras' answers, with its own graph optimizations off and on?

Where it does not because of one of these optimizations, the file says which to leave out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keronyx import parity
from keronyx.control_groups import usable_cores
from keronyx.export.gates import Refusal, RefusedError, all_nodes, contract, layer_of_message
from keronyx.export.gates.optimizers import find_guilty
from keronyx.export.gates.ties import settled
from keronyx.export.gates.trials import Trial
from keronyx.parity import Answers, Tolerance
from keronyx.process import one_line
from keronyx.types import Array, ModelSpec, Verdict

SESSION_OPTIONS = "keronyx.session_options"
"""Key in a file's metadata: JSON such as {"disabled_optimizers": ["Pad_Fusion"]}, what it needs to be right."""


@dataclass(frozen=True)
class Judged:
    """What the gate found: why it refuses, or which optimizers must be left out, and the largest `typical` error."""

    refusal: Refusal | None
    disabled: tuple[str, ...] = ()
    typical: float = 0.0

    def within(self, disabled: Sequence[str]) -> bool:
        """Whether the file passes with no further optimizers left out than these."""
        return self.refusal is None and set(self.disabled) <= set(disabled)


def open_session(path: Path, optimized: bool = True, disabled: Sequence[str] = (), level: str = "all") -> Any:
    """An InferenceSession on the CPU, on all usable cores, every other option at its default."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    options.log_severity_level = 4
    levels = onnxruntime.GraphOptimizationLevel
    if not optimized:
        options.graph_optimization_level = levels.ORT_DISABLE_ALL
    elif level == "extended":
        options.graph_optimization_level = levels.ORT_ENABLE_EXTENDED
    return onnxruntime.InferenceSession(
        str(path),
        options,
        providers=["CPUExecutionProvider"],
        enable_fallback=False,
        disabled_optimizers=list(disabled),
    )


def run(session: Any, spec: ModelSpec, inputs: Sequence[Array]) -> list[Array]:
    """One call; outputs in the model's order."""
    feed = {tensor.name: array for tensor, array in zip(spec.inputs, inputs, strict=True)}
    return [np.asarray(array) for array in session.run([tensor.name for tensor in spec.outputs], feed)]


def judge(
    path: Path,
    spec: ModelSpec,
    trials: Sequence[Trial],
    tolerance: Tolerance,
    rounding: Sequence[Trial] = (),
    search: bool = True,
) -> Judged:
    """Compare ONNX Runtime's answers with Keras' on every trial.

    Args:
        trials: with Keras' answers, not all of them NaN or Inf.
        rounding: the same with the answers Keras gives when its weights are moved by rounding, if those are known.
        search: whether to look for the optimizer that is guilty of wrong numbers. What cannot even be loaded with
            them is looked into in any case.
    """

    def optimized(disabled: Sequence[str] = ()) -> float:
        return compare(load(path, spec, disabled=disabled), spec, trials, tolerance, rounding, "on")

    def wrong(disabled: Sequence[str]) -> bool:
        try:
            optimized(disabled)
        except RefusedError:
            return True
        return False

    try:
        typical = compare(load(path, spec, optimized=False), spec, trials, tolerance, rounding, "off")
    except RefusedError as refused:
        return Judged(refused.refusal)
    try:
        return Judged(None, typical=max(typical, optimized()))
    except RefusedError as refused:
        if (search or refused.refusal.gate == "structure") and (guilty := find_guilty(wrong)):
            return Judged(None, guilty, typical)
        return Judged(refused.refusal)


def load(path: Path, spec: ModelSpec, optimized: bool = True, disabled: Sequence[str] = ()) -> Any:
    """A session of a model the checker accepts. Raises RefusedError when it cannot be loaded or is another's."""
    try:
        session = open_session(path, optimized, disabled)
    except Exception as error:
        import onnx

        nodes = all_nodes(onnx.load(str(path), load_external_data=False).graph)
        said = f"ONNX Runtime cannot load it: {one_line(error)}"
        raise RefusedError(Refusal("structure", said, layer_of_message(str(error), nodes))) from error
    if refusal := contract.refusal_of_session(session, spec):
        raise RefusedError(refusal)
    return session


def compare(
    session: Any,
    spec: ModelSpec,
    trials: Sequence[Trial],
    tolerance: Tolerance,
    rounding: Sequence[Trial],
    optimizations: str,
) -> float:
    """The largest `typical` error of a session's answers. Raises RefusedError when they are not Keras'."""
    typical = 0.0
    for i, trial in enumerate(trials):
        where = f"{trial.kind} input, ONNX Runtime's own optimizations {optimizations}"
        try:
            answers = run(session, spec, trial.inputs)
        except Exception as error:
            said = f"ONNX Runtime cannot run it: {one_line(error)} ({where})"
            raise RefusedError(Refusal("numeric", said, trial=i)) from error
        moved = Answers(spec.outputs, [rounding[i].answers]) if rounding else None
        answers = settled(answers, trial.answers, rounding[i].ties) if rounding else answers
        made, right = Answers(spec.outputs, [answers]), Answers(spec.outputs, [trial.answers])
        found = parity.check(made, right, spec.outputs, "Keras", tolerance, moved)
        if found.verdict is Verdict.FAIL:
            said = next(gate.detail for gate in found.gates if gate.verdict is Verdict.FAIL)
            raise RefusedError(Refusal("numeric", f"{said} ({where})", trial=i))
        typical = max([typical, *(d.typical for d in found.outputs)])
    return typical


def comparable(trials: Sequence[Trial], spec: ModelSpec) -> tuple[list[int], list[str]]:
    """Which trials have answers to compare with, and what to say of those that have not or that prove little."""
    said, kept = [], []
    for i, trial in enumerate(trials):
        empty = [
            tensor.name
            for tensor, array in zip(spec.outputs, trial.answers, strict=True)
            if array.dtype.kind in "fV" and array.size and not np.isfinite(np.asarray(array, np.float64)).any()
        ]
        if empty:
            said.append(f"Keras' own {', '.join(empty)} is all NaN or Inf for {trial.kind} input: not compared")
        else:
            kept.append(i)
    for k, tensor in enumerate(spec.outputs):
        values = [np.unique(trials[i].answers[k]) for i in kept]
        if values and all(v.size == 1 and v[0] == values[0][0] for v in values):
            said.append(f"{tensor.name} is {values[0][0]} whatever the input: comparing it proves little")
    return kept, said

"""Does a row give the reference's answers? Gates in order: structure, finite, tensor, argmax.

Tensor level only: outputs against the Keras model's own float32 outputs on the same inputs. NaN and Inf are looked for
before any error is computed, because comparisons with NaN are silently false.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keronyx.types import Array, Gate, OutputDifference, Parity, TensorSpec, Verdict

RELATIVE_RMS = 1e-3
"""Most RMS(error)/RMS(reference) of a float32 row. Correct float32 conversions stay below 1e-5 on smooth networks and
reach a few 1e-4 where single labels flip (networks that choose by equality, such as ENet's un-pooling)."""

ARGMAX_FLIPS = 1e-3
"""Most share of positions whose argmax may differ: ties and near-ties do flip in float32."""


@dataclass(frozen=True)
class Answers:
    """Outputs of one row: `arrays[i][k]` is output k for parity input i; `specs` as the runtime itself reports them."""

    specs: tuple[TensorSpec, ...]
    arrays: Sequence[Sequence[Array]]


def check(answers: Answers, reference: Answers, expected: tuple[TensorSpec, ...], reference_name: str) -> Parity:
    """Pass the gates in order; a failed gate leaves the later ones not run.

    Args:
        expected: the model's outputs, which names, order, shapes and dtypes must equal.
    """
    gates: list[Gate] = []
    differences: tuple[OutputDifference, ...] = ()

    def failed(name: str, problem: str | None, passed: str) -> bool:
        gates.append(Gate(name, Verdict.FAIL if problem else Verdict.PASS, problem or passed))
        return problem is not None

    if not failed("structure", _structure(answers, expected), f"{len(expected)} outputs as the model has them"):
        problem = _finite(answers, reference, expected)
        if not failed("finite", problem, "no NaN or Inf"):
            differences = tuple(
                _difference(spec.name, [a[k] for a in answers.arrays], [r[k] for r in reference.arrays])
                for k, spec in enumerate(expected)
            )
            worst = max(differences, key=lambda d: d.relative_rms)
            said = f"relative RMS error {worst.relative_rms:.1e}, largest error {worst.max_abs:.1e} ({worst.name})"
            wrong = worst.relative_rms > RELATIVE_RMS
            if not failed("tensor", f"{said}, more than {RELATIVE_RMS:g}" if wrong else None, said):
                failed("argmax", *_argmax(differences))
    for name in ("structure", "finite", "tensor", "argmax")[len(gates) :]:
        gates.append(Gate(name, Verdict.NOT_RUN, "an earlier gate failed"))
    verdict = Verdict.FAIL if any(gate.verdict is Verdict.FAIL for gate in gates) else Verdict.PASS
    return Parity(verdict, reference_name, len(reference.arrays), tuple(gates), differences)


def _structure(answers: Answers, expected: tuple[TensorSpec, ...]) -> str | None:
    made = [(spec.name, spec.dtype) for spec in answers.specs]
    wanted = [(spec.name, spec.dtype) for spec in expected]
    if made != wanted:
        return f"outputs are {_names(made)}, the model's {_names(wanted)}"
    for arrays in answers.arrays:
        if len(arrays) != len(expected):
            return f"{len(arrays)} outputs, the model has {len(expected)}"
        for array, spec in zip(arrays, expected, strict=True):
            fits = len(array.shape) == len(spec.shape) and all(
                size is None or size == actual for size, actual in zip(spec.shape, array.shape, strict=True)
            )
            if not fits or array.dtype.name != spec.dtype:
                return f"{spec.name} is {array.dtype.name}{list(array.shape)}, not {spec.dtype}{list(spec.shape)}"
    return None


def _finite(answers: Answers, reference: Answers, expected: tuple[TensorSpec, ...]) -> str | None:
    """NaN or Inf where the reference has a number, or the other way round."""
    for i, (arrays, wanted) in enumerate(zip(answers.arrays, reference.arrays, strict=True)):
        for array, right, spec in zip(arrays, wanted, expected, strict=True):
            if not np.issubdtype(array.dtype, np.inexact):
                continue
            bad = int(np.sum(np.isfinite(array) != np.isfinite(right)))
            if bad:
                return f"{bad} of {array.size} values of {spec.name} are NaN or Inf where Keras' are not (input {i})"
    return None


def _difference(name: str, actual: Sequence[Array], reference: Sequence[Array]) -> OutputDifference:
    """Error figures of one output over all inputs, in float64."""
    a = np.stack([np.asarray(x, np.float64) for x in actual])
    b = np.stack([np.asarray(x, np.float64) for x in reference])
    both = np.isfinite(a) & np.isfinite(b)
    a, b = np.where(both, a, 0), np.where(both, b, 0)
    error = np.abs(a - b)
    worst = np.unravel_index(int(np.argmax(error)), error.shape) if error.size else (0,) * error.ndim
    scale = float(np.sqrt(np.mean(b**2))) if b.size else 0.0
    rms = float(np.sqrt(np.mean(error**2))) if b.size else 0.0
    product = float(np.linalg.norm(a) * np.linalg.norm(b))
    cosine = float(np.sum(a * b) / product) if product else float(not error.any())
    flips = None
    if a.ndim > 1 and a.shape[-1] > 1:
        flips = float(np.mean(a.argmax(-1) != b.argmax(-1)))
    relative = rms / scale if scale else (0.0 if rms == 0 else float("inf"))
    return OutputDifference(
        name,
        float(error.max(initial=0)),
        relative,
        cosine,
        flips,
        tuple(int(i) for i in worst),
        float(b[worst]) if b.size else 0.0,
        float(a[worst]) if a.size else 0.0,
    )


def _argmax(differences: Sequence[OutputDifference]) -> tuple[str | None, str]:
    """The problem, if any, and what to say otherwise."""
    flips = [(d.argmax_flips, d.name) for d in differences if d.argmax_flips is not None]
    if not flips:
        return None, "no output has classes"
    share, name = max(flips)
    said = f"{share:.2g} of positions of {name} change class"
    return (f"{said}, more than {ARGMAX_FLIPS:g}" if share > ARGMAX_FLIPS else None), said


def _names(specs: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {dtype}" for name, dtype in specs)

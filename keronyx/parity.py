"""Does an exported file give the reference's answers? Gates in order: structure, finite, tensor, argmax.

What `export` holds its files to, with limits by precision; rows are judged by a float64 oracle (`accuracy.py`).

Tensor level only: outputs against the Keras model's own outputs on the same inputs. NaN and Inf are looked for before
any error is computed, because comparisons with NaN are silently false. Outputs that are no floating-point numbers are
judged by the share of values that differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keronyx.types import Array, Gate, OutputDifference, Parity, TensorSpec, Verdict

TYPICAL = 3e-4
"""Most `typical` error of a float32 row. Rounding left 4e-6 (model-v4), 3e-5 (unet:16) and 8e-5 (enet) where it was
measured; one filter of 2 % too much left 1e-4 to 1e-1. One fixed limit cannot separate the two in every network."""

OUTLIER = 1e-2
"""An error above this share of RMS(reference) is an outlier."""

OUTLIERS = 1e-3
"""Most share of outliers. Correct float32 rows have some in networks that choose by equality: in ENet one un-pooling
window that is nearly tied may go to another pixel, and moves some hundred values of 384,000."""

ARGMAX_FLIPS = 1e-3
"""Most share of positions whose argmax may differ, ties within `TYPICAL` not counted."""


ROUNDING = 8
"""How many times as far as the reference itself moves under rounding a row may be from it: sums in another order, and
convolutions by another algorithm, round more often than once."""

MOST = 0.03
"""However much the reference moves under rounding: nothing above this is allowed for it, in any of the figures, unless
the caller says otherwise."""


@dataclass(frozen=True)
class Tolerance:
    """Most `typical` error, what an outlier is, most share of those, most share of changed classes."""

    typical: float = TYPICAL
    outlier: float = OUTLIER
    outliers: float = OUTLIERS
    flips: float = ARGMAX_FLIPS


FLOAT32 = Tolerance()

TOLERANCES = {
    "float64": Tolerance(1e-6, 3e-5),  # not that of float64 itself: Keras resizes in float32 all the same
    "float32": FLOAT32,
    "float16": Tolerance(2e-2, 1e-1, 1e-2, 1e-2),
    "bfloat16": Tolerance(1e-1, 3e-1, 1e-2, 3e-2),
}
"""By the coarsest precision a model computes in; what computes in float32 instead of float64 is held to float32's.
Rounding errors of the coarser three are 2**-24, 2**-11 and 2**-8 an operation; the limits are some 5000, 40 and 25 of
those, since errors of the coarse ones stop at the next layer that is finer."""


@dataclass(frozen=True)
class Answers:
    """Outputs of one row: `arrays[i][k]` is output k for parity input i; `specs` as the runtime itself reports them."""

    specs: tuple[TensorSpec, ...]
    arrays: Sequence[Sequence[Array]]


def check(
    answers: Answers,
    reference: Answers,
    expected: tuple[TensorSpec, ...],
    reference_name: str,
    tolerance: Tolerance = FLOAT32,
    rounding: Answers | None = None,
    most: float = MOST,
) -> Parity:
    """Pass the gates in order; a failed gate leaves the later ones not run.

    Args:
        expected: the model's outputs, which names, order, shapes and dtypes must equal.
        tolerance: what the model's precision allows.
        rounding: the reference's answers with every weight and input moved by rounding, when that is known: a network
            that multiplies such errors may be ROUNDING times as far from its reference, each output by itself.
        most: what rounding can excuse at most, in each figure.
    """
    gates: list[Gate] = []
    differences: tuple[OutputDifference, ...] = ()

    def failed(name: str, problem: str | None, passed: str) -> bool:
        gates.append(Gate(name, Verdict.FAIL if problem else Verdict.PASS, problem or passed))
        return problem is not None

    if not failed("structure", structure_problem(answers, reference, expected), "outputs as the model has them"):
        problem = finite_problem(answers, reference, expected)
        if not failed("finite", problem, "NaN and Inf only where the reference has them, if anywhere"):
            tolerances = _tolerances(tolerance, rounding, reference, expected, most)
            differences = _differences(answers, reference, expected, tolerances)
            if not failed("tensor", *_tensor(differences, tolerances)):
                failed("argmax", *_argmax(differences, tolerances))
    for name in ("structure", "finite", "tensor", "argmax")[len(gates) :]:
        gates.append(Gate(name, Verdict.NOT_RUN, "an earlier gate failed"))
    verdict = Verdict.FAIL if any(gate.verdict is Verdict.FAIL for gate in gates) else Verdict.PASS
    return Parity(verdict, reference_name, len(reference.arrays), tuple(gates), differences)


def structure_problem(answers: Answers, reference: Answers, expected: tuple[TensorSpec, ...]) -> str | None:
    """Names, order, dtypes, shapes or counts that are not the model's, in words; None when all are."""
    made = [(spec.name, spec.dtype) for spec in answers.specs]
    wanted = [(spec.name, spec.dtype) for spec in expected]
    if made != wanted:
        return f"outputs are {_names(made)}, the model's {_names(wanted)}"
    if len(answers.arrays) != len(reference.arrays):
        return f"answers for {len(answers.arrays)} inputs, the reference has {len(reference.arrays)}"
    for arrays, wanted_arrays in zip(answers.arrays, reference.arrays, strict=True):
        if len(arrays) != len(expected):
            return f"{len(arrays)} outputs, the model has {len(expected)}"
        for array, right, spec in zip(arrays, wanted_arrays, expected, strict=True):
            fits = len(array.shape) == len(spec.shape) and all(
                size is None or size == actual for size, actual in zip(spec.shape, array.shape, strict=True)
            )
            dtype = "string" if array.dtype.kind in "OSU" else array.dtype.name
            if not fits or dtype != spec.dtype:
                return f"{spec.name} is {dtype}{list(array.shape)}, not {spec.dtype}{list(spec.shape)}"
            if array.shape != right.shape:  # where the model leaves a dimension open
                return f"{spec.name} is {list(array.shape)}, the reference's {list(right.shape)}"
    return None


def finite_problem(answers: Answers, reference: Answers, expected: tuple[TensorSpec, ...]) -> str | None:
    """NaN or Inf where the reference has a number or another of them, or the other way round."""
    for i, (arrays, wanted) in enumerate(zip(answers.arrays, reference.arrays, strict=True)):
        for array, right, spec in zip(arrays, wanted, expected, strict=True):
            if not np.issubdtype(array.dtype, np.inexact):
                continue
            odd = ~(np.isfinite(array) & np.isfinite(right))
            same = (array == right) | (np.isnan(array) & np.isnan(right))
            bad = int(np.sum(odd & ~same))
            if bad:
                where = f"{array.size} values of {spec.name} (input {i})"
                return f"NaN or Inf on one side only, or another one, in {bad} of {where}"
            if odd.size and odd.all():
                return f"{spec.name} is nothing but NaN or Inf, in the reference too: nothing to compare (input {i})"
    return None


def _tolerances(
    tolerance: Tolerance, rounding: Answers | None, reference: Answers, expected: tuple[TensorSpec, ...], most: float
) -> list[Tolerance]:
    """One for each output: what the precision allows, or what rounding does to the reference itself."""
    same = [tolerance] * len(expected)
    if rounding is None:
        return same

    def allowed(limit: float, moved: float) -> float:
        return max(limit, min(ROUNDING * moved, most))

    return [
        Tolerance(
            allowed(tolerance.typical, d.typical),
            tolerance.outlier,
            allowed(tolerance.outliers, d.outliers),
            allowed(tolerance.flips, d.argmax_flips or 0.0),
        )
        for d in _differences(rounding, reference, expected, same)
    ]


def _tensor(differences: Sequence[OutputDifference], tolerances: Sequence[Tolerance]) -> tuple[str | None, str]:
    """The problem, if any, and what to say otherwise."""
    for d, limit in zip(differences, tolerances, strict=True):
        if not d.typical <= limit.typical:
            return f"typical error of {d.name} is {d.typical:.1e} of its RMS, more than {limit.typical:.2g}", ""
        if d.outliers > limit.outliers:
            return (
                f"{d.outliers:.2g} of {d.name} is off by over {limit.outlier:g} of its RMS, more than "
                f"{limit.outliers:.2g}",
                "",
            )
    worst = max(differences, key=lambda d: d.typical)
    return None, f"typical error {worst.typical:.1e} of RMS, largest error {worst.max_abs:.1e} ({worst.name})"


def _differences(
    answers: Answers, reference: Answers, expected: tuple[TensorSpec, ...], tolerances: Sequence[Tolerance]
) -> tuple[OutputDifference, ...]:
    return tuple(
        difference(spec.name, [a[k] for a in answers.arrays], [r[k] for r in reference.arrays], tolerances[k])
        for k, spec in enumerate(expected)
    )


def difference(
    name: str, actual: Sequence[Array], reference: Sequence[Array], tolerance: Tolerance = FLOAT32
) -> OutputDifference:
    """Error figures of one output over all inputs, in float64. Of a name or an index, any difference is an outlier."""
    measured = all(np.issubdtype(x.dtype, np.inexact) for x in reference)
    if not all(np.issubdtype(x.dtype, np.number) or x.dtype == np.bool_ for x in reference):  # text
        actual = [np.not_equal(a, r) for a, r in zip(actual, reference, strict=True)]
        reference = [np.zeros(x.shape) for x in reference]
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
    classes = measured and a.ndim > 1 and a.shape[-1] > 1 and a.size
    flips = _flips(a, b, tolerance.typical * scale) if classes else None
    if scale:
        relative, typical = rms / scale, float(np.quantile(error, 0.99)) / scale
        outliers = float(np.mean(error > tolerance.outlier * scale))
    else:  # any processor may take for zero what is below the smallest normal number
        tiny = max((float(np.finfo(x.dtype).smallest_normal) for x in reference), default=0.0) if measured else 0.0
        relative = typical = 0.0 if error.max(initial=0) <= tiny else float("inf")
        outliers = float(np.mean(error > tiny)) if error.size else 0.0
    if not measured and error.size:
        typical, outliers = 0.0, float(np.mean(error > 0))
    return OutputDifference(
        name,
        float(error.max(initial=0)),
        relative,
        typical,
        outliers,
        cosine,
        flips,
        tuple(int(i) for i in worst),
        float(b[worst]) if b.size else 0.0,
        float(a[worst]) if a.size else 0.0,
    )


def _flips(actual: Array, reference: Array, tie: float) -> float:
    """Share of positions whose argmax over the last axis differs, where the reference's lead is more than `tie`.

    A network that has learned nothing has classes closer to each other than float32 rounding.
    """
    mine, right = actual.argmax(-1)[..., None], reference.argmax(-1)[..., None]
    lead = np.take_along_axis(reference, right, -1) - np.take_along_axis(reference, mine, -1)
    return float(np.mean(lead > tie))


def _argmax(differences: Sequence[OutputDifference], tolerances: Sequence[Tolerance]) -> tuple[str | None, str]:
    """The problem, if any, and what to say otherwise."""
    flips = [
        (d.argmax_flips, d.name, limit.flips)
        for d, limit in zip(differences, tolerances, strict=True)
        if d.argmax_flips is not None
    ]
    if not flips:
        return None, "no output has classes"
    share, name, most = max(flips, key=lambda one: one[0] - one[2])
    said = f"{share:.2g} of positions of {name} change class"
    return (f"{said}, more than {most:.2g}" if share > most else None), said


def _names(specs: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {dtype}" for name, dtype in specs)

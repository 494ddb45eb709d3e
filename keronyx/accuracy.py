"""Is a row as exact as Keras itself? Errors against a float64 oracle, in units of Keras' own rounding error.

The oracle is the same Keras model evaluated in float64. Keras' own answers are off from it by what rounding does to
this network; a correct row by about as much, whatever the network, so that no tolerance has to be chosen. One
evaluation is one draw of rounding, so Keras is also asked with weights and inputs moved by a unit in the last place,
and the largest of these errors is the yardstick.

An output of probabilities is judged by its logarithms too ("logits"): a flat or saturated softmax hides errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from keronyx.parity import Answers, difference, finite_problem, structure_problem
from keronyx.types import Array, Gate, OutputDifference, Parity, TensorSpec, Verdict

EXACT = 3.0
"""Up to this ratio a row is as exact as Keras itself. The largest of 313 outputs of correct rows (tf-xla, ONNX Runtime,
LiteRT, OpenVINO; 35 models, 2 cores) was 2.3: bicubic resizing, whose weights other runtimes compute in another way."""

WRONG = 5.0
"""From this ratio on a row is wrong; in between it is worse by that factor, which is said and passes. Of 20 faults of
one bias 1 % too large in a trained network the least visible was at 5.5 (docs/parity.md)."""

QUANTILES = (0.5, 0.9, 0.99)
"""Of the absolute error, each compared with the same of Keras."""

TAIL = 16.0
"""Errors above this many times the yardstick's 99th percentile are counted, in the row and in Keras."""

TAIL_SHARE = 1e-4
"""Share of such errors a row may have besides four times Keras' own share, or FEW of them in a small output."""

FEW = 2

MOST_JUMPS = 1e-2
"""Share of such errors that Keras' own jumps can excuse at most.

A network that chooses by comparison (un-pooling to where a maximum was) answers quite otherwise in some place when two
values are nearly tied. So rarely, perhaps, that no evaluation shows it but the row's; so Keras is shaken as well, by
SHAKEN units in the last place: errors that grow by more than that are jumps.
"""

SHAKEN = 8
"""Units in the last place that all weights and inputs are moved by to see jumps."""

GROWTH = SHAKEN * 12**0.5
"""How much more that is than rounding, whose deviation is the root of 1/12 unit."""

FURTHEST = 30.0
"""No error is allowed above this many times the largest of Keras'."""

FLIPS = 1e-4
"""Share of positions whose class may change besides four times what rounding changes in Keras and what shaking does."""

SMALLEST = 1e-20
"""Probabilities below this are all the same to the logits."""

LIMITS = {
    "exact": EXACT,
    "wrong": WRONG,
    "tail": TAIL,
    "tail_share": TAIL_SHARE,
    "few": FEW,
    "most_jumps": MOST_JUMPS,
    "shaken": SHAKEN,
    "furthest": FURTHEST,
    "flips": FLIPS,
}
"""Every number that decides a verdict, by name."""

GATES = ("structure", "finite", "tensor", "argmax")

COARSEST = {"float32": 2.0**-24, "tf32": 2.0**-11, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""Rounding error of one operation, relatively: no row can be asked for less than that in its answers."""


@dataclass(frozen=True)
class Truth:
    """What rows are judged by. All are indexed [input][output], in the model's order.

    `oracle` holds float64 (or what is no float as it is), `keras` the model's own answers, `moved` the answers of
    Keras in the row's precision with weights and inputs moved by rounding, one or more sets, `shaken` by SHAKEN units.
    """

    oracle: Sequence[Sequence[Array]]
    keras: Answers
    moved: Sequence[Sequence[Sequence[Array]]]
    name: str
    """What errors are taken to, in words: `float64 oracle`."""
    yardstick: str
    """Whose own error they are judged by: `Keras float32`."""
    shaken: Sequence[Sequence[Array]] = ()

    def first(self, count: int) -> Truth:
        """The same for the first inputs only."""
        moved = tuple(one[:count] for one in self.moved)
        keras = replace(self.keras, arrays=self.keras.arrays[:count])
        return replace(self, oracle=self.oracle[:count], keras=keras, moved=moved, shaken=self.shaken[:count])


@dataclass(frozen=True)
class Fixed:
    """Tolerances of the user's own in place of the yardstick: |row - oracle| <= atol + rtol |oracle| everywhere."""

    atol: float
    rtol: float


def judge(
    answers: Answers,
    truth: Truth,
    expected: tuple[TensorSpec, ...],
    precision: str = "float32",
    fixed: Fixed | None = None,
    every: bool = False,
) -> Parity:
    """Pass the gates in order; a failed gate leaves the later ones not run.

    Args:
        answers: of the row, to as many inputs as the truth has.
        expected: the model's outputs, which names, order, shapes and dtypes must equal.
        precision: what the row computes in: a key of COARSEST.
        fixed: tolerances in place of the yardstick.
        every: whether the gates after a failed one run, too, to see what each finds by itself; nothing can be compared
            where the structure is another.
    """
    gates: list[Gate] = []
    outputs: tuple[OutputDifference, ...] = ()

    def passed(name: str, problem: str | None, otherwise: str) -> bool:
        gates.append(Gate(name, Verdict.FAIL if problem else Verdict.PASS, problem or otherwise))
        return problem is None or (every and name != "structure")

    if passed("structure", structure_problem(answers, truth.keras, expected), "outputs as the model has them"):
        problem = finite_problem(answers, truth.keras, expected)
        if passed("finite", problem, "NaN and Inf only where Keras has them, if anywhere"):
            of_outputs = [_views(answers, truth, spec, k) for k, spec in enumerate(expected)]
            views = [view for of_output in of_outputs for view in of_output]
            judged = [one for of_output in of_outputs for one in _judge(of_output, COARSEST[precision], fixed)]
            outputs = tuple(one.difference for one in judged)
            if passed("tensor", next((one.problem for one in judged if one.problem), None), _said(outputs, truth)):
                passed("argmax", *_argmax(views, fixed))
    gates += [Gate(name, Verdict.NOT_RUN, "an earlier gate failed") for name in GATES[len(gates) :]]
    failed = any(gate.verdict is Verdict.FAIL for gate in gates)
    return Parity(
        Verdict.FAIL if failed else Verdict.PASS,
        truth.name,
        len(truth.oracle),
        tuple(gates),
        outputs,
        "" if fixed else truth.yardstick,
    )


def exactness(ratio: float) -> str:
    """A ratio in words."""
    if ratio <= EXACT:
        return "as exact as Keras"
    return f"worse than Keras by a factor of {ratio:.2g}" if ratio <= WRONG else "wrong"


@dataclass(frozen=True)
class _View:
    """One output, or its logarithms, over all inputs: of the row, the oracle, Keras, and Keras moved."""

    name: str
    kind: str
    row: Sequence[Array]
    oracle: Sequence[Array]
    keras: Sequence[Sequence[Array]]
    """Keras' own and the moved ones."""
    shaken: Sequence[Array]

    @property
    def classes(self) -> bool:
        """Whether the last axis can be classes."""
        return all(x.dtype.kind == "f" and x.ndim > 1 and x.shape[-1] > 1 and x.size for x in self.oracle)


@dataclass(frozen=True)
class _Judged:
    difference: OutputDifference
    problem: str | None


def _views(answers: Answers, truth: Truth, spec: TensorSpec, k: int) -> list[_View]:
    row = [one[k] for one in answers.arrays]
    oracle = [one[k] for one in truth.oracle]
    keras = [[one[k] for one in arrays] for arrays in (truth.keras.arrays, *truth.moved)]
    shaken = [one[k] for one in truth.shaken]
    values = _View(spec.name, "", row, oracle, keras, shaken)
    if not probabilities(oracle):
        return [values]
    logs = [[logits(x) for x in one] for one in (row, oracle, shaken, *keras)]
    return [values, _View(spec.name, "logits", logs[0], logs[1], logs[3:], logs[2])]


def probabilities(arrays: Sequence[Array]) -> bool:
    """Whether arrays of floats are probabilities over their last axis: within 0..1, summing to 1."""
    for array in arrays:
        if array.dtype.kind != "f" or array.ndim < 2 or array.shape[-1] < 2 or not array.size:
            return False
        if not (np.min(array) >= 0 and np.max(np.abs(np.sum(array, -1, dtype=np.float64) - 1)) < 1e-3):
            return False
    return bool(arrays)


def logits(array: Array) -> Array:
    """Logarithms of probabilities less their mean over the last axis: the logits but for a constant, float64."""
    logs = np.log(np.maximum(np.asarray(array, np.float64), SMALLEST))
    found: Array = logs - logs.mean(-1, keepdims=True)
    return found


def _judge(views: Sequence[_View], epsilon: float, fixed: Fixed | None) -> list[_Judged]:
    """The views of one output; jumps that one of them shows count for all, since a softmax may hide them."""
    if any(x.dtype.kind not in "fcV" for x in views[0].oracle):
        return [_judged_exactly(view) for view in views]
    yardsticks = [_yardstick(view, epsilon) for view in views]
    jumps = max(one.jumps for one in yardsticks)
    return [_judged(view, one, jumps, fixed) for view, one in zip(views, yardsticks, strict=True)]


@dataclass(frozen=True)
class _Yardstick:
    """Keras' own errors in one view: quantiles, share above the tail's threshold, largest; `scale` is RMS(oracle)."""

    scale: float
    quantiles: tuple[float, ...]
    threshold: float
    share: float
    largest: float
    jumps: float


def _yardstick(view: _View, epsilon: float) -> _Yardstick:
    own = [_errors(one, view.oracle) for one in view.keras]
    scale = _rms(_flat(view.oracle))
    floor = max(epsilon * scale, float(np.finfo(np.float32).smallest_normal))
    if not own[0].size:
        return _Yardstick(scale, (floor,) * len(QUANTILES), floor, 0.0, floor, 0.0)
    quantiles = tuple(max(floor, float(of_own)) for of_own in np.max([np.quantile(one, QUANTILES) for one in own], 0))
    threshold = TAIL * quantiles[-1]
    return _Yardstick(
        scale,
        quantiles,
        threshold,
        max(_above(one, threshold) for one in own),
        max(floor, *(float(one.max()) for one in own)),
        _above(_errors(view.shaken, view.oracle), threshold * GROWTH),
    )


def _judged(view: _View, yardstick: _Yardstick, jumps: float, fixed: Fixed | None) -> _Judged:
    """One view's error figures and what is wrong with it, if anything."""
    name = f"{view.name} ({view.kind})" if view.kind else view.name
    mine, scale = _errors(view.row, view.oracle), yardstick.scale
    keras_rms = _rms(_errors(view.keras[0], view.oracle)) / scale if scale else 0.0
    found = replace(difference(view.name, view.row, view.oracle), view=view.kind, keras_rms=keras_rms)
    if not mine.size:
        return _Judged(replace(found, ratio=0.0), None)
    if fixed is not None:
        beyond = float(np.max(mine - fixed.rtol * np.abs(_flat(view.oracle))))
        said = f"{name} is off by {beyond:.2g} beyond rtol {fixed.rtol:g}, more than atol {fixed.atol:g}"
        return _Judged(found, None if beyond <= fixed.atol or view.kind else said)
    ratio = float(np.max(np.quantile(mine, QUANTILES) / yardstick.quantiles))
    found = replace(found, ratio=ratio)
    if not ratio <= WRONG:
        return _Judged(found, f"error of {name} is {ratio:.3g} times Keras' own, more than {WRONG:g}")
    share = _above(mine, yardstick.threshold)
    allowed = 4 * yardstick.share + min(jumps, MOST_JUMPS) + max(TAIL_SHARE, FEW / mine.size)
    if share > allowed:
        said = f"{share:.2g} of {name} is off by over {TAIL:g} times what Keras is, more than {allowed:.2g}"
        return _Judged(found, said)
    furthest = float(mine.max()) / yardstick.largest
    if furthest > FURTHEST and not jumps:
        return _Judged(found, f"largest error of {name} is {furthest:.3g} times Keras' own, more than {FURTHEST:g}")
    return _Judged(found, None)


def _judged_exactly(view: _View) -> _Judged:
    """An output of indices, truth values or text: the share that differs."""
    found = difference(view.name, view.row, view.oracle)
    jumps = min(_unequal(view.shaken, view.oracle), MOST_JUMPS)
    allowed = 4 * max(_unequal(one, view.oracle) for one in view.keras) + jumps + FLIPS
    problem = f"{found.outliers:.2g} of {view.name} differs, more than {allowed:.2g}"
    return _Judged(found, problem if found.outliers > allowed else None)


def _argmax(views: Sequence[_View], fixed: Fixed | None) -> tuple[str | None, str]:
    """The problem, if any, and what to say otherwise: positions whose class is another than the oracle's."""
    problem, said = None, []
    for view in views:
        if view.kind or not view.classes:
            continue
        share, lead = _flips(view.row, view.oracle)
        jumps = min(_flips(view.shaken, view.oracle)[0], MOST_JUMPS)
        allowed = 4 * max(_flips(keras, view.oracle)[0] for keras in view.keras) + jumps + FLIPS
        text = f"{share:.2g} of positions of {view.name} change class"
        if share:
            text += f", the widest lead among them {lead:.1g}"
        said.append(text)
        if share > allowed and problem is None and fixed is None:
            problem = f"{text}, more than {allowed:.2g}"
    return problem, "; ".join(said) or "no output has classes"


def _flips(row: Sequence[Array], oracle: Sequence[Array]) -> tuple[float, float]:
    """Share of positions whose argmax differs from the oracle's, and the largest lead the oracle had at one."""
    count, changed, lead = 0, 0, 0.0
    for a, b in zip(row, oracle[: len(row)], strict=True):
        mine, right = np.asarray(a).argmax(-1)[..., None], b.argmax(-1)[..., None]
        flipped = mine != right
        ahead = np.take_along_axis(b, right, -1) - np.take_along_axis(b, mine, -1)
        count, changed = count + flipped.size, changed + int(flipped.sum())
        lead = max(lead, float(np.max(ahead, where=flipped & np.isfinite(ahead), initial=0.0)))
    return changed / count if count else 0.0, lead


def _said(outputs: Sequence[OutputDifference], truth: Truth) -> str:
    ratios = [one for one in outputs if one.ratio is not None]
    if not ratios:
        return "within the tolerances" if outputs else "no outputs"
    worst = max(ratios, key=lambda one: one.ratio or 0.0)
    name = f"{worst.name} ({worst.view})" if worst.view else worst.name
    ratio = worst.ratio or 0.0
    return f"{exactness(ratio)}: {name} {ratio:.2g} times {truth.yardstick}, largest error {worst.max_abs:.1e}"


def _flat(arrays: Sequence[Array]) -> Array:
    """All values of all inputs as `_errors` takes them, with 0 for NaN and Inf."""
    return np.nan_to_num(np.concatenate([_real(x) for x in arrays]), posinf=0.0, neginf=0.0) if arrays else np.zeros(0)


def _real(array: Array) -> Array:
    """One-dimensional float64; of complex numbers both parts."""
    if np.iscomplexobj(array):
        array = np.stack([array.real, array.imag])
    return np.asarray(array, np.float64).reshape(-1)


def _errors(row: Sequence[Array], oracle: Sequence[Array]) -> Array:
    """Absolute errors of all inputs, float64, where both are finite; 0 elsewhere."""
    parts = []
    for a, b in zip(map(_real, row), map(_real, oracle[: len(row)]), strict=True):
        both = np.isfinite(a) & np.isfinite(b)
        parts.append(np.abs(np.where(both, a, 0) - np.where(both, b, 0)))
    return np.concatenate(parts) if parts else np.zeros(0)


def _unequal(row: Sequence[Array], oracle: Sequence[Array]) -> float:
    """Share of values that are not the oracle's."""
    oracle = oracle[: len(row)]
    size = sum(x.size for x in oracle)
    return sum(int(np.sum(a != b)) for a, b in zip(row, oracle, strict=True)) / size if size else 0.0


def _above(errors: Array, threshold: float) -> float:
    return float(np.mean(errors > threshold)) if errors.size else 0.0


def _rms(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(np.abs(finite) ** 2))) if finite.size else 0.0

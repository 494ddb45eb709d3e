"""Do later calls still give their own input's answer? A witness remembers the first answers and looks at later ones.

Parity compares answers of the warm-up with Keras'. A runtime that is right there and answers with old results or NaN in
the timed rounds is seen here. Only gross faults count: rounding that differs between calls, even where it tips a few
discrete decisions (argmax, top-k), must never raise an alarm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keronyx.types import Array, Gate, Verdict

VALUES = 64
"""Values of each output that are looked at."""

TELLING = 1e-2
"""Two values that differ by more than this share of their output's RMS differ by more than rounding."""

CERTAIN = 4
"""One look proves an answer to be another input's when so many values tell the two inputs apart."""


@dataclass(frozen=True)
class _Answer:
    """What is remembered of one answer; `scale` has each value's output's RMS, `finite` counts all values."""

    values: Array
    scale: Array
    finite: bool


class Witness:
    """Remembers the first answer to each input; inputs are known by their place in the rotation.

    A fault that one value more or less could be (the label of a tied class, another order of boxes) is doubtful: it
    counts when it is seen on two inputs, or on the only one there is.
    """

    def __init__(self) -> None:
        self._first: dict[int, _Answer] = {}
        self._looked: list[int] = []
        self._certain: list[str] = []
        self._doubtful: dict[int, str] = {}

    @property
    def inputs(self) -> tuple[int, ...]:
        """Inputs whose answer it knows, which have been called before."""
        return tuple(sorted(self._first))

    def learn(self, index: int, outputs: Sequence[Array]) -> None:
        """Take these for the right answer to input `index`, unless one is known. Call it outside all timing."""
        self._first.setdefault(index, _answer(outputs))

    def follows(self, index: int, outputs: Sequence[Array]) -> str:
        """What is wrong with this answer to input `index`, or nothing; the first to an input is learned.

        Reads all outputs once (for NaN and Inf). Call it outside all timing, but before anything else could be written
        to the outputs.
        """
        if index not in self._first:
            self.learn(index, outputs)
            return ""
        self._looked.append(index)
        problem, certain = self._problem(index, _answer(outputs))
        if problem and certain:
            self._certain.append(problem)
        elif problem:
            self._doubtful[index] = problem
        return problem

    def gate(self) -> Gate:
        """Gate `follows`, over all looks so far."""
        if self._certain:
            said = f"{self._certain[0]} ({len(self._certain)} of {len(self._looked)} answers looked at are wrong)"
            return Gate("follows", Verdict.FAIL, said)
        if self._doubtful and len(self._doubtful) >= min(2, len(set(self._looked))):
            index, problem = next(iter(self._doubtful.items()))
            inputs = f"{len(self._doubtful)} of {len(set(self._looked))} inputs"
            return Gate("follows", Verdict.FAIL, f"{problem} (input {index}; {inputs} were answered wrongly)")
        if not self._looked:
            return Gate("follows", Verdict.NOT_RUN, "no answer was looked at twice")
        if not any(_telling(a, b).any() for a in self._first.values() for b in self._first.values()):
            return Gate("follows", Verdict.NOT_RUN, "the inputs' answers are alike: an old one would not show")
        return Gate("follows", Verdict.PASS, f"{len(self._looked)} later answers are their own input's")

    def _problem(self, index: int, now: _Answer) -> tuple[str, bool]:
        """What is wrong, if anything, and whether it is certain."""
        first = self._first[index]
        if now.finite != first.finite:
            return ("no " if now.finite else "") + "NaN or Inf, unlike the first answer to the same input", True
        if now.values.shape != first.values.shape:
            return "an answer of another size than the first to the same input", False
        changed = _difference(now, first)
        telling = [(other, _telling(first, other)) for at, other in self._first.items() if at != index]
        for other, where in telling:
            nearer = _difference(now, other) < 0.1 * changed if where.any() else where
            if where.any() and np.mean(nearer[where]) > 0.9:
                return "the answer to another input", int(where.sum()) >= CERTAIN
        # Values that are the same for all inputs (padding, saturated classes) would hide that all others are wrong.
        varying = np.any([where for _, where in telling], axis=0) if telling else np.zeros(0, bool)
        far = changed > TELLING * first.scale
        if np.mean(far[varying] if varying.any() else far) > 0.5:
            return "an answer to no input", False
        return "", False


def fingerprint(outputs: Sequence[Array]) -> Array:
    """Up to 64 evenly spaced values of each output, as float64, one output after the other."""
    return np.concatenate([_spaced(output) for output in outputs])


def _spaced(output: Array) -> Array:
    array = np.asarray(output)
    places = np.linspace(0, array.size - 1, min(array.size, VALUES)).round().astype(int)
    return array.flat[places].astype(np.float64)


def _answer(outputs: Sequence[Array]) -> _Answer:
    values = fingerprint(outputs)
    ends = np.cumsum([min(np.size(output), VALUES) for output in outputs])
    scale = np.concatenate([np.full(part.size, _rms(part)) for part in np.split(values, ends[:-1])])
    return _Answer(values, scale, all(bool(np.isfinite(output).all()) for output in outputs))


def _rms(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(finite**2))) if finite.size else 0.0


def _difference(one: _Answer, other: _Answer) -> Array:
    """Absolute difference value by value; NaN, which passes no limit, where one of them is NaN or both are Inf."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(one.values - other.values))


def _telling(one: _Answer, other: _Answer) -> Array:
    """Where two answers differ by more than rounding, one flag a value; nowhere when they differ in size."""
    if one.values.shape != other.values.shape:
        return np.zeros(one.values.shape, bool)
    return np.asarray(_difference(one, other) > TELLING * np.maximum(one.scale, other.scale))

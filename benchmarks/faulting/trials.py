"""The process that judges faulty answers: `python -m benchmarks.faulting.trials`. ONNX Runtime, no TensorFlow.

What it needs of a network lies in one folder: the files of `making`, `specs.json`, and the truths that `store` wrote.
"""

from __future__ import annotations

import json
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faulting import catalogue
from benchmarks.faulting.catalogue import Given, Known
from keronyx import accuracy, task_gate
from keronyx.accuracy import Truth
from keronyx.parity import Answers, difference
from keronyx.process import Message, one_line, serve
from keronyx.types import Array, ModelSpec, Parity, SessionRequest, TensorSpec, Verdict

INPUTS = 8
"""Road scenes that every file answers; all of them are what the task is scored on."""
COMPARED = 4
"""Of those, drawn with each seed, what the other gates compare: as many as `keronyx parity` does."""
SERIES = 7
"""Of the scenes: none that the networks were trained on."""
MAX_DROP = 0.002
THREADS = 1
GATES = (*accuracy.GATES, "task")
COSINE, TOLERANCE = 0.997, 1e-3
"""What others call equal: cosine similarity of at least so much, `numpy.allclose` with so much for rtol and atol."""


@dataclass(frozen=True)
class Outcome:
    """What became of one faulty file on one draw of inputs. `gates` has the verdict of each gate by itself; that of
    `task` is "undecided" where its interval is.

    `refused` is why ONNX Runtime would not take the file, where it does not; then nothing else is known. `ratio` is the
    largest of any output, `allclose` and `cosine` whether those would have noticed, `task` the lowest difference of a
    score to Keras'.
    """

    layer: str = ""
    refused: str = ""
    gates: dict[str, str] | None = None
    detail: str = ""
    ratio: float | None = None
    max_abs: float | None = None
    flips: float | None = None
    task: float | None = None
    allclose: bool = False
    cosine: bool = False

    @property
    def caught(self) -> bool:
        """By any gate, or by the runtime itself."""
        return bool(self.refused) or "fail" in (self.gates or {}).values()


class Network:
    """One network's files, truths and labels, read when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        known = json.loads((folder / "specs.json").read_text())
        self.specs = {name: _spec(stored) for name, stored in known.items()}
        self._truths: dict[str, Truth] = {}
        self._answers: dict[str, tuple[tuple[TensorSpec, ...], Given]] = {}

    def truth(self, name: str) -> Truth:
        """Of `main`, `both` or `square`. The network's own is the first output of the one that has both."""
        if name not in self._truths:
            self._truths[name] = (
                _first_output(self.truth("both"), self.specs["main"])
                if name == "main"
                else load(self.folder / f"{name}-truth.npz", self.specs[name])
            )
        return self._truths[name]

    def right(self, name: str) -> tuple[tuple[TensorSpec, ...], Given]:
        """What an unchanged file says its outputs are, and answers to all inputs."""
        if name not in self._answers:
            self._answers[name] = self.run(self.folder / f"{name}.onnx", name)
        return self._answers[name]

    def run(self, path: Path, name: str) -> tuple[tuple[TensorSpec, ...], Given]:
        """The same of a file that stands for NAME.onnx."""
        from keronyx.runtime import find

        spec = self.specs.get(name, self.specs["main"])
        request = SessionRequest(str(path.resolve()), spec, "cpu", THREADS)
        session = find("ort", "cpu").open(request)
        return tuple(session.outputs), [list(session.run([image])) for image in images(spec)]


def trial(network: Network, fault: Known, seed: int) -> Outcome | None:
    """Put a fault in and look; None where the network has no place for it."""
    rng = np.random.default_rng([seed, zlib.crc32(fault.name.encode())])
    compared = sorted(int(i) for i in rng.choice(INPUTS, COMPARED, replace=False))
    layer = ""
    if fault.inject is not None:
        made = fault.inject(_read(str(network.folder / f"{fault.file}.onnx")), rng)
        if made is None:
            return None
        changed, layer = made
        with tempfile.TemporaryDirectory(prefix="keronyx-fault-") as scratch:
            path = Path(scratch) / "faulty.onnx"
            path.write_bytes(changed.SerializeToString())
            try:
                specs, given = network.run(path, fault.file)
            except Exception as error:  # whatever ONNX Runtime raises
                return Outcome(layer, one_line(error, 160))
    else:
        specs, given = network.right(fault.file)
    if fault.spoil is not None:
        given = fault.spoil(given, rng)
    return judged(specs, given, network.truth(fault.judged_as), network.specs[fault.judged_as], compared, layer)


def judged(
    specs: tuple[TensorSpec, ...],
    given: Given,
    truth: Truth,
    model: ModelSpec,
    compared: Sequence[int],
    layer: str = "",
) -> Outcome:
    """Every gate by itself, and what others would have said."""
    answers = Answers(specs, [given[i] for i in compared])
    some = _only(truth, compared)
    parity = accuracy.judge(answers, some, model.outputs, every=True)
    gates = {gate.name: gate for gate in parity.gates}
    structure = gates["structure"].verdict is Verdict.PASS
    if structure:
        parity = scored(parity, given, truth)
    gates = {gate.name: gate for gate in parity.gates}
    verdicts = {name: str(gates[name].verdict.value) if name in gates else "not run" for name in GATES}
    if structure and gates["task"].detail.startswith("undecided"):
        verdicts["task"] = "undecided"
    both = zip(answers.arrays, some.keras.arrays, strict=True)
    pairs = [pair for mine, right in both for pair in zip(mine, right, strict=True)]
    return Outcome(
        layer,
        "",
        verdicts,
        gates["tensor"].detail if structure else gates["structure"].detail,
        parity.ratio,
        max((one.max_abs for one in parity.outputs if not one.view), default=None),
        max(
            (one.argmax_flips for one in parity.outputs if one.argmax_flips is not None and not one.view), default=None
        ),
        min((one.value - one.reference for one in parity.task), default=None),
        any(a.shape != k.shape or not np.allclose(a, k, TOLERANCE, TOLERANCE) for a, k in pairs),
        not structure or not _alike(answers, some, model),
    )


def _alike(answers: Answers, truth: Truth, model: ModelSpec) -> bool:
    """Whether every output points where Keras' does. NaN is unlike anything."""
    if not all(np.isfinite(a).all() for one in answers.arrays for a in one):
        return False
    return all(
        difference(spec.name, [a[k] for a in answers.arrays], [r[k] for r in truth.keras.arrays]).cosine >= COSINE
        for k, spec in enumerate(model.outputs)
    )


def scored(parity: Parity, given: Given, truth: Truth) -> Parity:
    """The parity with gate `task`: the first output's scores on all scenes beside those of Keras' own answers."""
    from keronyx.zoo import scores

    mine, reference = scores.Scores(), scores.Scores()
    for number, (answer, right) in enumerate(zip(given, truth.keras.arrays, strict=True)):
        found = labels(*right[0].shape[1:3])[number][None]
        mine.add(answer[0], found)
        reference.add(right[0], found)
    return task_gate.with_task(parity, scores.paired(mine, reference), MAX_DROP, decides=False)


def images(spec: ModelSpec) -> list[Array]:
    """The scenes a network answers, (1, height, width, 3) float32 each."""
    _, height, width, _ = spec.inputs[0].shape
    return [image[None] for image in _scenes(int(height or 0), int(width or 0))[0]]


def labels(height: int, width: int) -> Array:
    """Their labels (INPUTS, height, width) uint8."""
    return _scenes(height, width)[1]


@lru_cache(4)
def _scenes(height: int, width: int) -> tuple[Array, Array]:
    from keronyx.zoo import scenes

    return scenes.batch(INPUTS, height, width, SERIES)


@lru_cache(3)
def _read(path: str) -> Any:
    import onnx

    return onnx.load(path)


# --- truths in files ------------------------------------------------------------------------------------------------


def store(truths: Sequence[Truth], path: Path) -> None:
    """Write the truths of several groups of inputs as one; of moved answers as many sets as all have."""
    sets = min(len(one.moved) for one in truths)
    kinds: dict[str, list[Sequence[Array]]] = {
        "oracle": [arrays for one in truths for arrays in one.oracle],
        "keras": [arrays for one in truths for arrays in one.keras.arrays],
        "shaken": [arrays for one in truths for arrays in one.shaken],
        **{f"moved{n}": [arrays for one in truths for arrays in one.moved[n]] for n in range(sets)},
    }
    arrays = {
        f"{kind}/{i}/{k}": array
        for kind, of in kinds.items()
        for i, row in enumerate(of)
        for k, array in enumerate(row)
    }
    np.savez(path, allow_pickle=False, words=np.array([truths[0].name, truths[0].yardstick]), **arrays)


def load(path: Path, spec: ModelSpec) -> Truth:
    """What `store` wrote."""
    kinds: dict[str, dict[int, dict[int, Array]]] = {}
    with np.load(path, allow_pickle=False) as stored:
        words = [str(word) for word in stored["words"]]
        for name in stored.files:
            if name != "words":
                kind, i, k = name.split("/")
                kinds.setdefault(kind, {}).setdefault(int(i), {})[int(k)] = stored[name]

    def of(kind: str) -> list[list[Array]]:
        return [[kinds[kind][i][k] for k in sorted(kinds[kind][i])] for i in sorted(kinds[kind])]

    moved = [of(kind) for kind in sorted(kinds) if kind.startswith("moved")]
    return Truth(of("oracle"), Answers(spec.outputs, of("keras")), moved, *words, shaken=of("shaken"))


def _first_output(truth: Truth, spec: ModelSpec) -> Truth:
    def first(rows: Sequence[Sequence[Array]]) -> list[list[Array]]:
        return [[row[0]] for row in rows]

    return replace(
        truth,
        oracle=first(truth.oracle),
        keras=Answers(spec.outputs, first(truth.keras.arrays)),
        moved=[first(one) for one in truth.moved],
        shaken=first(truth.shaken),
    )


def _only(truth: Truth, compared: Sequence[int]) -> Truth:
    def some(rows: Sequence[Sequence[Array]]) -> list[Sequence[Array]]:
        return [rows[i] for i in compared]

    return replace(
        truth,
        oracle=some(truth.oracle),
        keras=replace(truth.keras, arrays=some(truth.keras.arrays)),
        moved=[some(one) for one in truth.moved],
        shaken=some(truth.shaken),
    )


def _spec(stored: dict[str, Any]) -> ModelSpec:
    def tensors(of: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(one["name"], tuple(one["shape"]), one["dtype"]) for one in of)

    return ModelSpec(**{**stored, "inputs": tensors(stored["inputs"]), "outputs": tensors(stored["outputs"])})


# --- the process ----------------------------------------------------------------------------------------------------


class _State:
    network: Network


def begin(order: Message) -> Message:
    """Take a network's folder."""
    _State.network = Network(Path(order["folder"]))
    return {}


def one(order: Message) -> Message:
    """The outcome of `fault` with `seed`, or nothing."""
    found = trial(_State.network, catalogue.BY_NAME[order["fault"]], int(order["seed"]))
    return {"outcome": asdict(found) if found else None}


if __name__ == "__main__":
    serve({"begin": begin, "one": one})

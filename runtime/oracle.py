"""What rows are judged by: the Keras model evaluated in float64, as it is, and with rounding moved, in its own process.

`python -m keronyx.runtime.oracle` is the process, `Oracle` the parent's side of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from keronyx.accuracy import SHAKEN, Truth
from keronyx.control_groups import available_memory_mib
from keronyx.errors import KeronyxError
from keronyx.parity import Answers
from keronyx.process import Child, Message, first_line, peak_resident_mib, resident_mib, serve
from keronyx.rounding import ROUNDED, jittered, moved
from keronyx.runtime import find
from keronyx.runtime.handle import environment
from keronyx.runtime.requests import request_of
from keronyx.types import Array, SessionRequest, TensorSpec

ULP = {"float32": 2.0**-23, "float64": 2.0**-23, "tf32": 2.0**-10, "float16": 2.0**-10, "bfloat16": 2.0**-7}
"""What rounding in a precision moves a number by, relatively. A float64 model is judged as if computed in float32,
since some of its artifacts are."""

FLOATS = frozenset({"float16", "bfloat16", "float32"})

SECONDS = 40.0
"""Time after which no further input is answered, once there are LEAST."""

LEAST = 2
"""Inputs that are answered however long it takes: one alone cannot show that a row always gives the same."""

MOVED = (2, 6)
"""Sets of answers with rounding moved: at least, and at most where a call is quick."""

QUICK_S = 0.1


class Oracle:
    """The parent's side. Every method raises WorkerError (or a sub-class) when the process fails; it is dead then."""

    def __init__(self, request: SessionRequest, timeout_s: float, memory_limit_mib: float | None = None) -> None:
        self._request = request
        self._timeout_s, self._memory_limit_mib = timeout_s, memory_limit_mib
        self._child = Child("keronyx.runtime.oracle", environment("cpu", request.threads), title="the oracle")

    def open(self) -> None:
        """Load the model."""
        self._child.wait_ready(self._timeout_s)
        self._ask("open", request=asdict(self._request))

    def truth(self, inputs: Sequence[Path], count: int, precision: str, folder: Path, no_float64: str = "") -> Truth:
        """Answers to the first `count` inputs at most, fewer where a call takes long.

        Args:
            inputs: one `.npy` per model input, shape (number of inputs, *input shape).
            precision: what the rows to be judged compute in: a key of ULP.
            folder: where the answers are kept meanwhile.
            no_float64: why the model is not to be evaluated in float64, if it is not.
        """
        said = self._ask(
            "answer",
            inputs=[str(path) for path in inputs],
            count=count,
            precision=precision,
            folder=str(folder),
            no_float64=no_float64,
        )

        def read(files: list[list[str]]) -> list[list[Array]]:
            return [[np.load(path, allow_pickle=False) for path in paths] for paths in files]

        specs: tuple[TensorSpec, ...] = self._request.spec.outputs
        own = read(said["keras"])
        return Truth(
            read(said["oracle"]) if said["oracle"] else own,
            Answers(specs, own),
            [read(files) for files in said["moved"]],
            said["name"],
            said["yardstick"],
            read(said["shaken"]),
        )

    def _ask(self, order: str, **arguments: Any) -> Message:
        return self._child.ask(order, self._timeout_s * 4, self._memory_limit_mib, **arguments)

    def close(self) -> None:
        self._child.close()


# --- the process ----------------------------------------------------------------------------------------------------


class _State:
    """What the process holds between orders."""

    request: SessionRequest
    model: Any
    call: Callable[..., list[Any]]
    loaded_mib = 0.0
    """Resident memory before the first call."""


def open_model(order: Message) -> Message:
    from keronyx.runtime.tf_common import flat_function, load

    _State.request = request_of(order["request"])
    runtime: Any = find("tf-eager", "cpu")
    runtime.start(_State.request)
    _State.model = load(_State.request)
    _State.call = flat_function(_State.model, _State.request)
    _State.loaded_mib = resident_mib()
    return {}


def answer(order: Message) -> Message:
    """Files of the answers: Keras' own, moved, and the oracle's; no oracle where the model cannot be evaluated so."""
    import keras

    from keronyx.recast import computed, recast

    stacks = [np.load(path, mmap_mode="r") for path in order["inputs"]]
    model, folder = _State.model, Path(order["folder"])
    is_keras = isinstance(model, keras.Model)
    dtypes = computed(model) if is_keras else frozenset()
    own_precision = next((one for one in ("bfloat16", "float16", "float64") if one in dtypes), "float32")
    coarse = max(own_precision, order["precision"], key=lambda one: ULP[one])
    begun = time.perf_counter_ns()
    keras_files: list[list[str]] = []
    moved_files: list[list[list[str]]] = []
    shaken_files: list[list[str]] = []
    sets = MOVED[0]
    for k in range(min(order["count"], len(stacks[0]))):
        inputs = [np.array(stack[k]) for stack in stacks]
        before = time.perf_counter_ns()
        keras_files.append(_kept(_State.call(*inputs), folder, f"keras-{k}"))
        if k == 0:
            inputs_again = time.perf_counter_ns()
            _State.call(*inputs)
            quick = (time.perf_counter_ns() - inputs_again) / 1e9 < QUICK_S
            sets = MOVED[1] if quick else MOVED[0]
            moved_files = [[] for _ in range(sets)]
        with recast(model, frozenset({"float64"}) if own_precision == "float64" else frozenset(), "float32"):
            for number in range(sets + 1):
                shaking = number == sets
                by, share = (SHAKEN * ULP[coarse], 1.0) if shaking else (ULP[coarse], ROUNDED)
                random = np.random.default_rng([number, 7])
                with moved(model.variables, by, random, share):
                    made = _State.call(*(jittered(array, by, random, share) for array in inputs))
                files = _kept(made, folder, f"moved-{number}-{k}")
                (shaken_files if shaking else moved_files[number]).append(files)
        taken = (time.perf_counter_ns() - before) / 1e9
        spent = (time.perf_counter_ns() - begun) / 1e9
        if k + 1 >= LEAST and spent + taken > SECONDS:
            break
    why = order["no_float64"] if is_keras else "a SavedModel"
    oracle_files: list[list[str]] = []
    if not why:
        oracle_files, why = _oracle(stacks, len(keras_files), folder, dtypes)
    own = f"Keras {own_precision}" if is_keras else "the SavedModel"
    yard = f"{own}'s own error" if coarse in ("float32", own_precision) else f"{coarse} rounding"
    return {
        "keras": keras_files,
        "moved": moved_files,
        "shaken": shaken_files,
        "oracle": oracle_files,
        "name": "float64 oracle" if oracle_files else f"{own} (no float64 oracle: {why})",
        "yardstick": yard,
    }


def _oracle(stacks: Sequence[Array], count: int, folder: Path, dtypes: frozenset[str]) -> tuple[list[list[str]], str]:
    """Files of the model's answers in float64; none, and why, where it cannot be evaluated so."""
    from keronyx.recast import recast

    # What the calls in the model's own precision took beside its weights takes twice as much, and so do these.
    needed_mib = 2 * (peak_resident_mib() - _State.loaded_mib) + _State.model.count_params() * 8 / 2**20
    if needed_mib > (free_mib := available_memory_mib()):
        return [], f"it would take {needed_mib:,.0f} MiB more, {free_mib:,.0f} are free"
    try:
        with recast(_State.model, FLOATS & dtypes, "float64"):
            files = []
            for k in range(count):
                made = _State.call(*(_doubled(np.array(stack[k])) for stack in stacks))
                coarse = [str(one.dtype.name) for one in made if one.dtype.is_floating and one.dtype.name != "float64"]
                if coarse:  # a layer with a dtype of its own: no oracle
                    return [], f"an output stays {coarse[0]}"
                files.append(_kept(made, folder, f"oracle-{k}"))
            return files, ""
    except KeronyxError:
        raise
    except Exception as error:  # a layer with a dtype of its own, or no memory left
        return [], first_line(error, 120)


def _doubled(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _kept(tensors: Sequence[Any], folder: Path, prefix: str) -> list[str]:
    files = [str(folder / f"{prefix}-{k}.npy") for k in range(len(tensors))]
    for path, tensor in zip(files, tensors, strict=True):
        array = np.asarray(tensor)
        if array.dtype.kind == "O":
            array = np.array([x.decode() for x in array.reshape(-1)], str).reshape(array.shape)
        np.save(path, array, allow_pickle=False)
    return files


if __name__ == "__main__":
    serve({"open": open_model, "answer": answer})

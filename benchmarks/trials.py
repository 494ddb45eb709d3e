"""Trials of the A/A experiment: three equal rows and a slowed one in workers of their own, through the real rounds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from keronyx.export import folder
from keronyx.profiles import environment, inputs, measure, warmup
from keronyx.profiles.measure import Measured
from keronyx.runtime.handle import Worker
from keronyx.types import ModelSpec, Plan, SessionRequest, Turn
from keronyx.zoo import scenes

REFERENCE, EQUAL, SLOWED = "reference", ("equal-1", "equal-2"), "slowed"
ROWS = {REFERENCE: "ort", **dict.fromkeys(EQUAL, "ort"), SLOWED: "benchmarks.slowed:RUNTIME"}
"""Row -> runtime, as a worker is told it."""

SETTING = "b1"
TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Trial:
    """One trial: what the rounds gave, and for each equal row a block of calls made one after another."""

    process_set: int
    rounds: Measured
    blocks: dict[str, Turn]


@dataclass(frozen=True)
class Terms:
    """What every trial is made with. `files` are the inputs, `scratch` is where workers leave answers."""

    onnx_file: Path
    spec: ModelSpec
    threads: int
    rounds: int
    turn_ms: float
    files: tuple[Path, ...]
    rotation: int
    scratch: Path

    def plan(self, seed: int) -> Plan:
        return Plan(
            rows=tuple(ROWS),
            reference={SETTING: REFERENCE},
            seed=seed,
            threads=self.threads,
            budget_s=1e9,
            max_rounds=self.rounds,
            warmup_calls=warmup.MOST_CALLS,
            turn_ms=self.turn_ms,
            timeout_s=TIMEOUT_S,
            inputs="procedural road scenes",
            rotation=self.rotation,
        )


def terms(export: Path, threads: int, rounds: int, turn_ms: float, scratch: Path) -> Terms:
    """Draw the inputs of an exported network, which takes images, as `keronyx profile` does."""
    manifest = folder.read(export)
    artifact = manifest.artifact("onnx") if manifest else None
    if manifest is None or artifact is None:
        raise SystemExit(f"{export} is no export with an ONNX file")
    specs = manifest.spec.inputs
    rotation = inputs.rotation(specs, 1, environment.last_level_cache_bytes())
    fed = inputs.make(specs, 1, rotation, lambda count, height, width: scenes.batch(count, height, width, 0)[0])
    files = tuple(scratch / f"input-{k}.npy" for k in range(len(fed.arrays)))
    for path, array in zip(files, fed.arrays, strict=True):
        np.save(path, array, allow_pickle=False)
    return Terms(export / artifact.path, manifest.spec, threads, rounds, turn_ms, files, rotation, scratch)


class ProcessSet:
    """One worker a row, all opened, warm and parked. Use it in a `with`."""

    def __init__(self, made: Terms, number: int) -> None:
        self._terms, self._number = made, number
        self._workers: dict[str, Worker] = {}

    def __enter__(self) -> ProcessSet:
        request = SessionRequest(str(self._terms.onnx_file), self._terms.spec, "cpu", self._terms.threads)
        try:
            for row, runtime in ROWS.items():
                worker = Worker(row, runtime, request, TIMEOUT_S)
                self._workers[row] = worker
                worker.open(self._terms.files, 2, self._terms.scratch, warmup.finished, self._terms.rotation)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        for worker in self._workers.values():
            worker.close()

    def trial(self, seed: int) -> Trial:
        """Interleaved rounds and sequential blocks, one of them first by turns, so that both share every mood."""
        if seed % 2:
            blocks = self._blocks()
            return Trial(self._number, self._rounds(seed), blocks)
        rounds = self._rounds(seed)
        return Trial(self._number, rounds, self._blocks())

    def _rounds(self, seed: int) -> Measured:
        sensors = environment.SystemSensors({row: worker.pid for row, worker in self._workers.items()})
        made = self._terms.plan(seed)
        measured = measure.measure(self._workers, REFERENCE, made, time.perf_counter_ns, sensors)
        for error, _ in measured.failures.values():
            raise error
        if measured.stopped == "interrupted":
            raise KeyboardInterrupt
        return measured

    def _blocks(self) -> dict[str, Turn]:
        """As many calls of each row as the rounds make, all in one go, as most benchmark tools do it."""
        turn_ns = round(self._terms.rounds * self._terms.turn_ms * 1e6)
        return {row: self._workers[row].turn(0, turn_ns) for row in (REFERENCE, *EQUAL)}

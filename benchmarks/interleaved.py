"""Several ONNX files of one model as rows of one run: interleaved rounds in sets of fresh worker processes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keronyx.profiles import environment, inputs, measure, stats, warmup
from keronyx.profiles.measure import Measured
from keronyx.profiles.ranking import ratio_over_sets
from keronyx.runtime.handle import Worker
from keronyx.types import ModelSpec, Plan, SessionRequest
from keronyx.zoo import scenes

TIMEOUT_S = 120.0
MOST_ERROR = 1e-2
"""Largest difference from the reference row's answers, in units of their largest value; above, a row is wrong."""


@dataclass(frozen=True)
class Ratio:
    """A latency over another's, its interval, and what keronyx concludes (faster, slower, equivalent, undecided)."""

    value: float
    low: float
    high: float
    verdict: str
    rounds: int = 0
    milliseconds: float = 0.0
    note: str = ""


def interleaved(
    files: Mapping[str, Path], reference: str, threads: int, budget_s: float, sets: int = 3
) -> dict[str, Ratio]:
    """Latency of each file on ONNX Runtime's CPU over that of `reference`, which also runs twice, as `control`.

    Raises:
        KeronyxError: a worker failed.
        ValueError: a row gives other answers than the reference's, or there were too few rounds.
    """
    measured: Measured | None = None
    for number in range(sets):
        with tempfile.TemporaryDirectory(prefix="keronyx-") as scratch:
            measured = _one_set(files, reference, threads, budget_s / sets, Path(scratch), measured, number == 0)
    assert measured is not None
    base, numbers = measured.samples[reference], [one.process_set for one in measured.rounds]
    control = ratio_over_sets(measured.control, base, numbers)
    margin = stats.equivalence_margin(control)
    found = {}
    for row, samples in {**measured.samples, "control": measured.control}.items():
        ratio = ratio_over_sets(samples, base, numbers)
        if row == reference:
            continue
        if ratio is None or ratio.interval is None:
            raise ValueError(f"{len(numbers)} rounds of {row} are too few for an interval: give it more time")
        middle = stats.median([ns / 1e6 for ns in stats.round_medians(samples.wall_ns) if ns is not None])
        verdict = stats.compare(ratio, margin).value
        found[row] = Ratio(ratio.value, ratio.interval.low, ratio.interval.high, verdict, ratio.n, middle or 0.0)
    return found


def _one_set(
    files: Mapping[str, Path],
    reference: str,
    threads: int,
    budget_s: float,
    scratch: Path,
    before: Measured | None,
    check: bool,
) -> Measured:
    """Open a worker for each file, compare their answers where asked, and add rounds to those of earlier sets."""
    import onnx

    from keronyx.export.onnx import read_signature

    specs = {}
    for row, path in files.items():
        signature = read_signature(onnx.load(str(path), load_external_data=False))
        specs[row] = ModelSpec(row, row, signature[0], signature[1], 0, "")
    rotation = inputs.rotation(specs[reference].inputs, 1, environment.last_level_cache_bytes())
    fed = inputs.make(
        specs[reference].inputs, 1, rotation, lambda count, height, width: scenes.batch(count, height, width, 0)[0]
    )
    paths = tuple(scratch / f"input-{k}.npy" for k in range(len(fed.arrays)))
    for path, array in zip(paths, fed.arrays, strict=True):
        np.save(path, array, allow_pickle=False)
    workers: dict[str, Worker] = {}
    try:
        answers = {}
        for row, path in files.items():
            workers[row] = Worker(row, "ort", SessionRequest(str(path), specs[row], "cpu", threads), TIMEOUT_S)
            opened = workers[row].open(paths, 2, scratch, warmup.finished, rotation)
            answers[row] = [np.load(file) for file in opened.files[0]]
        if check:
            _same(answers, reference)
        plan = Plan(
            rows=tuple(files),
            reference={"b1": reference},
            seed=0,
            threads=threads,
            budget_s=budget_s,
            max_rounds=(len(before.rounds) if before else 0) + 60,
            warmup_calls=warmup.MOST_CALLS,
            turn_ms=20.0,
            timeout_s=TIMEOUT_S,
            inputs=fed.description,
            rotation=rotation,
        )
        sensors = environment.SystemSensors({row: worker.pid for row, worker in workers.items()})
        found = measure.measure(workers, reference, plan, time.perf_counter_ns, sensors, before=before)
    finally:
        for worker in workers.values():
            worker.close()
    for error, _ in found.failures.values():
        raise error
    if found.stopped == "interrupted":
        raise KeyboardInterrupt
    return found


def _same(answers: Mapping[str, list[np.ndarray]], reference: str) -> None:
    """Raise ValueError when a row answers another thing than the reference: a wrong file may be any fast."""
    for row, arrays in answers.items():
        for array, right in zip(arrays, answers[reference], strict=True):
            scale = float(np.abs(right).max()) or 1.0
            if array.shape != right.shape or not float(np.abs(array - right).max()) <= MOST_ERROR * scale:
                raise ValueError(f"{row} does not give the answers of {reference}")

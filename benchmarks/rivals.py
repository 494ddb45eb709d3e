"""Latency of keronyx's files: against TensorFlow's graph, and against raw tf2onnx with and without optimizers."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from benchmarks.interleaved import Ratio, interleaved
from keronyx.errors import KeronyxError
from keronyx.process import Child
from keronyx.profiles import contention, store
from keronyx.profiles.ranking import rankings
from keronyx.profiles.trust import trusted
from keronyx.types import Verdict

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
OPTIMIZERS = {"onnxslim": "slim", "onnxsim": "sim"}
TIMEOUT_S = 600.0


def against_tensorflow(source: str, threads: int, budget: str) -> Ratio | str:
    """ONNX Runtime's latency over that of TensorFlow's graph, by `keronyx profile`; or in a line why there is none."""
    with tempfile.TemporaryDirectory(prefix="keronyx-") as folder:
        report = Path(folder) / "run.json"
        line = ["profile", source, "--runtimes", "tf-graph,ort", "--threads", str(threads), "--budget", budget]
        done = keronyx([*line, "--json", "-o", str(report)], Path(folder))
        try:
            found = store.load(report)
        except KeronyxError:
            return done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}"
    ranking = rankings(found)[0]
    standing = next((one for one in ranking.standings if one.row.runtime == "ort"), None)
    if standing is None or standing.ratio is None or standing.ratio.interval is None or ranking.reference is None:
        row = next((row for row in found.rows if row.runtime == "ort"), None)
        return (row.reason if row else "") or f"{len(found.rounds)} rounds are too few: give it more time"
    if standing.row.parity is not None and standing.row.parity.verdict is Verdict.FAIL:
        return "its answers are not Keras'"
    sure, reasons = trusted(found)
    cpu = contention.cpu_ratio(standing.row.samples, ranking.reference.samples)
    note = f"{cpu.value:.2f} on CPU time" if cpu else ""
    ratio = standing.ratio
    return Ratio(
        ratio.value,
        ratio.interval.low,
        ratio.interval.high,
        standing.comparison.value,
        ratio.n,
        standing.latency.value,
        note if sure else f"{note}; not trusted: {reasons[0]}",
    )


def against_raw(network: str, threads: int, budget_s: float) -> dict[str, Ratio]:
    """Latency of keronyx's file over that of each rival's: below 1, keronyx is faster.

    Rows: `raw tf2onnx`, `onnxslim`, `onnxsim` (where they are installed), and `control`, keronyx's file once more.
    """
    with tempfile.TemporaryDirectory(prefix="keronyx-") as folder:
        scratch = Path(folder)
        keronyx(["export", network, "-o", str(scratch / "ours"), "--quiet"], scratch, check=True)
        files = {"keronyx": scratch / "ours" / "model.onnx", "raw tf2onnx": scratch / "raw.onnx"}
        ask("raw", source=network, onnx=str(files["raw tf2onnx"]))
        problems = {}
        for library, order in OPTIMIZERS.items():
            if find_spec(library) is None:
                continue
            made = scratch / f"{library}.onnx"
            try:
                ask(order, onnx=str(files["raw tf2onnx"]), to=str(made))
                files[f"raw tf2onnx, {library}"] = made
            except KeronyxError as error:
                problems[library] = error.message
        found = interleaved(files, "keronyx", threads, budget_s)
        counts = {row: ask("nodes", onnx=str(path))["nodes"] for row, path in files.items()}
    turned = {row: turned_round(one, counts, row) for row, one in found.items()}
    return {f"{network}, {row}": one for row, one in turned.items()}


def turned_round(one: Ratio, counts: dict[str, int], row: str) -> Ratio:
    """The rival's latency over keronyx's, as keronyx's over the rival's."""
    verdict = {"faster": "slower", "slower": "faster"}.get(one.verdict, one.verdict)
    note = f"{counts['keronyx']} nodes against {counts[row]}" if row in counts else "keronyx's file against itself"
    return Ratio(1 / one.value, 1 / one.high, 1 / one.low, verdict, one.rounds, one.milliseconds, note)


def ask(order: str, **arguments: object) -> dict[str, float]:
    """Have one thing done in a fresh conversion process. Raises KeronyxError."""
    with conversion() as child:
        return child.ask(order, TIMEOUT_S, **arguments)


@contextmanager
def conversion() -> Iterator[Child]:
    child = Child("benchmarks.converting", ENVIRONMENT, title="the conversion")
    try:
        child.wait_ready(60)
        yield child
    finally:
        child.close()


def keronyx(line: list[str], folder: Path, check: bool = False) -> subprocess.CompletedProcess[str]:
    """The command, run in a folder of its own, where it leaves its exports."""
    paths = os.pathsep.join(path for path in (str(ROOT), os.environ.get("PYTHONPATH", "")) if path)
    command = [sys.executable, "-m", "keronyx", *line]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=check
    )

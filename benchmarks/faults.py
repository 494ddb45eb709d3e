"""Do parity's gates see faults, and only faults? Every fault of `faulting`, in exports of the zoo's networks.

`python -m benchmarks.faults` from the checkout's root. What is made and found is kept in build/faults, so that an
interrupted run goes on where it stopped; a network whose weights changed, or whose code did, is measured again.

Exit codes: 0; 1 when a fault was seen by no gate, or a row without one failed.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.coverage import BEGIN, END
from benchmarks.families import ZOO
from benchmarks.faulting import catalogue, correct, table, trials
from benchmarks.faulting.correct import CorrectRow
from benchmarks.faulting.table import Trial
from benchmarks.faulting.trials import Outcome
from benchmarks.machine import ROOT, described
from keronyx.process import Child
from keronyx.types import ModelSpec, SessionRequest

KEPT = ROOT / "build" / "faults"
PAGE = ROOT / "docs" / "parity.md"
TIMEOUT_S = 1800.0
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
AT_ONCE = 2
"""Inputs the oracle is asked for at a time; it answers so many however long they take."""

BUILDING = (
    *(f"zoo/{name}.py" for name in ("networks", "unet", "enet", "unpooling", "model_v4", "initial", "scenes")),
    "benchmarks/faulting/making.py",
    "runtime/oracle.py",
    "keronyx/recast.py",
    "keronyx/rounding.py",
)
JUDGING = (
    *(f"keronyx/{name}.py" for name in ("accuracy", "parity", "task_gate")),
    "zoo/scores.py",
    "benchmarks/injecting.py",
    "benchmarks/faulting/catalogue.py",
    "benchmarks/faulting/trials.py",
)
"""Code that decides what a network's files are, and what is said of them."""


def main() -> int:
    asked = arguments()
    size = tuple(int(side) for side in asked.size.split("x"))
    networks, faults = asked.networks.split(","), catalogue.chosen(asked.faults.split(",") if asked.faults else [])
    if asked.fresh:
        shutil.rmtree(KEPT, ignore_errors=True)
    found: list[Trial] = []
    rows: list[CorrectRow] = []
    weights = {}
    for network in networks:
        folder = KEPT / f"{network.replace(':', '-')}-{asked.size}"
        if not asked.only_table:
            prepare(network, (size[0], size[1]), folder)
        weights[network] = json.loads((folder / "ready.json").read_text())["weights"]
        wanted = [(fault.name, seed) for fault in faults for seed in range(asked.seeds)]
        found += measured(network, folder, wanted, asked.only_table)
        rows += checked(network, folder, asked.rows, asked.only_table)
    made = table.page(found, rows, weights, [*table.said_of(asked.seeds, (size[0], size[1])), *said_of(asked)])
    print(made)
    if asked.write:
        asked.write.write_text(replaced(asked.write.read_text(), made))
    wrong = any(one.outcome.caught == (one.fault == catalogue.NONE.name) for one in found)
    return 1 if wrong or any(row.verdict == "fail" for row in rows) else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(ZOO), help="comma-separated")
    parser.add_argument("--faults", default="", help="comma-separated; all of them and none without it")
    parser.add_argument("--seeds", type=int, default=20, help="of each fault, in each network")
    parser.add_argument("--rows", type=int, default=3, help="input seeds for rows without a fault; 0 leaves them away")
    parser.add_argument("--size", default="320x400", metavar="HxW", help="of the images; multiples of 16")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    parser.add_argument("--only-table", action="store_true", help="measure nothing: what has been found so far")
    parser.add_argument("--write", type=Path, nargs="?", const=PAGE, metavar="PAGE", help="put it into docs/parity.md")
    return parser.parse_args()


def said_of(asked: argparse.Namespace) -> list[str]:
    """The command and the machine."""
    said = f"`python -m benchmarks.faults --seeds {asked.seeds} --rows {asked.rows} --size {asked.size}"
    if asked.networks != ",".join(ZOO):
        said += f" --networks {asked.networks}"
    if asked.faults:
        said += f" --faults {asked.faults}"
    return [f"{said}`", described(["tensorflow", "keras", "onnxruntime-gpu", "openvino", "ai-edge-litert", "numpy"])]


def replaced(text: str, made: str) -> str:
    """The page with what is between its markers replaced."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"the page has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{made}{END}{after}"


# --- what is made once a network ------------------------------------------------------------------------------------


def prepare(network: str, size: tuple[int, int], folder: Path) -> None:
    """Export a network, make the files faults need, ask the oracle; nothing where that is done."""
    from keronyx import pipeline
    from keronyx.zoo import weights as stored

    shipped = stored.file_of(network)
    key = digest(BUILDING, shipped.read_bytes() if shipped.is_file() else b"seeded")
    ready = folder / "ready.json"
    if ready.is_file() and json.loads(ready.read_text())["key"] == key:
        return
    say(f"{network}: exporting, asking the oracle")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    source = pipeline.resolve(network, image_size=size)
    exported = pipeline.export(source, kinds=("keras", "onnx"), target=folder / "export", image_size=size)
    if exported.failed:
        raise next(iter(exported.failed.values()))
    shutil.copy(folder / "export" / "model.onnx", folder / "main.onnx")
    with Child("benchmarks.faulting.making", ENVIRONMENT, "the making of variants") as child:
        child.wait_ready(TIMEOUT_S)
        keras = str((folder / "export" / "model.keras").resolve())
        made = child.ask("make", TIMEOUT_S, network=network, keras=keras, folder=str(folder))
    (folder / "specs.json").write_text(json.dumps(made["specs"]))
    specs = trials.Network(folder).specs
    for name in ("both", "square"):
        ask_oracle(folder / f"{name}.keras", specs[name], folder / f"{name}-truth.npz")
    said = "trained weights that come with the zoo" if shipped.is_file() else "seeded weights, untrained"
    ready.write_text(json.dumps({"key": key, "weights": said}))


def ask_oracle(keras: Path, spec: ModelSpec, target: Path) -> None:
    """Write the truth of a Keras file on the scenes of `trials`."""
    import tempfile

    from keronyx.runtime.oracle import Oracle

    images = trials.images(spec)
    oracle = Oracle(SessionRequest(str(keras.resolve()), spec, "cpu", trials.THREADS), TIMEOUT_S)
    with tempfile.TemporaryDirectory(prefix="keronyx-oracle-") as scratch:
        oracle.open()
        found = []
        for start in range(0, len(images), AT_ONCE):
            file = Path(scratch) / "images.npy"
            np.save(file, np.stack(images[start : start + AT_ONCE]))
            found.append(oracle.truth([file], AT_ONCE, "float32", Path(scratch)))
        oracle.close()
    if any(one.name != "float64 oracle" for one in found):
        raise RuntimeError(f"no oracle: {found[0].name}")
    trials.store(found, target)


# --- what is measured -----------------------------------------------------------------------------------------------


def measured(network: str, folder: Path, wanted: Sequence[tuple[str, int]], only_known: bool) -> list[Trial]:
    """Outcomes of the wanted (fault, seed), those kept from earlier and those measured now."""
    key = digest(JUDGING, json.loads((folder / "ready.json").read_text())["key"].encode())
    log = folder / "trials.jsonl"
    kept = {(line["fault"], line["seed"]): line["outcome"] for line in read(log) if line["key"] == key}
    missing = [] if only_known else [one for one in wanted if one not in kept]
    if missing:
        with Child("benchmarks.faulting.trials", ENVIRONMENT, "the trials") as child:
            child.wait_ready(TIMEOUT_S)
            child.ask("begin", TIMEOUT_S, folder=str(folder.resolve()))
            for number, (fault, seed) in enumerate(missing, 1):
                outcome = child.ask("one", TIMEOUT_S, fault=fault, seed=seed)["outcome"]
                kept[fault, seed] = outcome
                append(log, {"key": key, "fault": fault, "seed": seed, "outcome": outcome})
                say(f"{network} {number}/{len(missing)} {fault} {seed}: {told(outcome)}")
    return [
        Trial(network, fault, seed, Outcome(**kept[fault, seed]))
        for fault, seed in wanted
        if kept.get((fault, seed)) is not None
    ]


def checked(network: str, folder: Path, seeds: int, only_known: bool) -> list[CorrectRow]:
    """Rows without a fault, those kept and those asked now."""
    key = digest(JUDGING[:4], json.loads((folder / "ready.json").read_text())["key"].encode())
    log = folder / "rows.jsonl"
    kept = {line["seed"]: line["rows"] for line in read(log) if line["key"] == key}
    for seed in range(seeds):
        if seed not in kept and not only_known:
            say(f"{network}: every row, seed {seed}")
            kept[seed] = [asdict(row) for row in correct.check(network, folder / "export", seed)]
            append(log, {"key": key, "seed": seed, "rows": kept[seed]})
    return [CorrectRow(**row) for seed in sorted(kept) if seed < seeds for row in kept[seed]]


def told(outcome: dict[str, Any] | None) -> str:
    if outcome is None:
        return "no place for it"
    if outcome["refused"]:
        return f"refused: {outcome['refused']}"
    failed = [name for name, verdict in outcome["gates"].items() if verdict == "fail"]
    return f"{', '.join(failed) or 'passed'} (ratio {outcome['ratio'] or float('nan'):.3g}) {outcome['layer']}"


def digest(files: Sequence[str], more: bytes) -> str:
    """Of what files of code do: their comments and docstrings do not count."""
    found = hashlib.sha256(more)
    for file in files:
        tree = ast.parse((ROOT / file).read_text())
        for node in ast.walk(tree):
            if isinstance(body := getattr(node, "body", None), list):
                body[:] = [
                    one for one in body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
                ]
        found.update(ast.dump(tree).encode())
    return found.hexdigest()[:16]


def read(log: Path) -> list[dict[str, Any]]:
    """Lines of a log; half a line, as a kill leaves it, is none."""
    lines = log.read_text().splitlines() if log.is_file() else []
    return [json.loads(line) for line in lines if re.fullmatch(r"\{.*\}", line)]


def append(log: Path, line: dict[str, Any]) -> None:
    with log.open("a") as stream:
        stream.write(json.dumps(line) + "\n")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())

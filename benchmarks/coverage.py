"""Which Keras models export: every model of `benchmarks/families` through the real command, each in a fresh process.

`python -m benchmarks.coverage` from the checkout's root.

What the command calls done is judged again by `verifying.py` (fresh inputs, another process). Results are kept in
build/coverage.json under a hash of the export code, so that an interrupted run goes on where it stopped.

Exit codes: 0; 1 when a file was wrong in silence, a command crashed or ran out of time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks import outcomes
from benchmarks.families import FAMILIES, Model
from benchmarks.machine import described
from benchmarks.outcomes import Outcome
from keronyx.errors import KeronyxError
from keronyx.process import Child

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "build" / "coverage.json"
PAGE = ROOT / "docs" / "coverage.md"
TIMEOUT_S = 400.0
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
FAILED = (outcomes.SILENT, outcomes.CRASH, outcomes.TIMEOUT)


def main() -> int:
    asked = arguments()
    chosen = [m for m in FAMILIES.values() if not asked.only or m.family in asked.only or key_of(m) in asked.only]
    if not chosen:
        raise SystemExit(f"no such family: {', '.join(sorted({m.family for m in FAMILIES.values()}))}")
    kept = read()
    if asked.fresh:
        kept = {name: outcome for name, outcome in kept.items() if name not in map(key_of, chosen)}
    with Judge() as judge, ThreadPoolExecutor(1) as judging, tempfile.TemporaryDirectory(prefix="keronyx-") as scratch:
        waiting: tuple[int, Model, Future[Outcome]] | None = None
        for number, model in enumerate(chosen, 1):
            code = code_hash(model)
            known = kept.get(key_of(model))
            fresh = known and (known.result == outcomes.USABLE if asked.failed else known.key == code)
            if fresh and known and (known.raw or not asked.raw):
                continue
            folder = Path(tempfile.mkdtemp(dir=scratch))
            made = known if fresh and known else export(model, code, folder)
            if waiting:  # the last one is judged while this one is exported
                keep(kept, *waiting, len(chosen))
            waiting = number, model, judging.submit(judged, model, made, folder, judge, asked.raw)
        if waiting:
            keep(kept, *waiting, len(chosen))
    found = [kept[key_of(model)] for model in chosen]
    print(outcomes.page(found, said_of(found, asked)))
    if asked.write:
        if asked.only or any(
            outcome.key != code_hash(FAMILIES[name]) for name, outcome in kept.items() if name in FAMILIES
        ):
            raise SystemExit("not written: some results are of other code; run without --only and --failed")
        asked.write.write_text(replaced(asked.write.read_text(), outcomes.page(found, said_of(found, asked))))
    return 1 if any(outcome.result in FAILED for outcome in found) else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="FAMILY[:NAME]", help="may be repeated")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    parser.add_argument("--failed", action="store_true", help="again what was not usable, whatever the code was then")
    parser.add_argument("--raw", action="store_true", help="what tf2onnx alone makes of each model, too")
    parser.add_argument(
        "--write", type=Path, nargs="?", const=PAGE, metavar="PAGE", help="put it into docs/coverage.md"
    )
    return parser.parse_args()


def key_of(model: Model) -> str:
    return f"{model.family}:{model.name}"


def code_hash(model: Model) -> str:
    """Hash of what decides a result: the export and gate code, the model's family, the tools' versions."""
    from keronyx.export.folder import tool_versions

    digest = hashlib.sha256(json.dumps(tool_versions()).encode())
    files = [
        *(ROOT / "export").rglob("*.py"),
        *(ROOT / "keronyx").glob("*.py"),
        *(ROOT / "keronyx/pipeline").glob("*.py"),
        *(ROOT / "keronyx/commands").glob("*.py"),
        *(ROOT / "zoo").glob("*.py"),
        *(ROOT / "benchmarks/families").glob(f"{model.family}.py"),
        ROOT / "benchmarks/families/building.py",
        ROOT / "benchmarks/verifying.py",
    ]
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def read() -> dict[str, Outcome]:
    """Results kept from earlier runs; none when they cannot be read."""
    try:
        return {name: Outcome(**stored) for name, stored in json.loads(KEPT.read_text()).items()}
    except (OSError, ValueError, TypeError):
        return {}


def write(kept: dict[str, Outcome]) -> None:
    KEPT.parent.mkdir(exist_ok=True)
    temporary = KEPT.with_suffix(".tmp")
    temporary.write_text(json.dumps({name: asdict(outcome) for name, outcome in kept.items()}, indent=1))
    os.replace(temporary, KEPT)


def keep(kept: dict[str, Outcome], number: int, model: Model, future: Future[Outcome], of: int) -> None:
    """Wait for a model's outcome, keep it and say it."""
    made = kept[key_of(model)] = future.result()
    write(kept)
    print(f"{number:3}/{of} {key_of(model)}: {told(made)}", file=sys.stderr, flush=True)


def export(model: Model, code: str, folder: Path) -> Outcome:
    """Run the command on one model, into `folder`/out. USABLE stands for green gates here; the note is what it said."""
    returned, said, seconds, peak = command(model, folder / "out", folder / "stderr")
    result, note = outcomes.of_command(returned, said)
    return Outcome(code, model.family, model.name, result, note, None, None, seconds, peak)


def judged(model: Model, made: Outcome, folder: Path, judge: Judge, raw: bool) -> Outcome:
    """What became of the model: its file verified, or its refusal read. Empties the folder."""
    if made.result == outcomes.UNNAMED:
        named = outcomes.names_a_layer(made.note, judge.names(model))
        made = replace(made, result=outcomes.NAMED if named else outcomes.UNNAMED)
    elif made.result == outcomes.USABLE and not made.note:
        made = verified(model, made, folder / "out", judge)
    shutil.rmtree(folder, ignore_errors=True)
    return replace(made, raw=judge.raw(model)) if raw else made


def verified(model: Model, made: Outcome, folder: Path, judge: Judge) -> Outcome:
    """The outcome of a command that called its file good, once an independent process has looked at it."""
    try:
        artifacts = json.loads((folder / "manifest.json").read_text())["artifacts"]
        artifact = next(one for one in artifacts if one["kind"] == "onnx")
    except (OSError, ValueError, StopIteration):
        return replace(made, result=outcomes.SILENT, note="no ONNX file was written")
    found = judge.verify(model, folder / artifact["path"])
    return replace(
        made,
        result=outcomes.SILENT if found["problem"] else outcomes.USABLE,
        note=found["problem"] or f"typical error {found['typical']:.0e} of RMS",
        nodes=found.get("nodes"),
        opset=found.get("opset"),
        peak_mib=artifact["peak_mib"],
    )


def command(model: Model, target: Path, log: Path) -> tuple[int | None, str, float, float]:
    """Exit code (None when it ran out of time), stderr, CPU seconds of it and its children, largest process in MiB."""
    line = [sys.executable, "-m", "keronyx", "export", model.source, *model.options, "-o", str(target), "--json"]
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            line, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True
        )
        ends, late = time.monotonic() + TIMEOUT_S, False
        while True:
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            if time.monotonic() > ends and not late:
                late = True
                os.kill(process.pid, signal.SIGTERM)  # the command ends its own children; Popen's own would reap it
            if time.monotonic() > ends + 10:
                os.kill(process.pid, signal.SIGKILL)
            time.sleep(0.05)
    process.returncode = os.waitstatus_to_exitcode(status)
    said = log.read_text(errors="replace")
    return None if late else process.returncode, said, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


class Judge:
    """The process that verifies, started anew for each family and after each large model. Use it in a `with`."""

    def __init__(self) -> None:
        self._child: Child | None = None
        self._family = ""

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def close(self) -> None:
        if self._child is not None:
            self._child.close()
        self._child = None

    def _ask(self, order: str, model: Model, **arguments: Any) -> dict[str, Any]:
        if self._child is None or not self._child.alive or model.family != self._family or large(model):
            self.close()
            self._family = model.family
            self._child = Child("benchmarks.verifying", ENVIRONMENT, title="the verifying process")
            self._child.wait_ready(60)
        return self._child.ask(order, TIMEOUT_S, source=model.source, options=list(model.options), **arguments)

    def verify(self, model: Model, file: Path, names: bool = True) -> dict[str, Any]:
        try:
            return self._ask("verify", model, onnx=str(file), names=names)
        except KeronyxError as error:
            return {"problem": f"it could not be verified: {error.message}", "typical": None}

    def names(self, model: Model) -> list[str]:
        try:
            return list(self._ask("names", model)["names"])
        except KeronyxError:
            return []

    def raw(self, model: Model) -> str:
        """What tf2onnx alone makes of a model: an outcome, and the problem behind a colon."""
        scratch = Path(tempfile.mkdtemp(prefix="keronyx-"))
        try:
            self.close()  # it patches libraries: a process of its own
            made = self._ask("raw", model, onnx=str(scratch / "raw.onnx"))
            self.close()
            if made["problem"]:
                return f"{outcomes.UNNAMED}: {made['problem']}"
            judged = self.verify(model, scratch / "raw.onnx", names=False)
            return f"{outcomes.SILENT}: {judged['problem']}" if judged["problem"] else outcomes.USABLE
        except KeronyxError as error:
            return f"{outcomes.CRASH}: {error.message}"
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def large(model: Model) -> bool:
    return model.family in ("applications", "zoo")


def told(outcome: Outcome) -> str:
    return f"{outcome.result}, {outcome.seconds:.0f} s" + (f": {outcome.note}" if outcome.note else "")


def said_of(found: list[Outcome], asked: argparse.Namespace) -> list[str]:
    """What was run, on what."""
    counted = Counter(outcome.result == outcomes.USABLE for outcome in found)
    said = "`python -m benchmarks.coverage" + "".join(f" --only {name}" for name in asked.only or ())
    return [
        f"{counted[True]} of {len(found)} models export; each is usable only if an independent process agrees as well",
        f"{said}{' --raw' if asked.raw else ''}`; {sum(outcome.seconds for outcome in found) / 60:.0f} CPU minutes",
        described(["tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime-gpu", "numpy"]),
    ]


def replaced(text: str, made: str) -> str:
    """The page with what is between its markers replaced."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"the page has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{made}{END}{after}"


if __name__ == "__main__":
    raise SystemExit(main())

"""`parity`: every row's answers, and scores on labelled data, against Keras; nothing is timed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

import keronyx
from keronyx import accuracy, task_gate
from keronyx.accuracy import Fixed
from keronyx.errors import DataError, KeronyxError, SourceError, UsageError
from keronyx.export import bisect, folder
from keronyx.export.convert import Exported
from keronyx.pipeline import answers, opening
from keronyx.pipeline.asked import ProfileOptions, Setting
from keronyx.pipeline.placing import judge_placement
from keronyx.pipeline.progress import Progress
from keronyx.pipeline.reporting import Prepare, artifact_kinds
from keronyx.pipeline.tasks import Collected, Task
from keronyx.profiles import environment, plan
from keronyx.runtime import RUNTIMES, find
from keronyx.runtime.handle import Opened, Worker
from keronyx.types import CERTIFICATE_SCHEMA, TIMED, Bisection, Certificate, Row, Runtime, Verdict

MAX_DROP = 0.002
"""What a score may lose against Keras."""


@dataclass(frozen=True)
class ParityOptions:
    """What `parity` was asked for.

    `inputs` is how many are compared at most; `task` what is scored on labelled data, if anything; `bisect` asks for
    the layer of the ONNX file that goes wrong; a thread count of 0 means all usable cores.
    """

    providers: tuple[str, ...] = ("cpu",)
    runtimes: tuple[str, ...] | None = None
    batch: int = 1
    threads: int = 0
    inputs: int = opening.PARITY_INPUTS
    seed: int = 0
    task: Task | None = None
    max_drop: float = MAX_DROP
    fixed: Fixed | None = None
    bisect: bool = False
    timeout_s: float = 300.0
    memory_limit_mib: float | None = None


def certify(prepare: Prepare, options: ParityOptions, progress: Progress) -> Certificate:
    """Check every row that can run here, one process after the other.

    Raises:
        KeronyxError: the source cannot be loaded, the data cannot be read or do not fit, the metric failed, the options
            contradict each other. What befalls a single row is in the certificate instead.
    """
    started = time.perf_counter_ns()
    runtimes = plan.choose(RUNTIMES, options.providers, options.runtimes)
    if options.inputs < 2:
        raise UsageError("one input alone cannot show that a row always answers the same", "--inputs 2 at least")
    kinds = sorted({*artifact_kinds(runtimes), "keras", *(["onnx"] if options.bisect else [])})
    exported = prepare(options.batch, kinds)
    if options.task is not None:
        options.task.check(exported.manifest.spec)
    setting = Setting(options.batch, options.threads or environment.usable_cores())
    warnings: list[str] = []
    with opening.scratch_folder() as scratch:
        bench = _bench(exported, setting, options, Path(scratch))
        run = _Run(bench, options, progress, frozenset(bench.blank(runtime).id for runtime in runtimes))
        reference = run.reference() if options.task is not None else None  # first: errors here are the data's
        rows = {runtime: run.row(runtime) for runtime in runtimes}
        progress.phase("asking the float64 oracle")
        try:
            found = answers.check(bench, run.opened, fixed=options.fixed)
        except KeronyxError as error:
            warnings.append(f"no row could be checked: the oracle failed ({error.message})")
            found = {}
        bisection = _bisection(bench, options, progress) if options.bisect else None
        digest = hashlib.sha256()
        for file in bench.files:
            digest.update(file.read_bytes())
    checked = [replace(row, parity=found.get(row.id)) for row in rows.values()]
    if reference is not None:
        checked = [_with_task(row, run, reference, options) for row in checked]
    warnings += _fewer(checked, options)
    packages = [*(tool for tool in folder.TOOLS if tool != "keronyx"), *(runtime.package for runtime in runtimes)]
    return Certificate(
        schema=CERTIFICATE_SCHEMA,
        keronyx=keronyx.__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        model=exported.manifest.spec,
        artifacts=exported.manifest.artifacts,
        environment=environment.read_environment(packages),
        threads=setting.threads,
        inputs=f"{bench.fed.rotation} inputs: {bench.fed.description}",
        inputs_sha256=digest.hexdigest(),
        limits=_limits(options),
        rows=tuple(checked),
        verdict=_verdict(checked),
        data_sha256=reference.sha256 if reference is not None else "",
        data=options.task.data_name if options.task else "",
        metric=options.task.metric_name if options.task else "",
        bisection=bisection,
        wall_s=round((time.perf_counter_ns() - started) / 1e9, 3),
        warnings=(*exported.manifest.notes, *warnings),
    )


class _Run:
    """Rows opened one after the other: what they answered, and what they scored."""

    def __init__(
        self, bench: opening.Bench, options: ParityOptions, progress: Progress, wanted: frozenset[str]
    ) -> None:
        self.bench, self.options, self.progress, self.wanted = bench, options, progress, wanted
        self.opened: dict[str, Opened] = {}
        self.collected: dict[str, Collected] = {}
        self.unscored: dict[str, str] = {}
        self.rows: dict[str, Row] = {}

    def row(self, runtime: Runtime) -> Row:
        """One row without its parity: opened, asked, scored, closed; once."""
        row_id = self.bench.blank(runtime).id
        if row_id not in self.rows:
            self.rows[row_id] = self._row(runtime)
        return self.rows[row_id]

    def _row(self, runtime: Runtime) -> Row:
        row = self.bench.blank(runtime)
        self.progress.phase(f"asking {row.id}")
        if missing := runtime.missing():
            return replace(row, reason=missing.reason, remedy=missing.remedy)
        found = self.bench.artifact(runtime)
        if isinstance(found, Row):
            return replace(row, status=found.status, reason=found.reason, remedy=found.remedy)
        row = replace(row, artifact_bytes=found[1], evidence=found[2])
        worker = self.bench.worker(row.id, runtime, found[0])
        try:
            opened = self._ask(worker)
            row = judge_placement(replace(row, placement=opened.placement))
            if runtime.provider != "cpu" or runtime.name == "ort":
                row = judge_placement(replace(row, placement=worker.profile()))
            if row.status in TIMED:
                self.opened[row.id] = opened
                self._score(worker, row.id)
        except KeronyxError as error:
            return opening.failed(row, error)
        finally:
            worker.close()
        return row

    def reference(self) -> Collected:
        """What Keras itself scores, as `predict` would run it: the graph row's figures, or those of one opened now.

        Raises:
            KeronyxError: it cannot be scored.
        """
        row = self.row(find("tf-graph", "cpu"))
        if row.id not in self.wanted:
            self.opened.pop(row.id, None)  # it is not among the rows that are judged
        if row.id in self.unscored:
            raise DataError(self.unscored[row.id])
        if row.id not in self.collected:
            raise KeronyxError(f"Keras itself could not be scored: {row.reason}", row.remedy)
        return self.collected[row.id]

    def _ask(self, worker: Worker) -> Opened:
        keep = self.options.inputs
        return worker.open(self.bench.files, keep, self.bench.scratch, lambda calls_ms: len(calls_ms) > keep)

    def _score(self, worker: Worker, row_id: str) -> None:
        task = self.options.task
        if task is not None:
            self.progress.phase(f"scoring {row_id}")
            try:
                self.collected[row_id] = task.evaluate(worker, self.bench.exported.manifest.spec, self.progress)
            except (DataError, SourceError) as error:  # Keras' own answers were scored before: this row's cannot be
                self.unscored[row_id] = error.message


def _bench(exported: Exported, setting: Setting, options: ParityOptions, scratch: Path) -> opening.Bench:
    """Inputs as `profile` draws them; from the labelled data where there are such."""
    asked = ProfileOptions(
        timeout_s=options.timeout_s, memory_limit_mib=options.memory_limit_mib, seed=options.seed, hot=False
    )
    draw, words = (options.task.draw, options.task.data_name) if options.task else (None, "")
    made = opening.bench(exported, setting, asked, scratch, options.inputs, draw, words)
    given = options.task.inputs(exported.manifest.spec, options.inputs, options.batch) if options.task else None
    if options.task is None or given is None:
        return made
    for path, array in zip(made.files, given, strict=True):
        np.save(path, array, allow_pickle=False)
    return replace(made, fed=replace(made.fed, arrays=tuple(given), description=words))


def _bisection(bench: opening.Bench, options: ParityOptions, progress: Progress) -> Bisection:
    """The layers of the ONNX file, on the first of the inputs. Raises KeronyxError."""
    exported = bench.exported
    inputs = [np.load(file, mmap_mode="r")[0] for file in bench.files]
    return bisect.bisect(
        exported.folder,
        inputs,
        trust=exported.source.trust,
        custom_objects=exported.source.custom_objects,
        timeout_s=options.timeout_s,
        progress=progress.phase,
    )


def _with_task(row: Row, run: _Run, reference: Collected, options: ParityOptions) -> Row:
    task, mine = options.task, run.collected.get(row.id)
    if row.parity is not None and row.id in run.unscored:
        return replace(row, parity=task_gate.task_failed(row.parity, run.unscored[row.id]))
    if row.parity is None or mine is None or task is None:
        return row
    scores = task.compare(mine, reference)
    decides = answers.computed_in(row.id) != "float32" or row.precision != plan.PRECISION
    return replace(row, parity=task_gate.with_task(row.parity, scores, options.max_drop, decides))


def _verdict(rows: Sequence[Row]) -> Verdict:
    """FAIL where any row's answers are wrong, NOT_RUN where none was checked."""
    verdicts = {row.parity.verdict for row in rows if row.parity is not None}
    return Verdict.FAIL if Verdict.FAIL in verdicts else Verdict.PASS if verdicts else Verdict.NOT_RUN


def _fewer(rows: Sequence[Row], options: ParityOptions) -> list[str]:
    """What is to be said where fewer inputs were compared than were asked for."""
    compared = min((row.parity.inputs for row in rows if row.parity is not None), default=options.inputs)
    return [f"{compared} of {options.inputs} inputs were compared: the oracle's time was over"] * (
        compared < options.inputs
    )


def _limits(options: ParityOptions) -> dict[str, float]:
    if options.fixed is not None:
        return {"atol": options.fixed.atol, "rtol": options.fixed.rtol, "max_drop": options.max_drop}
    return {**accuracy.LIMITS, "enough_images": task_gate.ENOUGH_IMAGES, "max_drop": options.max_drop}

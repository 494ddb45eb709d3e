"""One batch size of a run: its rows, their workers, their samples and their answers. Joins runtimes and profiles."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from keronyx.errors import KeronyxError, UnavailableError, WorkerError, WorkerTimeoutError
from keronyx.export.convert import Exported
from keronyx.pipeline.progress import Progress
from keronyx.profiles import environment, inputs, measure, parity, plan
from keronyx.profiles.inputs import Inputs
from keronyx.profiles.parity import Answers
from keronyx.runtime import find
from keronyx.runtime.handle import Opened, Worker
from keronyx.types import (
    TIMED,
    Array,
    Placement,
    Plan,
    RoundReading,
    Row,
    Runtime,
    Samples,
    SessionRequest,
    Status,
)
from keronyx.zoo import scenes

PARITY_INPUTS = 4
WARMUP_CALLS = 4
"""Calls before rounds begin, after the first: ONNX Runtime needs three. Their outputs are those parity looks at."""

DEFAULT_BUDGET_S = (60.0, 150.0)
ENOUGH_ROUNDS = 10
"""Without a budget, measuring may take the first of these, or up to the second to get that many rounds."""

INTERRUPTED = "interrupted"

NOT_REACHED = KeronyxError("interrupted before it was measured")
NOTHING = measure.Measured({}, Samples(), (), {}, "no row can run")


@dataclass(frozen=True)
class ProfileOptions:
    """What `profile` was asked for. `runtimes` None means all; `threads` 0 all usable cores; `budget_s` None what ten
    rounds need, between one minute and three."""

    providers: tuple[str, ...] = ("cpu",)
    runtimes: tuple[str, ...] | None = None
    batches: tuple[int, ...] = (1,)
    threads: int = 0
    budget_s: float | None = None
    max_rounds: int = 400
    turn_ms: float = 20.0
    timeout_s: float = 300.0
    memory_limit_mib: float | None = None
    seed: int = 0
    hot: bool = False
    data: Path | None = None


@dataclass(frozen=True)
class BatchResult:
    """One batch of a run, finished."""

    exported: Exported
    plan: Plan
    rows: tuple[Row, ...]
    control: Samples
    rounds: tuple[RoundReading, ...]
    stopped: str
    warnings: tuple[str, ...]


@dataclass
class BatchRun:
    """One batch of a run in progress: its rows, their workers, and what they answered."""

    exported: Exported
    batch: int
    runtimes: tuple[Runtime, ...]
    options: ProfileOptions
    progress: Progress
    rows: dict[str, Row] = field(default_factory=dict)
    workers: dict[str, Worker] = field(default_factory=dict)
    opened: dict[str, Opened] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    reference: str | None = None
    measured: measure.Measured = NOTHING

    def run(self) -> BatchResult:
        """Every step in turn. Ctrl-C ends it with what there is; no worker is asked anything after that, because the
        one that was interrupted still owes an answer."""
        self.threads = self.options.threads or environment.usable_cores()
        with tempfile.TemporaryDirectory(prefix="keronyx-") as scratch:
            self.scratch = Path(scratch)
            self.fed = self._draw_inputs()
            self.input_files = self._store(self.fed)
            try:
                try:
                    self._open_all()
                    self._check_parity()  # before the rounds, so that Ctrl-C in them leaves no row unchecked
                    self._measure()
                    self._profile_placement()
                except KeyboardInterrupt:
                    self._wind_up()
            finally:
                for worker in self.workers.values():
                    worker.close()
        return BatchResult(
            self.exported,
            self._plan(),
            tuple(self.rows.values()),
            self.measured.control,
            self.measured.rounds,
            self.measured.stopped,
            tuple(self.warnings),
        )

    def given_up(self, like: BatchResult, error: KeronyxError, stopped: str) -> BatchResult:
        """This batch without a measurement: every row says why."""
        rows = tuple(self._without_run(runtime, error) for runtime in self.runtimes)
        made = replace(like.plan, rows=tuple(row.id for row in rows), reference={})
        return BatchResult(self.exported, made, rows, Samples(), (), stopped, ())

    def _wind_up(self) -> None:
        """After Ctrl-C: check the answers there are, and say of every row without figures why it has none."""
        self.measured = replace(self.measured, stopped=INTERRUPTED)
        if not any(row.parity for row in self.rows.values()):
            self._check_parity(may_start=False)
        for runtime in self.runtimes:
            row = self.rows.get(plan.row_id(runtime, self.batch))
            if row is None:
                row = self._without_run(runtime, NOT_REACHED)
            elif row.status in TIMED and not row.samples.wall_ns:
                row = failed(row, NOT_REACHED)
            self.rows[row.id] = row

    def _draw_inputs(self) -> Inputs:
        specs = self.exported.manifest.spec.inputs
        self.rotation = inputs.rotation(specs, self.batch, environment.last_level_cache_bytes(), self.options.hot)
        # Parity needs two at least: one input cannot tell a row that always gives the same answer.
        count = max(self.rotation, 2)

        def draw(images: int, height: int, width: int) -> Array:
            return scenes.batch(images, height, width, self.options.seed)[0]

        return inputs.make(specs, self.batch, count, draw, self.options.data, self.options.seed)

    def _store(self, fed: Inputs) -> list[Path]:
        paths = [self.scratch / f"input-{k}.npy" for k in range(len(fed.arrays))]
        for path, array in zip(paths, fed.arrays, strict=True):
            np.save(path, array, allow_pickle=False)
        return paths

    def _open_all(self) -> None:
        """Start, load and warm up one row after the other, so that no cold start is measured in another's shade."""
        for runtime in self.runtimes:
            row = self._blank(runtime)
            self.rows[row.id] = self._open(row, runtime)

    def _blank(self, runtime: Runtime) -> Row:
        return Row(
            id=plan.row_id(runtime, self.batch),
            runtime=runtime.name,
            provider=runtime.provider,
            precision=plan.PRECISION,
            batch=self.batch,
            status=Status.UNAVAILABLE,
            version=environment.package_version(runtime.package),
        )

    def _without_run(self, runtime: Runtime, error: KeronyxError) -> Row:
        missing, row = runtime.missing(), self._blank(runtime)
        return failed(row, UnavailableError(missing.reason, missing.remedy) if missing else error)

    def _open(self, row: Row, runtime: Runtime) -> Row:
        if missing := runtime.missing():
            return replace(row, reason=missing.reason, remedy=missing.remedy)
        found = self._artifact(runtime)
        if isinstance(found, Row):
            return replace(row, status=found.status, reason=found.reason, remedy=found.remedy)
        path, size, evidence = found
        self.progress.phase(f"starting {row.id}")
        row = replace(row, artifact_bytes=size, evidence=evidence)
        try:
            worker = self._worker(row.id, runtime, path)
        except OSError as error:
            return failed(row, WorkerError(f"no process could be started: {error.strerror}", "free some memory"))
        try:
            opened = worker.open(
                self.input_files, WARMUP_CALLS, min(PARITY_INPUTS, self.fed.rotation), self.scratch, self.rotation
            )
        except KeronyxError as error:
            worker.close()
            return failed(row, error)
        except BaseException:
            worker.close()
            raise
        row = replace(row, status=Status.OK, cold=opened.cold, placement=opened.placement)
        row = judge_placement(row)
        if row.status is Status.FELL_BACK:
            worker.close()
            return row
        self.workers[row.id] = worker
        self.opened[row.id] = opened
        return row

    def _artifact(self, runtime: Runtime) -> tuple[Path, int, tuple[str, ...]] | Row:
        """The artifact a runtime loads; or a row that says why there is none."""
        manifest, problems = self.exported.manifest, self.exported.failed
        for kind in runtime.artifacts:
            if artifact := manifest.artifact(kind):
                return (self.exported.folder / artifact.path).resolve(), artifact.bytes, artifact.evidence
        row = self._blank(runtime)
        for kind in runtime.artifacts:
            if kind in problems:
                return replace(row, status=Status.FAILED, reason=problems[kind].message, remedy=problems[kind].remedy)
        return replace(
            row,
            reason=f"it loads {' or '.join(runtime.artifacts)} files; this source has none",
            remedy="name the model's .keras file",
        )

    def _worker(self, row: str, runtime: Runtime, path: Path) -> Worker:
        manifest, source = self.exported.manifest, self.exported.source
        request = SessionRequest(
            path=str(path),
            spec=manifest.spec,
            provider=runtime.provider,
            threads=self.threads,
            batch=self.batch,
            trust=source.trust,
            custom_objects=source.custom_objects,
        )
        limit = self.options.memory_limit_mib or environment.available_memory_mib() * 0.9
        return Worker(row, runtime.name, request, self.options.timeout_s, limit)

    def _measure(self) -> None:
        self.reference = plan.reference_row(list(self.workers))
        if self.reference is None:
            return
        self.progress.phase("measuring")
        pids = {row: worker.pid for row, worker in self.workers.items()}
        sensors = environment.SystemSensors(pids)
        self.measured = measure.measure(
            self.workers, self.reference, self._plan(), time.perf_counter_ns, sensors, self.progress.rounds
        )
        self._take_in()
        if self.measured.stopped == INTERRUPTED:
            raise KeyboardInterrupt

    def _plan(self) -> Plan:
        options = self.options
        return Plan(
            rows=tuple(self.rows),
            reference={self.batch: self.reference} if self.reference else {},
            seed=options.seed,
            threads=self.threads,
            budget_s=self._budget_s(),
            max_rounds=options.max_rounds,
            warmup_calls=WARMUP_CALLS,
            turn_ms=options.turn_ms,
            timeout_s=options.timeout_s,
            inputs=self.fed.description,
            rotation=self.rotation,
        )

    def _budget_s(self) -> float:
        """The time asked for, shared among the batches; or what ten rounds will take by the warm-up calls."""
        if self.options.budget_s is not None:
            return self.options.budget_s / len(self.options.batches)
        calls_ms = [max(np.median(opened.cold.warmup_ms), self.options.turn_ms) for opened in self.opened.values()]
        round_s = (sum(calls_ms) + max(calls_ms, default=0.0)) / 1000  # the control is one more turn
        return round(min(max(DEFAULT_BUDGET_S[0], ENOUGH_ROUNDS * 1.2 * round_s), DEFAULT_BUDGET_S[1]), 1)

    def _take_in(self) -> None:
        for row_id, samples in self.measured.samples.items():
            row = replace(self.rows[row_id], samples=samples)
            if row_id in self.measured.failures:
                error, number = self.measured.failures[row_id]
                row = failed(row, error)
                row = replace(row, reason=f"{row.reason} (in round {number})")
            self.rows[row_id] = row

    def _profile_placement(self) -> None:
        """Ask what really executed where; outside all timing, since profiling perturbs.

        Asked of ONNX Runtime, which can tell, and of every row on an accelerator. Other CPU rows have no accelerator in
        sight (see `handle.environment`), so they cannot have run elsewhere.
        """
        for row_id, worker in self.workers.items():
            row = self.rows[row_id]
            if row_id in self.measured.failures or (row.provider == "cpu" and row.runtime != "ort"):
                continue
            self.progress.phase(f"profiling {row_id}")
            try:
                placement = worker.profile()
            except KeronyxError as error:
                row = self.rows[row_id]
                self.rows[row_id] = replace(row, warnings=(*row.warnings, f"placement unproved: {error.message}"))
                continue
            self.rows[row_id] = judge_placement(replace(self.rows[row_id], placement=placement))

    def _check_parity(self, may_start: bool = True) -> None:
        if not self.opened:
            return
        self.progress.phase("checking answers")
        try:
            name, reference = self._reference_answers(may_start)
        except KeronyxError as error:
            self.warnings.append(f"no row could be checked: the reference failed ({error.message})")
            return
        expected = self.exported.manifest.spec.outputs
        for row_id, opened in self.opened.items():
            answers = _answers(opened)
            both = min(len(answers.arrays), len(reference.arrays))  # a slow row was warmed up with fewer inputs
            right = replace(reference, arrays=reference.arrays[:both])
            checked = parity.check(replace(answers, arrays=answers.arrays[:both]), right, expected, name)
            self.rows[row_id] = replace(self.rows[row_id], parity=checked)

    def _reference_answers(self, may_start: bool) -> tuple[str, Answers]:
        """What Keras itself answers: the eager row's own outputs, or those of a process opened for this alone."""
        has_keras = self.exported.manifest.artifact("keras") is not None
        runtime = find("tf-eager" if has_keras else "tf-graph", "cpu")
        row_id = plan.row_id(runtime, self.batch)
        name = "Keras float32 (eager)" if has_keras else "the SavedModel (tf.function)"
        if row_id in self.opened:
            return name, _answers(self.opened[row_id])
        if not may_start:
            raise KeronyxError(NOT_REACHED.message)
        found = self._artifact(runtime)
        if isinstance(found, Row):
            raise UnavailableError(found.reason, found.remedy)
        keep = min(PARITY_INPUTS, self.fed.rotation)
        worker = self._worker("reference", runtime, found[0])
        try:
            return name, _answers(worker.open(self.input_files, keep, keep, self.scratch, self.rotation))
        finally:
            worker.close()


def failed(row: Row, error: KeronyxError) -> Row:
    """The row with the status an error means: UNAVAILABLE, TIMEOUT or FAILED."""
    status = Status.FAILED
    if isinstance(error, UnavailableError):
        status = Status.UNAVAILABLE
    elif isinstance(error, WorkerTimeoutError):
        status = Status.TIMEOUT
    return replace(row, status=status, reason=error.message, remedy=error.remedy)


def judge_placement(row: Row) -> Row:
    """OK, PARTIAL or FELL_BACK by where the nodes went: assigned at load, executed where a profile tells.

    Either account is enough to take the OK away; it takes both to keep it.
    """
    placement: Placement = row.placement
    for shares in (placement.executed, placement.assigned):
        if shares and not shares.get(row.provider):
            others = ", ".join(sorted(shares))
            return replace(
                row,
                status=Status.FELL_BACK,
                reason=f"no node ran on {row.provider}: all ran on {others}",
                remedy="",
                samples=Samples(),  # another provider's time must not stand under this one's name
            )
    elsewhere = {*placement.assigned, *placement.executed} - {row.provider}
    return replace(row, status=Status.PARTIAL if elsewhere else Status.OK)


def _answers(opened: Opened) -> Answers:
    arrays = [[np.load(path, allow_pickle=False) for path in paths] for paths in opened.files]
    return Answers(opened.outputs, arrays)

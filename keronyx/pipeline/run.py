"""One setting of a run: its rows, how they are opened, checked and proved, and what was measured of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from keronyx.errors import KeronyxError
from keronyx.export.convert import Exported
from keronyx.pipeline import answers, opening
from keronyx.pipeline.answers import NOT_STARTED
from keronyx.pipeline.asked import ProfileOptions, Setting
from keronyx.pipeline.opening import failed
from keronyx.pipeline.placing import judge_placement
from keronyx.pipeline.progress import Progress
from keronyx.profiles import measure, proofs, warmup
from keronyx.runtime.handle import Opened, Worker
from keronyx.types import TIMED, Plan, RoundReading, Row, Runtime, Samples, Status, setting_name

INTERRUPTED = "interrupted"
NOTHING = measure.Measured({}, Samples(), (), {}, "no row can run")

DEFAULT_BUDGET_S = (60.0, 150.0)
ENOUGH_ROUNDS = 10


@dataclass(frozen=True)
class SettingResult:
    """One setting of a run, finished."""

    exported: Exported
    plan: Plan
    rows: tuple[Row, ...]
    control: Samples
    rounds: tuple[RoundReading, ...]
    stopped: str
    warnings: tuple[str, ...]


@dataclass
class SettingRun:
    """One setting of a run in progress: its rows, their workers, and what they answered.

    `rows` and `measured` hold what an earlier run found, when rounds are added to it.
    """

    exported: Exported
    setting: Setting
    runtimes: tuple[Runtime, ...]
    options: ProfileOptions
    progress: Progress
    rows: dict[str, Row] = field(default_factory=dict)
    measured: measure.Measured = NOTHING
    workers: dict[str, Worker] = field(default_factory=dict)
    opened: dict[str, Opened] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    reference: str | None = None

    @property
    def name(self) -> str:
        """The setting's name in the report."""
        return setting_name(self.setting.batch, self.setting.row_threads, self.setting.concurrency)

    def prepare(self, scratch: str) -> None:
        """Draw the inputs. Raises DataError."""
        self.bench = opening.bench(self.exported, self.setting, self.options, Path(scratch))

    def result(self) -> SettingResult:
        measured = self.measured
        rows = tuple(self.rows.values())
        warnings = tuple(self.warnings)
        return SettingResult(
            self.exported, self.plan(), rows, measured.control, measured.rounds, measured.stopped, warnings
        )

    def given_up(self, like: SettingResult, error: KeronyxError, stopped: str) -> SettingResult:
        """This setting without a measurement: every row says why."""
        rows = tuple(opening.without_run(runtime, self.setting, error) for runtime in self.runtimes)
        made = replace(like.plan, rows=tuple(row.id for row in rows), reference={})
        return SettingResult(self.exported, made, rows, Samples(), (), stopped, ())

    # --- opening

    def open_all(self) -> None:
        """Start, load and warm up one row after the other, so that no cold start is measured in another's shade.

        A row that has been measured in an earlier set of processes gets a fresh one; one that failed there does not.
        """
        for runtime in self.runtimes:
            row = self.rows.get(self.bench.blank(runtime).id)
            if row is None:
                row = self.bench.blank(runtime)
                self.rows[row.id] = self._open(row, runtime)
            elif row.status in TIMED and row.id not in self.measured.failures:
                self.rows[row.id] = self._open(row, runtime)

    def _open(self, row: Row, runtime: Runtime) -> Row:
        self.progress.phase(f"starting {row.id}")
        found = self.bench.open(row, runtime)
        if isinstance(found, Row):
            return found
        worker, opened = found
        if row.cold is None:
            row = replace(row, cold=opened.cold, harness_ns=opened.harness_ns)
        else:
            row = replace(row, cold_repeats=(*row.cold_repeats, opened.cold))
        placed = judge_placement(replace(row, placement=replace(opened.placement, executed=row.placement.executed)))
        if placed.status not in TIMED:
            worker.close()
            return placed
        path = self.bench.artifact(runtime)
        assert not isinstance(path, Row)
        self.workers[row.id], self.opened[row.id] = worker, opened
        return replace(placed, artifact_bytes=path[1], evidence=path[2])

    def close(self) -> None:
        """End every worker."""
        for worker in self.workers.values():
            worker.close()
        self.workers.clear()

    def check_answers(self, may_start: bool = True) -> None:
        """Give every opened row its parity."""
        if not self.opened:
            return
        self.progress.phase("checking answers")
        try:
            found = answers.check(self.bench, self.opened, may_start)
        except KeronyxError as error:
            self.warnings.append(f"no row could be checked: the reference failed ({error.message})")
            return
        for row_id, checked in found.items():
            earlier = self.rows[row_id].parity  # what an earlier set of processes proved stays with the row
            gates = [gate for gate in earlier.gates if gate.name in proofs.NAMES] if earlier is not None else []
            self.rows[row_id] = replace(self.rows[row_id], parity=proofs.with_proofs(checked, gates))

    def collect_witness(self) -> None:
        """Keep what the workers have seen of wrong answers in the rounds, before they are closed."""
        for row_id, worker in self.workers.items():
            if row_id not in self.measured.failures:
                row = self.rows[row_id]
                self.rows[row_id] = replace(row, parity=proofs.with_proofs(row.parity, (worker.followed(),)))

    # --- measuring

    def take_in(self, measured: measure.Measured) -> None:
        """Give every row its samples, and those that failed in a round their status."""
        self.measured = measured
        for row_id, samples in measured.samples.items():
            row = replace(self.rows[row_id], samples=samples)
            if row.status is Status.FELL_BACK:
                row = replace(row, samples=Samples())  # the round's others keep theirs
            if row_id in measured.failures:
                error, number = measured.failures[row_id]
                row = failed(row, error)
                row = replace(row, reason=f"{row.reason} (in round {number})")
            self.rows[row_id] = row

    def plan(self) -> Plan:
        """What is asked of this setting."""
        options = self.options
        return Plan(
            rows=tuple(self.rows),
            reference={self.name: self.reference} if self.reference else {},
            seed=options.seed,
            threads=self.setting.threads,
            budget_s=self.budget_s(),
            max_rounds=options.max_rounds,
            warmup_calls=warmup.MOST_CALLS,
            turn_ms=options.turn_ms,
            timeout_s=options.timeout_s,
            inputs=self.bench.fed.description,
            rotation=self.bench.rotation,
            data="" if options.data is None else str(options.data),
            image_size=options.image_size,
        )

    def budget_s(self) -> float:
        """The time asked for, shared among the settings; or what ten rounds will take by the warm-up calls."""
        options = self.options
        if options.budget_s is not None:
            return options.budget_s / (len(options.batches) * len(options.threads) * len(options.concurrency))
        calls_ms = [max(np.median(one.cold.warmup_ms), options.turn_ms) for one in self.opened.values()]
        round_s = (sum(calls_ms) + max(calls_ms, default=0.0)) / 1000  # the control is one more turn
        return round(min(max(DEFAULT_BUDGET_S[0], ENOUGH_ROUNDS * 1.2 * round_s), DEFAULT_BUDGET_S[1]), 1)

    # --- after the rounds

    def prove(self) -> None:
        """Prove of every row that its timed calls did the work, and ask what really executed where.

        Outside all timing, since it perturbs. Placement is asked of ONNX Runtime, which can tell, and of every row on
        an accelerator. Other CPU rows have no accelerator in sight (see `handle.environment`), so they cannot have run
        elsewhere.
        """
        for row_id, worker in self.workers.items():
            if row_id in self.measured.failures:
                continue
            self.progress.phase(f"proving {row_id}")
            try:
                self.rows[row_id] = _proved(self.rows[row_id], worker)
            except KeronyxError as error:
                row = self.rows[row_id]
                self.rows[row_id] = replace(row, warnings=(*row.warnings, f"unproved: {error.message}"))

    def wind_up(self) -> None:
        """After Ctrl-C: check the answers there are, and say of every row without figures why it has none."""
        self.measured = replace(self.measured, stopped=INTERRUPTED)
        if not any(row.parity for row in self.rows.values()):
            self.check_answers(may_start=False)
        for runtime in self.runtimes:
            row = self.rows.get(self.bench.blank(runtime).id)
            if row is None:
                row = opening.without_run(runtime, self.setting, NOT_STARTED)
            elif row.status in TIMED and not row.samples.wall_ns:
                row = failed(row, NOT_STARTED)
            self.rows[row.id] = row


def _proved(row: Row, worker: Worker) -> Row:
    """The row with what its worker proves after the rounds."""
    row = replace(row, parity=proofs.with_proofs(row.parity, worker.prove()))
    if row.provider == "cpu" and row.runtime != "ort":
        return row
    row = judge_placement(replace(row, placement=worker.profile()))
    if row.provider == "cpu":
        return row
    device = worker.device_times()
    return replace(row, device=device, parity=proofs.with_proofs(row.parity, proofs.synchronised(device, row.samples)))

"""The rounds of one run, or of two that are measured interleaved: in one or more sets of fresh processes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from keronyx.errors import KeronyxError
from keronyx.pipeline.opening import scratch_folder
from keronyx.pipeline.run import INTERRUPTED, SettingResult, SettingRun
from keronyx.profiles import environment, measure, plan
from keronyx.profiles.measure import Measured, TurnTaker
from keronyx.types import Samples, Turn

AGAIN = "again"
"""What a second run's own A/A' control is called while it is measured."""


@dataclass(frozen=True)
class Shifted:
    """A worker whose turns start some inputs further on, as those of a control must."""

    worker: TurnTaker
    by: int

    def turn(self, start: int, turn_ns: int) -> Turn:
        return self.worker.turn(start + self.by, turn_ns)


def run_alone(run: SettingRun) -> SettingResult:
    """Every step of a run in turn.

    Ctrl-C ends it with what there is; no worker is asked anything after that, because the one that was interrupted
    still owes an answer.

    Raises:
        DataError: the inputs cannot be made.
    """
    with scratch_folder() as scratch:
        run.prepare(scratch)
        try:
            try:
                begun = time.perf_counter_ns()
                run.open_all()
                run.check_answers()  # before the rounds, so that Ctrl-C in them leaves no row unchecked
                take_sets({"": run}, (time.perf_counter_ns() - begun) / 1e9)
                run.prove()
            except KeyboardInterrupt:
                run.wind_up()
        finally:
            run.close()
    return run.result()


def take_sets(sides: Mapping[str, SettingRun], startup_s: float) -> None:
    """Rounds in as many sets of processes as were asked for, or as the budget bears.

    Args:
        sides: the runs, all opened, by the prefix that their rows are given meanwhile; "" where there is but one.
        startup_s: what opening them took.

    Raises:
        KeyboardInterrupt: Ctrl-C; what was measured is in the runs.
    """
    lead = next(iter(sides.values()))
    for run in sides.values():
        run.reference = run.reference or plan.reference_row(list(run.workers))
    if any(run.reference is None for run in sides.values()):
        return
    budget_s, begun = lead.budget_s(), time.perf_counter_ns()
    if lead.options.budget_s is None:
        budget_s = sum(run.budget_s() for run in sides.values())
    most = lead.options.max_rounds - len(lead.measured.rounds)
    sets = lead.options.processes or plan.process_sets(budget_s, startup_s, most)
    for number in range(1, sets + 1):
        elapsed_s = (time.perf_counter_ns() - begun) / 1e9
        ends_s = elapsed_s + (budget_s - elapsed_s) / (sets - number + 1)
        done = len(lead.measured.rounds)
        if number > 1:
            if done >= lead.options.max_rounds:
                return
            if elapsed_s + startup_s > budget_s:
                lead.warnings.append(f"{number - 1} of {sets} sets of processes: the budget bears no more starts")
                return
            for run in sides.values():
                run.collect_witness()
                run.close()
            for run in sides.values():
                run.open_all()
        left_s = max(ends_s - (time.perf_counter_ns() - begun) / 1e9, 0.0)
        most = done + -(-(lead.options.max_rounds - done) // (sets - number + 1))
        if not _take_rounds(sides, lead, left_s, most):
            return


def _take_rounds(sides: Mapping[str, SettingRun], lead: SettingRun, budget_s: float, most: int) -> bool:
    """Rounds in the present processes; whether there were any to take them."""
    workers: dict[str, TurnTaker] = {}
    pids: dict[str, int] = {}
    for prefix, run in sides.items():
        workers |= {prefix + row: worker for row, worker in run.workers.items()}
        pids |= {prefix + row: worker.pid for row, worker in run.workers.items()}
        if run is not lead and run.reference in run.workers:
            workers[prefix + AGAIN] = Shifted(run.workers[run.reference], run.bench.rotation // 2)
    if not workers:
        return False
    lead.progress.phase("measuring")
    measured = measure.measure(
        workers,
        _prefix(sides, lead) + str(lead.reference),
        replace(lead.plan(), budget_s=budget_s, max_rounds=most),
        time.perf_counter_ns,
        environment.SystemSensors(pids),
        lead.progress.rounds,
        _joined(sides, lead) if lead.measured.rounds else None,
        lead.name,
    )
    for prefix, run in sides.items():
        run.take_in(_part(measured, prefix, run is lead))
    if measured.stopped == INTERRUPTED:
        raise KeyboardInterrupt
    return True


def _prefix(sides: Mapping[str, SettingRun], wanted: SettingRun) -> str:
    return next(prefix for prefix, run in sides.items() if run is wanted)


def _joined(sides: Mapping[str, SettingRun], lead: SettingRun) -> Measured:
    """What all sides have so far, under the names it is measured by."""
    samples: dict[str, Samples] = {}
    failures: dict[str, tuple[KeronyxError, int]] = {}
    for prefix, run in sides.items():
        samples |= {prefix + row: one for row, one in run.measured.samples.items()}
        failures |= {prefix + row: one for row, one in run.measured.failures.items()}
        if run is not lead:
            samples[prefix + AGAIN] = run.measured.control
    return Measured(samples, lead.measured.control, lead.measured.rounds, failures, lead.measured.stopped)


def _part(measured: Measured, prefix: str, leads: bool) -> Measured:
    """One side's share of joint rounds, under its own names."""
    own = {row.removeprefix(prefix): one for row, one in measured.samples.items() if row.startswith(prefix)}
    failures = {row.removeprefix(prefix): one for row, one in measured.failures.items() if row.startswith(prefix)}
    failures.pop(AGAIN, None)
    again = own.pop(AGAIN, Samples())
    return Measured(own, measured.control if leads else again, measured.rounds, failures, measured.stopped)

"""More rounds for a run that was stored, in fresh processes on the same machine."""

from __future__ import annotations

import math
import time
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

from keronyx.errors import KeronyxError, ReportError, UsageError
from keronyx.pipeline.asked import ProfileOptions, Setting
from keronyx.pipeline.progress import Progress
from keronyx.pipeline.reporting import Prepare, artifact_kinds, check_options
from keronyx.pipeline.rounds import run_alone
from keronyx.pipeline.run import INTERRUPTED, SettingResult, SettingRun
from keronyx.profiles import environment, preflight
from keronyx.profiles.measure import Measured
from keronyx.runtime import RUNTIMES
from keronyx.types import TIMED, Environment, Report, RoundReading, Row, Samples, Status


def resume(run: Report, prepare: Prepare, options: ProfileOptions, progress: Progress) -> Report:
    """Add rounds to every setting of a run; rows that failed in it keep what they have and are not tried again.

    Args:
        options: of these only the budget, the rounds to add, process sets, time-out and memory limit; the rest is the
            run's own.

    Raises:
        UsageError: nothing was measured in the run; another machine, other versions or another model.
        ReportError: its plan, rows and rounds contradict one another.
        KeronyxError: as `profile`.
    """
    started = time.perf_counter_ns()
    refuse_damaged(run)
    options = terms(run, options)
    check_options(options)
    packages = [*run.environment.packages]
    refuse_other_machine(run.environment, environment.read_environment(packages))
    if not run.plan.reference:
        raise UsageError("nothing was measured in that run", "profile again")
    checks = preflight.preflight()
    parts: list[SettingResult] = []
    for name in run.plan.reference:
        if parts and parts[-1].stopped == INTERRUPTED:
            break
        parts.append(run_alone(_continued(run, name, prepare, options, progress)))
    rows = {row.id: row for part in parts for row in part.rows}
    measured = {setting: part for part in parts for setting in part.plan.reference}
    kept = tuple(one for one in run.rounds if one.setting not in measured)
    return replace(
        run,
        plan=replace(run.plan, budget_s=run.plan.budget_s + sum(part.plan.budget_s for part in parts)),
        rows=tuple(rows.get(row.id, row) for row in run.rows),
        control={**run.control, **{setting: part.control for setting, part in measured.items()}},
        rounds=(*kept, *(reading for part in parts for reading in part.rounds)),
        wall_s=round(run.wall_s + (time.perf_counter_ns() - started) / 1e9, 3),
        stopped=parts[-1].stopped,
        preflight=checks,
        warnings=tuple(dict.fromkeys((*run.warnings, *(warning for part in parts for warning in part.warnings)))),
        interleaved="",  # its rounds are no longer those of another run
        resumed=(*run.resumed, datetime.now(UTC).isoformat(timespec="seconds")),
    )


def refuse_damaged(run: Report) -> None:
    """Raises ReportError for a report that no run can have written, and that nothing can be added to."""
    plan, ids = run.plan, [row.id for row in run.rows]
    of_setting = {row.setting: row for row in run.rows}
    sound = {
        "seed": plan.seed >= 0,
        "turn_ms": math.isfinite(plan.turn_ms) and plan.turn_ms > 0,
        "threads": plan.threads >= 1 and all((row.threads or 1) >= 1 for row in run.rows),
        "batch": all(1 <= row.batch < 2**31 and 1 <= row.concurrency < 2**16 for row in run.rows),
        "rows": len(set(ids)) == len(ids),
        "reference": all(name in of_setting and row in ids for name, row in plan.reference.items()),
        "rounds": all(1 <= one.process_set < 2**31 for one in run.rounds),
        "samples": all(
            not row.samples.wall_ns or len(row.samples.wall_ns) >= _count(run, row.setting)
            for row in run.rows
            if row.status in TIMED
        ),
    }
    if wrong := [name for name, fine in sound.items() if not fine]:
        raise ReportError(f"the run is damaged: {', '.join(wrong)}", "profile again")


def _count(run: Report, setting: str) -> int:
    """Rounds of a setting."""
    return sum(one.setting == setting for one in run.rounds)


def terms(run: Report, options: ProfileOptions) -> ProfileOptions:
    """The options of a run, with the new budget and limits."""
    plan = run.plan
    return replace(
        options,
        budget_s=None if options.budget_s is None else options.budget_s / max(len(plan.reference), 1),
        batches=(1,),
        threads=(plan.threads,),
        concurrency=(1,),
        turn_ms=plan.turn_ms,
        seed=plan.seed,
        hot=plan.rotation == 1,
        data=Path(plan.data) if plan.data else None,
        image_size=plan.image_size,
    )


def refuse_other_machine(then: Environment, now: Environment) -> None:
    """Raises UsageError, with what differs, unless both are the same machine with the same software."""

    def facts(e: Environment) -> dict[str, str]:
        return {"CPU": e.cpu, "cores": str(e.usable_cores), "GPU": e.gpu or "none", "Python": e.python, **e.packages}

    before, after = facts(then), facts(now)
    differences = [
        f"{key} ({before[key]}, now {after.get(key, 'none')})" for key in before if before[key] != after.get(key)
    ]
    if differences:
        raise UsageError(f"the run was made with another {'; '.join(differences)}", "profile again")


def _continued(run: Report, name: str, prepare: Prepare, options: ProfileOptions, progress: Progress) -> SettingRun:
    """One setting of the run, ready to go on. Raises UsageError for another model."""
    rounds = tuple(one for one in run.rounds if one.setting == name)
    rows = {row.id: _whole(row, rounds) for row in run.rows if row.setting == name}
    one = next(iter(rows.values()))
    runtimes = tuple(
        r for r in RUNTIMES if (r.name, r.provider) in {(row.runtime, row.provider) for row in rows.values()}
    )
    exported = prepare(one.batch, artifact_kinds(runtimes))
    if exported.manifest.spec.content_hash != run.model.content_hash:
        raise UsageError(f"{exported.manifest.spec.name} is not the model of that run", "profile it anew")
    setting = Setting(one.batch, one.threads or run.plan.threads, one.concurrency, one.threads is not None)
    failures = {
        row.id: (KeronyxError(row.reason, row.remedy), len(row.samples.wall_ns) + 1)
        for row in rows.values()
        if row.samples.wall_ns and row.status in (Status.FAILED, Status.TIMEOUT)
    }
    samples = {row.id: row.samples for row in rows.values() if row.samples.wall_ns}
    measured = Measured(samples, first_rounds(run.control.get(name, Samples()), len(rounds)), rounds, failures, "")
    options = replace(options, max_rounds=options.max_rounds + len(rounds))
    return SettingRun(
        exported, setting, runtimes, options, progress, rows, measured, reference=run.plan.reference[name]
    )


def _whole(row: Row, rounds: tuple[RoundReading, ...]) -> Row:
    """The row without samples of a round that Ctrl-C cut short."""
    return replace(row, samples=first_rounds(row.samples, len(rounds)))


def first_rounds(samples: Samples, count: int) -> Samples:
    """Samples of the first `count` rounds."""
    return Samples(**{field.name: getattr(samples, field.name)[:count] for field in fields(samples)})

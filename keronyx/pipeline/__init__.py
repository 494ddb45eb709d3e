"""The straight line: source -> artifacts -> sessions -> raw samples -> report. The only package that joins the folders.

Nothing here prints or exits; what happens is told to a `Progress`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import keronyx
from keronyx.errors import KeronyxError, UsageError
from keronyx.export import folder
from keronyx.export.convert import Exported
from keronyx.pipeline.batch import INTERRUPTED, NOT_REACHED, BatchResult, BatchRun, ProfileOptions
from keronyx.pipeline.progress import Progress, Silent
from keronyx.pipeline.sources import export, exported_here, is_export, preparation, resolve, slug
from keronyx.profiles import environment, inputs, plan, preflight
from keronyx.runtime import RUNTIMES
from keronyx.types import SCHEMA, Check, Report, Runtime

__all__ = [
    "ProfileOptions",
    "Progress",
    "Silent",
    "export",
    "exported_here",
    "is_export",
    "preparation",
    "profile",
    "resolve",
    "slug",
]


def profile(prepare: Callable[[int, Sequence[str]], Exported], options: ProfileOptions, progress: Progress) -> Report:
    """Export what is needed, measure every row, check its answers, and report.

    Everything is exported before anything is measured, so that no error of the source can cost a measurement. Ctrl-C
    ends the run from then on, with a report of what was measured.

    Args:
        prepare: (batch, kinds of artifact) -> the export folder that holds them.

    Raises:
        KeronyxError: the source cannot be loaded, the data do not fit, the options contradict each other. What befalls
            a single row is in the report instead.
        KeyboardInterrupt: before any row was started.
    """
    started = time.perf_counter_ns()
    checks = preflight.preflight()
    runtimes = plan.choose(RUNTIMES, options.providers, options.runtimes)
    if options.budget_s is not None and options.budget_s <= 0:
        raise UsageError("the budget must be more than zero seconds", "for example --budget 60s")
    if options.data is not None:
        inputs.image_files(options.data)  # raises now, rather than after minutes of exporting
    options = replace(options, batches=tuple(dict.fromkeys(options.batches)))
    exports = [prepare(batch, artifact_kinds(runtimes)) for batch in options.batches]
    parts: list[BatchResult] = []
    for batch, exported in zip(options.batches, exports, strict=True):
        part = BatchRun(exported, batch, runtimes, options, progress)
        if parts and parts[-1].stopped == INTERRUPTED:
            parts.append(part.given_up(parts[0], NOT_REACHED, INTERRUPTED))
            continue
        try:
            parts.append(part.run())
        except KeyboardInterrupt:
            if not parts:
                raise
            parts.append(part.given_up(parts[0], NOT_REACHED, INTERRUPTED))
        except KeronyxError as error:
            if not parts:
                raise
            parts.append(part.given_up(parts[0], error, "failed"))
    return _report(parts, runtimes, checks, (time.perf_counter_ns() - started) / 1e9)


def artifact_kinds(runtimes: Sequence[Runtime]) -> list[str]:
    """Kinds of artifact these runtimes load, of those that can run here."""
    return sorted({kind for runtime in runtimes if runtime.missing() is None for kind in runtime.artifacts[:1]})


def _report(
    parts: Sequence[BatchResult], runtimes: Sequence[Runtime], checks: tuple[Check, ...], wall_s: float
) -> Report:
    first = parts[0]
    packages = [
        *(tool for tool in folder.TOOLS if tool != "keronyx"),
        "numpy",
        *(runtime.package for runtime in runtimes),
    ]
    return Report(
        schema=SCHEMA,
        keronyx=keronyx.__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        model=first.exported.manifest.spec,
        artifacts=first.exported.manifest.artifacts,
        environment=environment.read_environment(packages),
        plan=replace(
            first.plan,
            rows=tuple(row for part in parts for row in part.plan.rows),
            reference={batch: row for part in parts for batch, row in part.plan.reference.items()},
            budget_s=sum(part.plan.budget_s for part in parts),
        ),
        rows=tuple(row for part in parts for row in part.rows),
        control={batch: part.control for part in parts for batch in part.plan.reference},
        rounds=tuple(reading for part in parts for reading in part.rounds),
        wall_s=round(wall_s, 3),
        stopped=parts[-1].stopped,
        preflight=checks,
        warnings=tuple(dict.fromkeys(warning for part in parts for warning in part.warnings)),
    )

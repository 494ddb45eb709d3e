"""The straight line: source -> artifacts -> sessions -> raw samples -> report. The only package that joins the folders.

Nothing here prints or exits; what happens is told to a `Progress`.
"""

from __future__ import annotations

import time
from dataclasses import replace

from keronyx.errors import KeronyxError
from keronyx.pipeline.answers import NOT_STARTED
from keronyx.pipeline.asked import ProfileOptions
from keronyx.pipeline.certifying import ParityOptions, certify
from keronyx.pipeline.live import live
from keronyx.pipeline.progress import Progress, Silent
from keronyx.pipeline.reporting import Prepare, artifact_kinds, check_options, report
from keronyx.pipeline.resume import resume
from keronyx.pipeline.rounds import run_alone
from keronyx.pipeline.run import INTERRUPTED, SettingResult, SettingRun
from keronyx.pipeline.sources import (
    batch_of,
    export,
    exported_here,
    is_export,
    preparation,
    resolve,
    save_optimized,
    slug,
)
from keronyx.pipeline.sweep import still_gaining, sweep_settings
from keronyx.profiles import environment, plan, preflight
from keronyx.runtime import RUNTIMES
from keronyx.types import Report

__all__ = [
    "ParityOptions",
    "ProfileOptions",
    "Progress",
    "Silent",
    "batch_of",
    "certify",
    "export",
    "exported_here",
    "is_export",
    "live",
    "preparation",
    "profile",
    "resolve",
    "resume",
    "save_optimized",
    "slug",
]


def profile(prepare: Prepare, options: ProfileOptions, progress: Progress) -> Report:
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
    check_options(options)
    options = replace(
        options,
        batches=tuple(sorted(set(options.batches))),
        threads=tuple(dict.fromkeys(count or environment.usable_cores() for count in options.threads)),
        concurrency=tuple(dict.fromkeys(options.concurrency)),
    )
    exports = {batch: prepare(batch, artifact_kinds(runtimes)) for batch in options.batches}
    parts: list[SettingResult] = []
    notes: list[str] = []
    for sweep in sweep_settings(options):
        before: SettingResult | None = None
        going_on = runtimes
        for setting in sweep:
            part = SettingRun(exports[setting.batch], setting, going_on, options, progress)
            if parts and parts[-1].stopped == INTERRUPTED:
                parts.append(part.given_up(parts[0], NOT_STARTED, INTERRUPTED))
                continue
            try:
                parts.append(run_alone(part))
            except KeyboardInterrupt:
                if not parts:
                    raise
                parts.append(part.given_up(parts[0], NOT_STARTED, INTERRUPTED))
            except KeronyxError as error:
                if not parts:
                    raise
                parts.append(part.given_up(parts[0], error, "failed"))
            going_on, ended = still_gaining(going_on, before, parts[-1])
            notes += ended
            before = parts[-1]
            if not going_on:
                break
    made = report(parts, runtimes, checks, (time.perf_counter_ns() - started) / 1e9)
    return replace(made, warnings=tuple(dict.fromkeys((*made.warnings, *notes))))

"""What every run begins and ends with: options that make sense, artifacts to make, a report of what was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import keronyx
from keronyx.errors import UsageError
from keronyx.export import folder
from keronyx.export.convert import Exported
from keronyx.pipeline.asked import ProfileOptions
from keronyx.pipeline.run import SettingResult
from keronyx.profiles import environment, inputs
from keronyx.types import SCHEMA, Check, Report, Runtime

Prepare = Callable[[int, Sequence[str]], Exported]
"""(batch, kinds of artifact) -> the export folder that holds them."""


def check_options(options: ProfileOptions) -> None:
    """Refuse, before any work, options that cannot be served. Raises UsageError or DataError."""
    if options.budget_s is not None and options.budget_s <= 0:
        raise UsageError("the budget must be more than zero seconds", "for example --budget 60s")
    if options.data is not None:
        inputs.image_files(options.data)  # raises now, rather than after minutes of exporting


def artifact_kinds(runtimes: Sequence[Runtime]) -> list[str]:
    """Kinds of artifact these runtimes load, of those that can run here."""
    return sorted({kind for runtime in runtimes if runtime.missing() is None for kind in runtime.artifacts[:1]})


def report(
    parts: Sequence[SettingResult], runtimes: Sequence[Runtime], checks: tuple[Check, ...], wall_s: float
) -> Report:
    """The report of a run's settings, all of one model."""
    first = parts[0]
    packages = [
        *(tool for tool in folder.TOOLS if tool != "keronyx"),
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
            reference={setting: row for part in parts for setting, row in part.plan.reference.items()},
            budget_s=sum(part.plan.budget_s for part in parts),
        ),
        rows=tuple(row for part in parts for row in part.rows),
        control={setting: part.control for part in parts for setting in part.plan.reference},
        rounds=tuple(reading for part in parts for reading in part.rounds),
        wall_s=round(wall_s, 3),
        stopped=parts[-1].stopped,
        preflight=checks,
        warnings=tuple(
            dict.fromkeys((*first.exported.manifest.notes, *(warning for part in parts for warning in part.warnings)))
        ),
    )

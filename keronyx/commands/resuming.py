"""`keronyx profile --resume RUN.json`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from keronyx import terminal
from keronyx.commands import measuring
from keronyx.commands.measuring import Manner
from keronyx.errors import UsageError
from keronyx.exit_codes import Exit

if TYPE_CHECKING:
    from keronyx.pipeline import ProfileOptions

KEPT = ("providers", "runtimes", "batch", "threads", "concurrency", "seed", "hot", "data", "image_size")
"""Options that a run was made with, and that more rounds cannot change."""


def refuse_changes(context: typer.Context) -> None:
    """Refuse options that the earlier run has settled. Raises UsageError."""
    for name in KEPT:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"--{name.replace('_', '-')} is settled by the run that --resume names", "leave it away")


def resume(
    path: Path,
    sources: Sequence[str],
    asked: ProfileOptions,
    find: Callable[..., Any],
    prepare: Callable[..., Any],
    output: Path | None,
    force: bool,
    manner: Manner,
) -> Exit:
    """Add rounds to the run in `path` and write it there again, with the page beside it if there is one.

    Args:
        output: where to write instead.
        sources: where the model is, when the run's own source is no longer there.
        find: text, image_size -> source or export folder.
        prepare: (source, image size), progress -> the way to its artifacts.

    Raises:
        UsageError, ReportError, KeronyxError: as `pipeline.resume`.
    """
    from keronyx import pipeline
    from keronyx.profiles import store

    if len(sources) > 1:
        raise UsageError("--resume adds to one run, but there are several sources", "name one at most")
    earlier = store.load(path)
    target = output or (page if (page := path.with_suffix(".html")).exists() else path)
    if output is not None:
        for file in dict.fromkeys((target, target.with_suffix(".json"))):
            terminal.check_target(file, force or file == path)
    size = earlier.plan.image_size
    model = find(sources[0] if sources else earlier.model.source, image_size=size)
    return measuring.run(
        lambda progress: pipeline.resume(earlier, prepare(model, size, progress=progress), asked, progress),
        target,
        manner,
    )

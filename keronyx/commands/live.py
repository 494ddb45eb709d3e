"""`keronyx compare --live OLD NEW`."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keronyx import terminal
from keronyx.commands.measuring import Manner
from keronyx.exit_codes import Exit

if TYPE_CHECKING:
    from keronyx.pipeline import ProfileOptions
    from keronyx.types import Report


def live(
    models: tuple[Any, Any], asked: ProfileOptions, prepare: Callable[..., Any], manner: Manner
) -> tuple[Report, Report]:
    """Measure two models in the same rounds and keep both runs under `runs/`. Raises KeronyxError."""
    from keronyx import pipeline
    from keronyx.profiles import store

    with terminal.one_interrupt():
        with terminal.progress(manner.quiet) as progress:
            old, new = (prepare(model, asked.image_size, progress=progress) for model in models)
            runs = pipeline.live(old, new, asked, progress)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stamp = f"{datetime.now():%Y%m%d-%H%M%S-%f}"
        for name, run in zip(("old", "new"), runs, strict=True):
            path = Path("runs") / f"live-{stamp}-{name}.json"
            store.save(run, path)
            terminal.say(f"{name}: {path}")
    return runs


def interrupted(runs: tuple[Report, Report]) -> Exit | None:
    """The exit code of a run that Ctrl-C ended."""
    return Exit.INTERRUPTED if any(run.stopped == "interrupted" for run in runs) else None

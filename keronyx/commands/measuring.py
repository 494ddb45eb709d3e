"""What `profile` and `compare --live` share: run, save even when interrupted, show, and say how it ended."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keronyx import terminal
from keronyx.commands.verdict import verdict
from keronyx.errors import UnwritableError
from keronyx.exit_codes import Exit

if TYPE_CHECKING:
    from keronyx.types import Report


@dataclass(frozen=True)
class Manner:
    """How a run is shown and judged."""

    strict: bool
    quiet: bool
    json: bool


def named(text: str, **terms: Any) -> Any:
    """An export folder as a path, anything else as a source. Raises UsageError or SourceError."""
    from keronyx import pipeline

    path = Path(text)
    return path if pipeline.is_export(path) else pipeline.resolve(text, **terms)


def run(measure: Callable[[Any], Report], target: Path, manner: Manner) -> Exit:
    """Measure (told a progress), write `target` and the JSON beside it, show the report."""
    from keronyx.profiles import store

    stored = target.with_suffix(".json")
    with terminal.one_interrupt():
        with terminal.progress(manner.quiet or manner.json) as progress:
            measured = measure(progress)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        lost = None
        try:
            store.save(measured, stored)
            if target != stored:
                terminal.write(measured, target)
        except UnwritableError as error:  # a disk that filled up meanwhile must not cost what was measured
            lost = error
    if manner.json:
        print(store.dumps(measured), end="")
    else:
        terminal.show(measured)
    if lost is not None:
        raise lost
    if not manner.json:
        print(f"report: {target}" + (f" and {stored}" if target != stored else ""))
    return verdict(measured, manner.strict)

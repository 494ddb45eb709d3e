"""`keronyx report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keronyx import terminal
from keronyx.commands.common import Debug, Force


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN.json", help="A report that profile wrote.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help=".html, .md, .csv, .txt or .json; the terminal without it."
        ),
    ] = None,
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Render an old run again: the same bytes for the same run."""
    with terminal.errors(debug):
        from keronyx.profiles import store

        loaded = store.load(run)
        if output is None:
            terminal.show(loaded)
        else:
            terminal.check_target(output, force)
            terminal.write(loaded, output)

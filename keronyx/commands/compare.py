"""`keronyx compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keronyx import options, terminal
from keronyx.commands.common import Debug, Force
from keronyx.exit_codes import Exit


def compare(
    old: Annotated[Path, typer.Argument(metavar="OLD.json", help="An earlier report.")],
    new: Annotated[Path, typer.Argument(metavar="NEW.json", help="The report to judge.")],
    fail_slower: Annotated[
        str | None,
        typer.Option(metavar="PERCENT", help="A row is a regression when it is surely slower by more than this: 5%."),
    ] = None,
    across_machines: Annotated[
        bool, typer.Option("--across-machines", help="Compare although machine or threads differ.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help=".md, .xml (JUnit) or .txt.")
    ] = None,
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Compare two runs row by row: faster, slower, equivalent or undecided. Exits with 5 on a regression."""
    with terminal.errors(debug):
        from keronyx.profiles import changes, store
        from keronyx.profiles import compare as comparing

        limit = options.percent(fail_slower, "--fail-slower") if fail_slower is not None else None
        render = changes.by_suffix(output) if output is not None else changes.text
        if output is not None:
            terminal.check_free(output, force)
        found = comparing.compare(store.load(old), store.load(new), limit, across_machines)
        if output is not None:
            store.write(output, render(found))
        print(changes.text(found), end="")
        raise typer.Exit(Exit.UNTRUSTED if found.regressions else Exit.DONE)

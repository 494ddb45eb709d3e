"""`keronyx compare`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from keronyx import options, terminal
from keronyx.commands.common import CustomObjects, Debug, Force, ImageSize, Quiet, Trust
from keronyx.commands.live import interrupted
from keronyx.commands.live import live as measure_live
from keronyx.commands.measuring import Manner, named
from keronyx.errors import UsageError
from keronyx.exit_codes import Exit

LIVE_ONLY = (
    "providers",
    "runtimes",
    "batch",
    "threads",
    "budget",
    "processes",
    "image_size",
    "trust",
    "custom_objects",
    "quiet",
)


def compare(
    context: typer.Context,
    old: Annotated[
        str, typer.Argument(metavar="OLD.json", help="An earlier report; with --live a model, as for profile.")
    ],
    new: Annotated[str, typer.Argument(metavar="NEW.json", help="The report to judge; with --live a model.")],
    fail_slower: Annotated[
        str | None,
        typer.Option(metavar="PERCENT", help="A row is a regression when it is surely slower by more than this: 5%."),
    ] = None,
    across_machines: Annotated[
        bool, typer.Option("--across-machines", help="Compare although machine or threads differ.")
    ] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Measure two models now, interleaved: what a noisy machine needs.")
    ] = False,
    providers: Annotated[str, typer.Option(help="With --live: where to run; comma-separated.")] = "cpu",
    runtimes: Annotated[str | None, typer.Option(help="With --live: only these runtimes, comma-separated.")] = None,
    batch: Annotated[str, typer.Option(metavar="N", help="With --live: batch size.")] = "1",
    threads: Annotated[int, typer.Option(min=0, help="With --live: threads; 0 is all usable cores.")] = 0,
    budget: Annotated[str | None, typer.Option(metavar="TIME", help="With --live: time for measuring.")] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="With --live: sets of fresh processes to measure in.")
    ] = None,
    image_size: ImageSize = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help=".md, .xml (JUnit) or .txt.")
    ] = None,
    custom_objects: CustomObjects = None,
    trust: Trust = False,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compare two runs row by row: faster, slower, equivalent or undecided. Exits with 5 on a regression.

    Runs made apart differ by process and hour as well. With --live both models are measured in the same rounds.
    """
    with terminal.errors(debug):
        from keronyx.profiles import changes, store
        from keronyx.profiles import compare as comparing

        limit = options.percent(fail_slower, "--fail-slower") if fail_slower is not None else None
        render = changes.by_suffix(output) if output is not None else changes.text
        if output is not None:
            terminal.check_free(output, force)
        if live:
            from keronyx import pipeline

            asked = pipeline.ProfileOptions(
                providers=options.names(providers, "--providers"),
                runtimes=options.names(runtimes, "--runtimes") if runtimes is not None else None,
                batches=(options.positive(batch, "--batch"),),
                threads=(threads,),
                budget_s=options.duration(budget, "--budget") if budget is not None else None,
                processes=processes,
                image_size=options.size(image_size),
            )
            find = partial(named, trust=trust, custom_objects=custom_objects, image_size=asked.image_size)
            models = (find(old), find(new))
            prepare = partial(pipeline.preparation, trust=trust, custom_objects=custom_objects)
            runs = measure_live(models, asked, prepare, Manner(False, quiet, False))
        else:
            _refuse_live_options(context)
            runs = (store.load(old), store.load(new))
        found = comparing.compare(*runs, limit, across_machines)
        if output is not None:
            store.write(output, render(found))
        print(changes.text(found), end="")
        code = Exit.UNTRUSTED if found.regressions else Exit.DONE
        raise typer.Exit((interrupted(runs) if live else None) or code)


def _refuse_live_options(context: typer.Context) -> None:
    """Refuse options that only measuring takes. Raises UsageError."""
    for name in LIVE_ONLY:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"--{name.replace('_', '-')} is for measuring", "add --live, or leave it away")

"""`keronyx evaluate`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from keronyx import options, terminal
from keronyx.commands.common import (
    CustomObjects,
    Debug,
    Force,
    ImageSize,
    JsonOutput,
    Quiet,
    SubstituteLayer,
    Trust,
    Weights,
)
from keronyx.commands.measuring import named
from keronyx.exit_codes import Exit


def evaluate(
    source: Annotated[str, typer.Argument(help="As for export; also an export folder.")],
    data: Annotated[
        list[str],
        typer.Option(
            metavar="DIR|scenes:N|FILE.npz",
            help="Labelled images, N drawn scenes, or arrays named as the inputs with `labels`. Repeatable.",
        ),
    ],
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:CALLABLE",
            help="metric(outputs, label) -> float, higher is better; road scenes' own scores without it.",
        ),
    ] = None,
    runtimes: Annotated[
        str, typer.Option(help="Runtimes to score beside Keras (tf-graph), comma-separated.")
    ] = "tf-graph",
    providers: Annotated[str, typer.Option(help="Where to run them: cpu, cuda, tensorrt; comma-separated.")] = "cpu",
    image_size: ImageSize = None,
    batch: Annotated[str, typer.Option(metavar="N", help="Items a call.")] = "1",
    threads: Annotated[int, typer.Option(min=0, max=256, help="Threads; 0 is all usable cores.")] = 0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help=".json, .csv, .md or .txt.")
    ] = None,
    timeout: Annotated[
        str, typer.Option(metavar="TIME", help="A runtime that does not answer this long is killed.")
    ] = "5m",
    weights: Weights = None,
    substitute_layer: SubstituteLayer = None,
    custom_objects: CustomObjects = None,
    trust: Trust = False,
    force: Force = False,
    json: JsonOutput = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Score a model on labelled data: as Keras runs it, and what further runtimes differ from that."""
    with terminal.errors(debug):
        from json import dumps

        from keronyx import pipeline
        from keronyx.pipeline import evaluating, tasks
        from keronyx.profiles import grid, store

        if output is not None:
            if output.suffix != ".json":
                grid.by_suffix(output)
            terminal.check_free(output, force)
        asked = evaluating.EvaluateOptions(
            runtimes=options.names(runtimes, "--runtimes"),
            providers=options.names(providers, "--providers"),
            batch=options.positive(batch, "--batch"),
            threads=threads,
            timeout_s=options.duration(timeout, "--timeout"),
        )
        size = options.size(image_size)
        task = tasks.find(data, metric)
        find = partial(named, trust=trust, custom_objects=custom_objects, image_size=size)
        model = find(source, weights=weights, substitute_layer=tuple(substitute_layer or ()))
        with terminal.bar(quiet or json) as progress:
            prepare = pipeline.preparation(model, size, progress, trust, custom_objects)
            found = evaluating.evaluate(prepare, task, asked, progress)
        table, told = evaluating.grid(found), evaluating.as_json(found)
        if output is not None:
            as_json = output.suffix == ".json"
            store.write(output, dumps(told, indent=2) + "\n" if as_json else grid.by_suffix(output)(table))
        if json:
            print(dumps(told, indent=2))
        else:
            terminal.show_grid(table)
        raise typer.Exit(
            Exit.ROW if any(row.status in ("FAILED", "TIMEOUT", "FELL_BACK") for row in found.rows) else Exit.DONE
        )

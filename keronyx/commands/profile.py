"""`keronyx profile`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from keronyx.commands.measuring import Manner, named, run
from keronyx.commands.resuming import refuse_changes
from keronyx.commands.resuming import resume as resuming
from keronyx.errors import KeronyxError, UsageError
from keronyx.exit_codes import Exit, severity

if TYPE_CHECKING:
    from keronyx.pipeline import ProfileOptions, Progress
    from keronyx.pipeline.reporting import Prepare
    from keronyx.types import Report


def profile(
    context: typer.Context,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE]...",
            help="As for export; also an export folder. Without any: what has been exported here, or unet.",
        ),
    ] = None,
    providers: Annotated[str, typer.Option(help="Where to run: cpu, cuda, tensorrt; comma-separated.")] = "cpu",
    runtimes: Annotated[str | None, typer.Option(help="Only these runtimes, comma-separated.")] = None,
    batch: Annotated[
        str,
        typer.Option(
            metavar="N,...",
            help="Batch sizes, each a set of rows; a row whose throughput gains less than 5 % ends there.",
        ),
    ] = "1",
    threads: Annotated[
        str, typer.Option(metavar="N,...", help="Threads of every runtime, each a set of rows; 0 is all usable cores.")
    ] = "0",
    concurrency: Annotated[str, typer.Option(metavar="N,...", help="Callers at a time, each a set of rows.")] = "1",
    processes: Annotated[
        int | None,
        typer.Option(
            min=1, help="Sets of fresh processes to measure in. Without it as many as the budget bears, up to 5."
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Time for measuring: 60s, 5m. Without it 60 s, or up to 150 s for ten rounds."
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds at most.")] = 400,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of images to feed (or its CameraRGB).")
    ] = None,
    image_size: ImageSize = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN.json", help="Add rounds to an earlier run on this machine.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Report; .html, .md, .csv, .txt or .json. The JSON is written beside it.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the inputs and of the order of calls.")] = 0,
    hot: Annotated[bool, typer.Option("--hot", help="One input only: data stay in the caches.")] = False,
    timeout: Annotated[
        str, typer.Option(metavar="TIME", help="A row that does not answer this long is killed.")
    ] = "5m",
    memory_limit: Annotated[
        int | None, typer.Option(metavar="MIB", min=1, help="A row that grows past this is killed.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Unavailable rows and untrusted measurements are errors.")
    ] = False,
    weights: Weights = None,
    substitute_layer: SubstituteLayer = None,
    custom_objects: CustomObjects = None,
    trust: Trust = False,
    force: Force = False,
    json: JsonOutput = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Time a model on every runtime, interleaved, and check its answers on every row."""
    with terminal.errors(debug):
        from keronyx import pipeline

        size = options.size(image_size)
        asked = pipeline.ProfileOptions(
            providers=options.names(providers, "--providers"),
            runtimes=options.names(runtimes, "--runtimes") if runtimes is not None else None,
            batches=options.numbers(batch, "--batch"),
            threads=options.thread_counts(threads),
            concurrency=options.numbers(concurrency, "--concurrency"),
            processes=processes,
            budget_s=options.duration(budget, "--budget") if budget is not None else None,
            max_rounds=rounds,
            timeout_s=options.duration(timeout, "--timeout"),
            memory_limit_mib=memory_limit,
            seed=seed,
            hot=hot,
            data=data,
            image_size=size,
        )
        manner = Manner(strict, quiet, json)
        find = partial(
            named,
            trust=trust,
            custom_objects=custom_objects,
            weights=weights,
            substitute_layer=tuple(substitute_layer or ()),
        )
        prepare = partial(pipeline.preparation, trust=trust, custom_objects=custom_objects)
        if resume is not None:
            refuse_changes(context)
            raise typer.Exit(resuming(resume, sources or [], asked, find, prepare, output, force, manner))
        models: list[Any] = [find(text, image_size=size) for text in sources or []]
        models = models or list(pipeline.exported_here()) or [pipeline.resolve("unet", image_size=size)]
        if output is not None and len(models) > 1:
            raise UsageError("-o names one file, but there are several models", "leave it away: each gets its own")
        code = Exit.DONE
        for model in models:
            target = output or _default_target(model)
            try:
                for path in dict.fromkeys((target, target.with_suffix(".json"))):
                    terminal.check_target(path, force)
                one = run(partial(_measure, partial(prepare, model, size), asked), target, manner)
            except KeronyxError as error:
                if len(models) == 1:
                    raise
                text = model if isinstance(model, Path) else model.text
                terminal.complain(f"{text}: {error.message}", error.remedy, debug)
                one = Exit.ERROR
            code = max(code, one, key=severity)
            if one is Exit.INTERRUPTED:
                break
        raise typer.Exit(code)


def _measure(prepare: Callable[..., Prepare], asked: ProfileOptions, progress: Progress) -> Report:
    from keronyx import pipeline

    return pipeline.profile(prepare(progress=progress), asked, progress)


def _default_target(model: Any) -> Path:
    """runs/unet-16-20261123-061500.html: never one that exists."""
    from datetime import datetime

    from keronyx import pipeline

    name = model.name.rsplit("-b", 1)[0] if isinstance(model, Path) else model.name
    return Path("runs") / f"{pipeline.slug(name)}-{datetime.now():%Y%m%d-%H%M%S}.html"

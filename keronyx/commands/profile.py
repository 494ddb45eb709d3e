"""`keronyx profile`."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keronyx import options, terminal
from keronyx.commands.common import CustomObjects, Debug, Force, ImageSize, JsonOutput, Quiet, Trust, Weights
from keronyx.commands.verdict import verdict
from keronyx.errors import KeronyxError, UnwritableError, UsageError
from keronyx.exit_codes import Exit, severity

if TYPE_CHECKING:
    from keronyx.pipeline import ProfileOptions


def profile(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE]...",
            help="As for export; also an export folder. Without any: what has been exported here, or unet.",
        ),
    ] = None,
    providers: Annotated[str, typer.Option(help="Where to run: cpu, cuda, tensorrt; comma-separated.")] = "cpu",
    runtimes: Annotated[str | None, typer.Option(help="Only these runtimes, comma-separated.")] = None,
    batch: Annotated[str, typer.Option(metavar="N,...", help="Batch sizes, each a set of rows.")] = "1",
    threads: Annotated[int, typer.Option(min=0, help="Threads of every runtime; 0 is all usable cores.")] = 0,
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
            batches=tuple(options.positive(value, "--batch") for value in options.names(batch, "--batch")),
            threads=threads,
            budget_s=options.duration(budget, "--budget") if budget is not None else None,
            max_rounds=rounds,
            timeout_s=options.duration(timeout, "--timeout"),
            memory_limit_mib=memory_limit,
            seed=seed,
            hot=hot,
            data=data,
        )
        models: list[Any] = []
        for text in sources or []:
            path = Path(text)
            models.append(
                path
                if pipeline.is_export(path)
                else pipeline.resolve(
                    text, trust=trust, custom_objects=custom_objects, weights=weights, image_size=size
                )
            )
        models = models or list(pipeline.exported_here()) or [pipeline.resolve("unet", image_size=size)]
        if output is not None and len(models) > 1:
            raise UsageError("-o names one file, but there are several models", "leave it away: each gets its own")
        code = Exit.DONE
        for model in models:
            try:
                prepare = partial(pipeline.preparation, model, size, trust=trust, custom_objects=custom_objects)
                one = _profile_one(model, prepare, asked, output, force, strict, quiet, json)
            except KeronyxError as error:
                if len(models) == 1:
                    raise
                terminal.complain(
                    f"{model if isinstance(model, Path) else model.text}: {error.message}", error.remedy, debug
                )
                one = Exit.ERROR
            code = max(code, one, key=severity)
            if one is Exit.INTERRUPTED:
                break
        raise typer.Exit(code)


def _profile_one(
    model: Any,
    prepare: Callable[..., Any],
    asked: ProfileOptions,
    output: Path | None,
    force: bool,
    strict: bool,
    quiet: bool,
    json: bool,
) -> Exit:
    from keronyx import pipeline
    from keronyx.profiles import store

    target = output or _default_target(model)
    stored = target.with_suffix(".json")
    for path in dict.fromkeys((target, stored)):
        terminal.check_target(path, force)
    with terminal.one_interrupt():
        with terminal.progress(quiet or json) as progress:
            measured = pipeline.profile(prepare(progress=progress), asked, progress)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        lost = None
        try:
            store.save(measured, stored)
            if target != stored:
                terminal.write(measured, target)
        except UnwritableError as error:  # a disk that filled up meanwhile must not cost what was measured
            lost = error
    if json:
        print(store.dumps(measured), end="")
    else:
        terminal.show(measured)
    if lost is not None:
        raise lost
    if not json:
        print(f"report: {target}" + (f" and {stored}" if target != stored else ""))
    return verdict(measured, strict)


def _default_target(model: Any) -> Path:
    """runs/unet-16-20261123-061500.html: never one that exists."""
    from datetime import datetime

    from keronyx import pipeline

    name = model.name.rsplit("-b", 1)[0] if isinstance(model, Path) else model.name
    return Path("runs") / f"{pipeline.slug(name)}-{datetime.now():%Y%m%d-%H%M%S}.html"

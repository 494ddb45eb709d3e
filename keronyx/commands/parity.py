"""`keronyx parity`."""

from __future__ import annotations

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
from keronyx.commands.measuring import named
from keronyx.errors import UsageError
from keronyx.exit_codes import Exit

if TYPE_CHECKING:
    from keronyx.types import Certificate


def parity(
    source: Annotated[str, typer.Argument(help="As for export; also an export folder.")],
    providers: Annotated[str, typer.Option(help="Where to run: cpu, cuda, tensorrt; comma-separated.")] = "cpu",
    runtimes: Annotated[str | None, typer.Option(help="Which runtimes, comma-separated; all without it.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Batch size.")] = 1,
    threads: Annotated[int, typer.Option(min=0, max=256, help="Threads of every runtime; 0 for all usable cores.")] = 0,
    inputs: Annotated[int, typer.Option(min=2, max=64, help="Inputs whose answers are compared.")] = 4,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DIR|scenes:N|FILE.npz",
            help="Labelled data to score every row on beside Keras; its images are the inputs, too. Repeatable.",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:CALLABLE",
            help="metric(outputs, label) -> float, higher is better; road scenes' own scores without it.",
        ),
    ] = None,
    max_drop: Annotated[
        float,
        typer.Option(min=0.0, help="What a score may lose against Keras before the row fails, in the score's units."),
    ] = 0.002,
    atol: Annotated[
        float | None, typer.Option(min=0.0, help="Absolute tolerance in place of Keras' own error.")
    ] = None,
    rtol: Annotated[
        float | None, typer.Option(min=0.0, help="Relative tolerance in place of Keras' own error.")
    ] = None,
    bisect: Annotated[
        bool,
        typer.Option(
            "--bisect",
            help="Name the first Keras layer that goes wrong in the ONNX file, or the optimizer that spoils it.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the inputs.")] = 0,
    image_size: ImageSize = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Certificate to write: .json, .md, .csv or .txt."),
    ] = None,
    timeout: Annotated[
        str, typer.Option(metavar="TIME", help="A row that does not answer this long is killed.")
    ] = "5m",
    memory_limit: Annotated[
        int | None, typer.Option(metavar="MIB", min=1, help="A row that grows past this is killed.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Unavailable rows are errors.")] = False,
    weights: Weights = None,
    substitute_layer: SubstituteLayer = None,
    custom_objects: CustomObjects = None,
    trust: Trust = False,
    force: Force = False,
    json: JsonOutput = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Check every runtime's answers against a float64 oracle of the Keras model; nothing is timed."""
    with terminal.errors(debug):
        from keronyx import pipeline
        from keronyx.accuracy import Fixed
        from keronyx.pipeline import tasks

        if output is not None:
            _check_target(output, force)
        if metric is not None and not data:
            raise UsageError("--metric needs labelled data", "name them with --data")
        size = options.size(image_size)
        fixed = None if atol is None and rtol is None else Fixed(_finite(atol), _finite(rtol))
        asked = pipeline.ParityOptions(
            providers=options.names(providers, "--providers"),
            runtimes=options.names(runtimes, "--runtimes") if runtimes is not None else None,
            batch=batch,
            threads=threads,
            inputs=inputs,
            seed=seed,
            task=tasks.find(data, metric) if data else None,
            max_drop=_finite(max_drop),
            fixed=fixed,
            bisect=bisect,
            timeout_s=options.duration(timeout, "--timeout"),
            memory_limit_mib=memory_limit,
        )
        model = named(
            source,
            image_size=size,
            trust=trust,
            custom_objects=custom_objects,
            weights=weights,
            substitute_layer=tuple(substitute_layer or ()),
        )
        prepare = partial(pipeline.preparation, model, size, trust=trust, custom_objects=custom_objects)
        with terminal.bar(quiet or json) as progress:
            found = pipeline.certify(prepare(progress), asked, progress)
        _show(found, json)
        if output is not None:
            _write(found, output)
            if not json:
                print(f"certificate: {output}")
        raise typer.Exit(_exit_code(found, strict))


def _finite(value: float | None) -> float:
    from math import isfinite

    if value is not None and not isfinite(value):
        raise UsageError(f"{value} is no tolerance", "a finite number, such as 1e-3")
    return value or 0.0


def _check_target(path: Path, force: bool) -> None:
    from keronyx.profiles import grid

    if path.suffix != ".json":
        grid.by_suffix(path)
    terminal.check_free(path, force)


def _show(found: Certificate, as_json: bool) -> None:
    from keronyx.profiles import certificate, grid

    if as_json:
        print(certificate.dumps(found), end="")
        return
    print(certificate.title(found))
    for table in certificate.tables(found):
        print(grid.text(table), end="")


def _write(found: Certificate, path: Path) -> None:
    from keronyx.profiles import certificate, grid, store

    if path.suffix == ".json":
        certificate.save(found, path)
        return
    writer: Any = grid.by_suffix(path)
    told = [writer(table) for table in certificate.tables(found)]
    store.write(path, f"{certificate.title(found)}\n\n" + "\n".join(told))


def _exit_code(found: Certificate, strict: bool) -> Exit:
    """The gravest applies."""
    from keronyx.types import TIMED, Status, Verdict

    statuses = {row.status for row in found.rows}
    if found.verdict is Verdict.FAIL:
        return Exit.PARITY
    if statuses & {Status.FAILED, Status.FELL_BACK, Status.TIMEOUT} or (strict and Status.UNAVAILABLE in statuses):
        return Exit.ROW
    if found.verdict is Verdict.NOT_RUN or any(row.status in TIMED and row.parity is None for row in found.rows):
        return Exit.ROW  # nothing was proved
    return Exit.DONE

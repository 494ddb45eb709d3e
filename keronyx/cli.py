"""The commands. The only file that prints or exits; what is heavy is imported inside the command that needs it."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keronyx import options
from keronyx.errors import KeronyxError, UnwritableError, UsageError

if TYPE_CHECKING:
    from keronyx.pipeline import ProfileOptions
    from keronyx.types import Report


class Exit(IntEnum):
    """Exit codes, as the documentation states them."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    ROW = 3
    PARITY = 4
    UNTRUSTED = 5
    INTERRUPTED = 130


EPILOG = (
    "Exit codes: 0 done; 1 error; 2 usage; 3 a requested row failed, fell back, timed out, could not be "
    "checked or (--strict) was unavailable; 4 a parity gate failed; 5 (--strict) the measurement is not trusted, or "
    "compare found a regression; 130 interrupted."
)

app = typer.Typer(
    name="keronyx",
    help="Export a Keras model to ONNX, time it on every runtime of this machine, and check that it still gives the "
    "same answers.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Trust = Annotated[bool, typer.Option("--trust", help="Load models that contain Python code. It will be executed.")]
CustomObjects = Annotated[
    str | None, typer.Option(metavar="MODULE:DICT", help="Dictionary of custom Keras classes the model needs.")
]
Weights = Annotated[str | None, typer.Option(metavar="FILE", help="Weights to load into a network or architecture.")]
ImageSize = Annotated[
    str | None, typer.Option(metavar="HxW", help="Height and width of the input, where the model leaves them open.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Force = Annotated[bool, typer.Option("--force", help="Replace existing files.")]
JsonOutput = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Export a Keras model to ONNX, time it on every runtime of this machine, check that its answers stay the same."""
    del context
    if version:
        from keronyx import __version__

        print(__version__)
        raise typer.Exit(Exit.DONE)


@app.command(epilog=EPILOG)
def doctor(json: JsonOutput = False, debug: Debug = False) -> None:
    """What can run here, what cannot, the exact missing library and the package that brings it."""
    with _errors(debug):
        from keronyx.runtime import RUNTIMES
        from keronyx.runtime.doctor import examine, machine_findings

        found, notes = examine(RUNTIMES), machine_findings()
        if json:
            import dataclasses
            from json import dumps

            print(dumps({"runtimes": [dataclasses.asdict(d) for d in found], "machine": notes}, indent=2))
            return
        names = [f"{d.runtime}/{d.provider}" for d in found]
        packages = [f"{d.package} {d.version or '-'}" for d in found]
        wide, wider = max(map(len, names)), max(map(len, packages))
        said: dict[tuple[str, str], str] = {}
        for name, package, d in zip(names, packages, found, strict=True):
            first = said.setdefault((d.reason, d.remedy), name)
            repeated = not d.usable and first != name
            verdict = "usable" if d.usable else f"UNAVAILABLE  {f'as {first}' if repeated else d.reason}"
            print(f"{name:<{wide}}  {package:<{wider}}  {verdict}")
            if d.remedy and not repeated:
                print(f"{'':<{wide}}  -> {d.remedy}")
        for note in notes:
            print(f"note: {note}")


@app.command(epilog=EPILOG)
def export(
    source: Annotated[
        str,
        typer.Argument(help="Network, .keras, .h5, SavedModel folder, module:callable, or keras.applications:NAME."),
    ],
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="DIR", help="Folder to write to.")] = None,
    batch: Annotated[str, typer.Option(metavar="N|dynamic", help="Batch size of the exported model.")] = "1",
    image_size: ImageSize = None,
    weights: Weights = None,
    custom_objects: CustomObjects = None,
    trust: Trust = False,
    force: Force = False,
    json: JsonOutput = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Convert a Keras model to ONNX, in a process of its own."""
    with _errors(debug):
        from keronyx import pipeline

        size = options.size(image_size)
        resolved = pipeline.resolve(
            source, trust=trust, custom_objects=custom_objects, weights=weights, image_size=size
        )
        fixed = None if batch == "dynamic" else options.positive(batch, "--batch")
        with _progress(quiet or json) as progress:
            exported = pipeline.export(
                resolved, target=output, batch=fixed, image_size=size, force=force, progress=progress
            )
        if exported.failed:
            raise next(iter(exported.failed.values()))
        manifest = exported.manifest
        if json:
            print((exported.folder / "manifest.json").read_text(), end="")
            return
        spec = manifest.spec
        print(f"{spec.name} · {spec.parameters:,} parameters · opset {manifest.opset}")
        for kind, tensors in (("in", spec.inputs), ("out", spec.outputs)):
            for tensor in tensors:
                shape = "x".join("?" if size is None else str(size) for size in tensor.shape)
                print(f"  {kind:<3} {tensor.name} {shape} {tensor.dtype}")
        for a in manifest.artifacts:
            facts = " · ".join(
                [f"{a.bytes / 2**20:.1f} MiB", f"{a.seconds:.1f} s", f"peak {a.peak_mib:,.0f} MiB", *a.evidence]
            )
            print(f"  {exported.folder / a.path}  {facts}")


@app.command(epilog=EPILOG)
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
    with _errors(debug):
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
                _complain(f"{model if isinstance(model, Path) else model.text}: {error.message}", error.remedy, debug)
                one = Exit.ERROR
            code = max(code, one, key=_severity)
            if one is Exit.INTERRUPTED:
                break
        raise typer.Exit(code)


@app.command(epilog=EPILOG)
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
    with _errors(debug):
        from keronyx.profiles import store

        loaded = store.load(run)
        if output is None:
            _show(loaded)
        else:
            _check_target(output, force)
            _write(loaded, output)


@app.command(epilog=EPILOG)
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
    with _errors(debug):
        from keronyx.profiles import changes, store
        from keronyx.profiles import compare as comparing

        limit = options.percent(fail_slower, "--fail-slower") if fail_slower is not None else None
        render = changes.by_suffix(output) if output is not None else changes.text
        if output is not None:
            _check_free(output, force)
        found = comparing.compare(store.load(old), store.load(new), limit, across_machines)
        if output is not None:
            store.write(output, render(found))
        print(changes.text(found), end="")
        raise typer.Exit(Exit.UNTRUSTED if found.regressions else Exit.DONE)


def main() -> None:
    """Entry point of the console script and of the launcher in a checkout."""
    # The encoding of a pipe under LANG=C is ASCII; the report is not.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    app()


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
        _check_target(path, force)
    with _one_interrupt():
        with _progress(quiet or json) as progress:
            measured = pipeline.profile(prepare(progress=progress), asked, progress)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        lost = None
        try:
            store.save(measured, stored)
            if target != stored:
                _write(measured, target)
        except UnwritableError as error:  # a disk that filled up meanwhile must not cost what was measured
            lost = error
    if json:
        print(store.dumps(measured), end="")
    else:
        _show(measured)
    if lost is not None:
        raise lost
    if not json:
        print(f"report: {target}" + (f" and {stored}" if target != stored else ""))
    return _verdict(measured, strict)


@contextmanager
def _one_interrupt() -> Iterator[None]:
    """The first Ctrl-C ends the measurement, those after it are ignored: what was measured must be saved."""

    def end(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _verdict(measured: Report, strict: bool) -> Exit:
    """What a finished run's exit code is; the gravest applies."""
    from keronyx.profiles.ranking import parity_failed
    from keronyx.profiles.trust import trusted
    from keronyx.types import TIMED, Status

    statuses = {row.status for row in measured.rows}
    if measured.stopped == "interrupted":
        return Exit.INTERRUPTED
    if any(parity_failed(row) for row in measured.rows):
        return Exit.PARITY
    if statuses & {Status.FAILED, Status.FELL_BACK, Status.TIMEOUT} or (strict and Status.UNAVAILABLE in statuses):
        return Exit.ROW
    if any(row.status in TIMED and row.parity is None for row in measured.rows):
        return Exit.ROW
    if strict and not trusted(measured)[0]:
        return Exit.UNTRUSTED
    return Exit.DONE


def _severity(code: Exit) -> int:
    return [Exit.DONE, Exit.UNTRUSTED, Exit.ROW, Exit.PARITY, Exit.ERROR, Exit.INTERRUPTED].index(code)


def _show(measured: Report) -> None:
    from rich.console import Console

    from keronyx.profiles import render, table

    console = Console()
    if console.is_terminal:
        console.print(render.terminal(table.build(measured)))
    else:
        print(render.text(table.build(measured), 200), end="")


def _write(measured: Report, path: Path) -> None:
    from keronyx.profiles import render, store, table

    if path.suffix == ".json":
        store.save(measured, path)
    else:
        store.write(path, render.by_suffix(path)(table.build(measured)))


def _default_target(model: Any) -> Path:
    """runs/unet-16-20261123-061500.html: never one that exists."""
    from datetime import datetime

    from keronyx import pipeline

    name = model.name.rsplit("-b", 1)[0] if isinstance(model, Path) else model.name
    return Path("runs") / f"{pipeline.slug(name)}-{datetime.now():%Y%m%d-%H%M%S}.html"


def _check_target(path: Path, force: bool) -> None:
    """Refuse, before any work is done, a file that would be lost or cannot be written."""
    from keronyx.profiles import render

    if path.suffix != ".json":
        render.by_suffix(path)
    _check_free(path, force)


def _check_free(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise UnwritableError(f"{path} exists", "replace it with --force, or name another file")
    folder = path.resolve().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnwritableError(f"cannot make {folder}: {error.strerror}") from error
    if path.is_dir():
        raise UnwritableError(f"{path} is a folder", "name another file with -o")
    try:
        TemporaryFile(dir=folder).close()  # os.access tells root that everything can be written
    except OSError as error:
        raise UnwritableError(f"cannot write to {folder}: {error.strerror}", "name another file with -o") from error


@contextmanager
def _progress(quiet: bool) -> Iterator[Any]:
    """A spinner with what is going on, on stderr; nothing when quiet."""
    from keronyx.pipeline import Silent

    if quiet:
        yield Silent()
        return
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True)

    class Spinner(Silent):
        """Shows the present phase; without a terminal, prints each phase once."""

        def __init__(self) -> None:
            # Every redrawing takes a little of the processor that rows are timed on.
            self.status = console.status("starting", refresh_per_second=4)

        def phase(self, text: str) -> None:
            if console.is_terminal:
                self.status.update(escape(text))
            else:
                print(text, file=sys.stderr)

        def rounds(self, done: int, share: float) -> None:
            if console.is_terminal:
                self.status.update(f"measuring: {done} rounds, {min(share, 1):.0%} of the budget")

    spinner = Spinner()
    if not console.is_terminal:
        yield spinner
        return
    with spinner.status:
        yield spinner


@contextmanager
def _errors(debug: bool) -> Iterator[None]:
    """Every failure as one or two lines on stderr and its exit code; the traceback only with --debug."""
    try:
        yield
    except KeronyxError as error:
        _complain(error.message, error.remedy, debug)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        _complain("interrupted", "", debug)
        raise typer.Exit(Exit.INTERRUPTED) from None
    except (BrokenPipeError, typer.Exit):
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _complain(f"{where}{error.strerror or error}", "", debug)
        raise typer.Exit(Exit.ERROR) from None
    except Exception as error:
        said = str(error).strip().partition("\n")[0]
        _complain(f"unexpected {type(error).__name__}: {said}", "this is a defect: --debug shows where", debug)
        raise typer.Exit(Exit.ERROR) from None


def _complain(message: str, remedy: str, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    print(f"keronyx: {_plain(message)}", file=sys.stderr)
    if remedy:
        print(f"  -> {_plain(remedy)}", file=sys.stderr)


def _plain(text: str) -> str:
    """One line without control characters: messages may quote what a model file contains."""
    return "".join(c if c.isprintable() else " " for c in text)

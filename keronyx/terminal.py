"""What all commands show and refuse: errors and their exit codes, progress, reports on the screen and in files."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import typer

from keronyx.errors import KeronyxError, UnwritableError
from keronyx.exit_codes import Exit

if TYPE_CHECKING:
    from keronyx.profiles.grid import Grid
    from keronyx.types import Report


@contextmanager
def errors(debug: bool) -> Iterator[None]:
    """Every failure as one or two lines on stderr and its exit code; the traceback only with --debug."""
    try:
        yield
    except KeronyxError as error:
        complain(error.message, error.remedy, debug)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        complain("interrupted", "", debug)
        raise typer.Exit(Exit.INTERRUPTED) from None
    except (BrokenPipeError, typer.Exit):
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        complain(f"{where}{error.strerror or error}", "", debug)
        raise typer.Exit(Exit.ERROR) from None
    except Exception as error:
        said = str(error).strip().partition("\n")[0]
        complain(f"unexpected {type(error).__name__}: {said}", "this is a defect: --debug shows where", debug)
        raise typer.Exit(Exit.ERROR) from None


def complain(message: str, remedy: str, debug: bool) -> None:
    """What went wrong and what to do next, on stderr; with `debug` below the traceback of the error being handled."""
    if debug:
        traceback.print_exc()
    print(f"keronyx: {plain(message)}", file=sys.stderr)
    if remedy:
        print(f"  -> {plain(remedy)}", file=sys.stderr)


def say(text: str) -> None:
    """A line for people on stderr, beside what a command prints."""
    print(plain(text), file=sys.stderr)


def plain(text: str) -> str:
    """One line without control characters: messages may quote what a model file contains."""
    return "".join(c if c.isprintable() else " " for c in text)


@contextmanager
def progress(quiet: bool) -> Iterator[Any]:
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

        def items(self, done: int, of: int, text: str = "") -> None:
            if console.is_terminal:
                self.status.update(escape(f"{text}: {done} of {of}"))

    spinner = Spinner()
    if not console.is_terminal:
        yield spinner
        return
    with spinner.status:
        yield spinner


@contextmanager
def bar(quiet: bool) -> Iterator[Any]:
    """As `progress`, with a bar for work whose end is known; told by `items`."""
    from keronyx.pipeline import Silent

    if quiet:
        yield Silent()
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = Bar(*columns, console=console, transient=True, refresh_per_second=4, disable=not console.is_terminal)

    class Bars(Silent):
        """One bar, begun anew with every phase; without a terminal, prints each phase once."""

        def __init__(self) -> None:
            self.task = shown.add_task("starting", total=None)

        def phase(self, text: str) -> None:
            shown.reset(self.task, total=None, description=escape(text))
            if not console.is_terminal:
                print(text, file=sys.stderr)

        def items(self, done: int, of: int, text: str = "") -> None:
            shown.update(self.task, completed=done, total=of, description=escape(text) if text else None)

        def line(self, text: str) -> None:
            """A line that stays, above the bar."""
            shown.print(escape(text)) if console.is_terminal else print(text, file=sys.stderr)

    with shown:
        yield Bars()


@contextmanager
def one_interrupt() -> Iterator[None]:
    """The first Ctrl-C ends the measurement, those after it are ignored: what was measured must be saved."""

    def end(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def show(measured: Report) -> None:
    """A report on stdout: coloured on a terminal, else aligned text 200 columns wide."""
    from rich.console import Console

    from keronyx.profiles import render, table

    console = Console()
    if console.is_terminal:
        console.print(render.terminal(table.build(measured)))
    else:
        print(render.text(table.build(measured), 200), end="")


def show_grid(table: Grid) -> None:
    """A small table and its notes on stdout."""
    from rich.console import Console

    from keronyx.profiles import grid

    console = Console()
    if not console.is_terminal:
        print(grid.text(table), end="")
        return
    console.print(grid.terminal(table))
    for note in table.notes:
        print(plain(note))


def write(measured: Report, path: Path) -> None:
    """A report to a file, in the format its suffix names. Raises UsageError, UnwritableError."""
    from keronyx.profiles import render, store, table

    if path.suffix == ".json":
        store.save(measured, path)
    else:
        store.write(path, render.by_suffix(path)(table.build(measured)))


def check_target(path: Path, force: bool) -> None:
    """Refuse, before any work is done, a report that would replace a file, cannot be written or has no known format.

    Raises:
        UsageError: no report format has this suffix.
        UnwritableError: as `check_free`.
    """
    from keronyx.profiles import render

    if path.suffix != ".json":
        render.by_suffix(path)
    check_free(path, force)


def check_free(path: Path, force: bool) -> None:
    """Refuse a file that exists (without `force`) or whose folder cannot be written; makes the folder.

    Raises UnwritableError.
    """
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

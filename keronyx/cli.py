"""The command line: what `keronyx` alone does, and its commands in the order `--help` lists them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from keronyx.commands.compare import compare
from keronyx.commands.doctor import doctor
from keronyx.commands.evaluate import evaluate
from keronyx.commands.export import export
from keronyx.commands.parity import parity
from keronyx.commands.profile import profile
from keronyx.commands.report import report
from keronyx.commands.train import train
from keronyx.exit_codes import EPILOG, Exit

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


for command in (doctor, export, profile, parity, report, compare, train, evaluate):
    app.command(epilog=EPILOG)(command)


def main() -> None:
    """Entry point of the console script and of the launcher in a checkout."""
    # The encoding of a pipe under LANG=C is ASCII; the report is not.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    app()

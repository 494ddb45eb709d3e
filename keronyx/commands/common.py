"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Trust = Annotated[bool, typer.Option("--trust", help="Load models that contain Python code. It will be executed.")]
CustomObjects = Annotated[
    str | None, typer.Option(metavar="MODULE:DICT", help="Dictionary of custom Keras classes the model needs.")
]
Weights = Annotated[str | None, typer.Option(metavar="FILE", help="Weights to load into a network or architecture.")]
SubstituteLayer = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=WHAT",
        help="Put a layer in the place of one that carries Python code: rescaling:1/255, identity, ... Repeatable.",
    ),
]
ImageSize = Annotated[
    str | None, typer.Option(metavar="HxW", help="Height and width of the input, where the model leaves them open.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Force = Annotated[bool, typer.Option("--force", help="Replace existing files.")]
JsonOutput = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

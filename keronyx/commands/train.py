"""`keronyx train`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from keronyx import options, terminal
from keronyx.commands.common import Debug, JsonOutput, Quiet
from keronyx.errors import UnwritableError


def train(
    network: Annotated[str, typer.Argument(metavar="NET", help="Network of the zoo: unet, enet, unet:16 ...")],
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="DIR|scenes:N", help="Labelled images to train on, or N drawn scenes. Repeatable."),
    ] = None,
    validation: Annotated[
        list[str] | None,
        typer.Option(metavar="DIR|scenes:N", help="Labelled images to validate on after every epoch. Repeatable."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Folder of the run; runs/train/NET without it."),
    ] = None,
    cycles: Annotated[
        str | None,
        typer.Option(metavar="N@RATE,...", help="Epochs at each learning rate: 22@1e-3,6@2e-4."),
    ] = None,
    image_size: Annotated[
        str | None, typer.Option(metavar="HxW", help="Height and width of the images; 320x400 without it.")
    ] = None,
    patch: Annotated[
        str | None, typer.Option(metavar="HxW", help="Cut this much out of every training image, anywhere.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Images a step; 2 without it.")] = None,
    patience: Annotated[
        int | None, typer.Option(min=1, help="End a cycle after so many epochs without gain; 10 without it.")
    ] = None,
    cross_entropy: Annotated[
        float | None,
        typer.Option(min=0, help="Weight of cross-entropy in the loss beside 1 - Lyft F; 0.5 without it."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of weights, order and augmentation; 0 without it.")] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="FILE|shipped", help="Start from these (.npz, .weights.h5) or those the zoo ships."),
    ] = None,
    licence: Annotated[str, typer.Option(metavar="TEXT", help="Terms of the data, for the card in weights.npz.")] = "",
    threads: Annotated[int, typer.Option(min=0, max=256, help="Threads; 0 is all usable cores.")] = 0,
    json: JsonOutput = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a network of the zoo on labelled road scenes, or go on with a run that was interrupted.

    A run is known by its folder: the same command goes on where it stopped, and prints the report of a finished run.
    """
    with terminal.errors(debug):
        from keronyx.pipeline import training

        folder = output or training.default_folder(network)
        named = {
            "data": tuple(data) if data else None,
            "validation": tuple(validation) if validation else None,
            "cycles": training.cycles(cycles) if cycles is not None else None,
            "patch": options.size(patch, "--patch"),
            "batch": batch,
            "patience": patience,
            "cross_entropy": cross_entropy,
            "seed": seed,
            "weights": weights,
        }
        if (size := options.size(image_size)) is not None:
            named |= {"height": size[0], "width": size[1]}
        if folder.exists() and not folder.is_dir():
            raise UnwritableError(f"{folder} is a file", "name a folder with -o")
        asked = training.settle(network, folder, {key: value for key, value in named.items() if value is not None})
        if not training.finished(folder):
            with terminal.bar(quiet or json) as progress:
                training.train(
                    asked,
                    folder,
                    threads=threads or None,
                    licence=licence,
                    command=shlex.join(["keronyx", *sys.argv[1:]]),
                    told=_Shown(progress),
                )
        _show(folder, json)


class _Shown:
    """Shows what a training tells on a progress bar, and a line for every epoch."""

    def __init__(self, progress: Any) -> None:
        self.progress = progress
        self.scores = ""

    def __call__(self, event: dict[str, Any]) -> None:
        where = f"cycle {event['cycle']}/{event['cycles']} epoch {event['epoch']}/{event['epochs']}"
        if event["at"] == "step":
            text = " · ".join(part for part in (where, f"loss {event['loss']:.4f}", self.scores) if part)
            self.progress.items(event["step"], event["steps"], text)
        elif event["at"] == "validation":
            self.progress.items(event["steps"], event["steps"], f"{where} · validating")
        else:
            found = [(name, event[f"val_{key}"]) for name, key in (("Lyft F", "lyft_f"), ("car", "car_f"))]
            found.append(("road", event["val_road_f"]))
            self.scores = " ".join(f"{name} {value:.4f}" for name, value in found)
            told = f"loss {event['loss']:.4f}, validation {event['val_loss']:.4f}"
            self.progress.line(f"{where} · {told} · {self.scores} · {event['step_ms']:.4g} ms/step")


def _show(folder: Path, as_json: bool) -> None:
    from keronyx.pipeline import training

    if as_json:
        from json import dumps

        print(dumps(training.told(folder), indent=2))
        return
    terminal.show_grid(training.report(folder))
    print(f"run: {terminal.plain(str(folder))} (weights.npz, curves.svg, report.md, log.csv)")

"""`train`: a run in a process of its own, then its curves and the seed's table of it. Joins the zoo and the drawing."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from keronyx.control_groups import available_memory_mib
from keronyx.errors import UsageError
from keronyx.process import Child
from keronyx.profiles import curves, environment, grid
from keronyx.profiles.grid import Grid
from keronyx.zoo import names, pairs, runs
from keronyx.zoo.runs import Asked, Cycle

__all__ = ["Asked", "Cycle", "cycles", "default_folder", "finished", "report", "settle", "told", "train"]

CHILD = "keronyx.zoo.training"
DATA, VALIDATION = ("scenes:400",), ("scenes:50:1",)
"""Drawn scenes, for who names no data: those of validation are of another series."""
CYCLES = (Cycle(12, 1e-3), Cycle(4, 2e-4))

REPORT, CURVES = "report.md", "curves.svg"


def finished(folder: Path) -> bool:
    """Whether nothing is left to do in a run's folder."""
    return runs.finished(folder) and (folder / REPORT).is_file()


def default_folder(network: str) -> Path:
    """Where a network is trained unless the user says otherwise."""
    return Path("runs") / "train" / str(names.parse(network)).replace(":", "-")


def cycles(text: str) -> tuple[Cycle, ...]:
    """`22@1e-3,6@2e-4` -> cycles. Raises UsageError."""
    try:
        found = [part.partition("@") for part in text.split(",")]
        made = tuple(Cycle(int(count), float(rate)) for count, _, rate in found)
    except ValueError:
        made = ()
    if not made or not all(one.epochs > 0 and 0 < one.learning_rate < math.inf for one in made):
        raise UsageError(f"--cycles must be EPOCHS@LEARNING-RATE, not {text!r}", "for example 22@1e-3,6@2e-4")
    return made


def settle(network: str, folder: Path, named: dict[str, Any]) -> Asked:
    """What is to be run: what the folder's run was asked for, if it has begun, else the defaults; and what is `named`.

    Args:
        named: fields of Asked that the user gave.

    Raises:
        UsageError: no such network, or the folder's run was asked for in other words.
    """
    text = str(names.parse(network))
    there = runs.asked_of(folder) if runs.begun(folder) else None
    known = there is not None
    if there is None:
        there = Asked(text, DATA, VALIDATION if "data" not in named else (), CYCLES)
        if "data" in named and "validation" not in named:
            raise UsageError("--data needs --validation beside it", "images that are not trained on, such as DIR/val")
    asked = replace(there, network=text, **named)
    runs.check(asked)
    if known:
        runs.begin(asked, folder)  # tells what differs
    return asked


def train(
    asked: Asked,
    folder: Path,
    *,
    threads: int | None = None,
    licence: str = "",
    command: str = "",
    told: Callable[[dict[str, Any]], None] = lambda _: None,
) -> None:
    """Train in a process of its own, or go on where the folder's run stopped. Ctrl-C ends it, to go on later.

    Args: as `zoo.train.train`.

    Raises:
        KeronyxError: as there; UnwritableError when the folder cannot be made, WorkerMemoryError when the process
            outgrew the free memory.
    """
    # Refused here rather than after TensorFlow has started.
    for texts in (asked.data, asked.validation):
        pairs.find(texts)
    runs.begin(asked, folder, command=command, licence=licence)
    count = threads or environment.usable_cores()
    settings = {"TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": str(count)}
    with Child(CHILD, settings, title="the training") as child:
        child.wait_ready(60)
        limit = available_memory_mib() * 0.95
        child.ask(
            "start",
            60,
            asked=asdict(asked),
            folder=str(folder.resolve()),
            threads=count,
            licence=licence,
            command=command,
        )
        while True:
            answer = child.ask("watch", math.inf, limit)
            for event in answer["events"]:
                told(event)
            if answer["done"]:
                break
    _draw(folder)
    (folder / REPORT).write_text(grid.markdown(report(folder)))


def report(folder: Path) -> Grid:
    """The seed's table of a run: one row a cycle."""
    asked = runs.asked_of(folder)
    assert asked is not None
    columns = (
        "network, cycle",
        "epochs",
        "learning rate",
        f"train ms/step (batch {asked.batch})",
        "validation ms/image",
        "validation loss",
        "Lyft F",
        "car F",
        "road F",
    )
    rows = tuple(
        (
            f"{asked.network}, {row['cycle']}",
            str(row["epochs"]),
            f"{row['learning_rate']:g}",
            f"{row['step_ms']:.4g}",
            f"{row['validation_image_ms']:.4g}",
            *(f"{row[name]:.4f}" for name in ("loss", "lyft_f", "car_f", "road_f")),
        )
        for row in runs.rows(folder)
    )
    size = f"{asked.height}x{asked.width}"
    trained = f"patches of {asked.patch[0]}x{asked.patch[1]}" if asked.patch else f"images of {size}"
    what = "1 - Lyft F" + (f" + {asked.cross_entropy:g} x cross-entropy" if asked.cross_entropy else "")
    notes = (
        f"Trained on {_words(asked.data)} ({trained}), validated on {_words(asked.validation)} at {size}.",
        f"Loss: {what}. F is soft, over each batch of {asked.batch}, its mean over batches; car F2, road F0.5.",
    )
    return Grid(columns, rows, notes)


def _draw(folder: Path) -> None:
    """Write `curves.svg`."""
    asked, lines = runs.asked_of(folder), runs.epochs(folder)
    assert asked is not None

    def curve(name: str, key: str, dashed: bool = False) -> curves.Curve:
        return curves.Curve(name, tuple(line[key] for line in lines), dashed)

    scores = [
        curve("Lyft F, validation", "val_lyft_f"),
        curve("car F, validation", "val_car_f"),
        curve("road F, validation", "val_road_f"),
        curve("Lyft F, training", "lyft_f", dashed=True),
    ]
    losses = [curve("loss, validation", "val_loss"), curve("loss, training", "loss", dashed=True)]
    of_cycle = [line["cycle"] for line in lines]
    starts = [place for place, cycle in enumerate(of_cycle) if place == 0 or cycle != of_cycle[place - 1]]
    temporary = folder / "curves.tmp"
    temporary.write_text(curves.svg(asked.network, scores, losses, starts))
    os.replace(temporary, folder / CURVES)


def _words(texts: Sequence[str]) -> str:
    """Data sets in words; one that is named several times is."""
    counted = {text: texts.count(text) for text in texts}
    return ", ".join(text if count == 1 else f"{text} ({count} times)" for text, count in counted.items())


def told(folder: Path) -> dict[str, Any]:
    """A run as JSON-like values: what was asked, a row a cycle, and where its files are."""
    asked = runs.asked_of(folder)
    assert asked is not None
    return {
        "folder": str(folder),
        "asked": asdict(asked),
        "cycles": runs.rows(folder),
        "weights": str(folder / runs.WEIGHTS),
    }

"""A training run's folder, read and written without Keras: what was asked, a line an epoch, a row a cycle.

`run.json` is what was asked, `origin.json` how it was started and on what terms, `log.csv` has one line an epoch,
`cycles.json` one row a cycle (the seed's table), `best.weights.h5` the weights of the best epoch, `backup/` where an
unfinished run goes on, `weights.npz` the trained weights with their card, once it is finished.
"""

from __future__ import annotations

import csv
import json
import math
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from keronyx.errors import ReportError, UnwritableError, UsageError
from keronyx.zoo import names

ASKED, ORIGIN, LOG, CYCLES, BEST, BACKUP, WEIGHTS = (
    "run.json",
    "origin.json",
    "log.csv",
    "cycles.json",
    "best.weights.h5",
    "backup",
    "weights.npz",
)

SCORE = "val_lyft_f"
"""What the best epoch has the most of: soft Lyft F on the validation images, at their whole size."""


@dataclass(frozen=True)
class Cycle:
    """So many epochs at one learning rate."""

    epochs: int
    learning_rate: float


@dataclass(frozen=True)
class Asked:
    """One training run; its JSON is `run.json`. Sizes are (height, width) in pixels."""

    network: str
    data: tuple[str, ...]
    validation: tuple[str, ...]
    cycles: tuple[Cycle, ...]
    height: int = 320
    width: int = 400
    batch: int = 2
    patch: tuple[int, int] | None = None
    """Height and width cut out of every training image; validation is on whole ones."""
    patience: int = 10
    """Epochs without a better validation Lyft F after which a cycle ends early."""
    cross_entropy: float = 0.5
    """Weight of the mean cross-entropy that the loss has beside 1 - Lyft F."""
    seed: int = 0
    weights: str | None = None
    """File to start from; seeded random weights without it."""


def check(asked: Asked) -> None:
    """Raises UsageError for a run that cannot be made."""
    network = names.parse(asked.network)
    whole = (asked.height, asked.width)
    if asked.patch and any(part > size for part, size in zip(asked.patch, whole, strict=True)):
        raise UsageError(
            f"a patch of {_size(asked.patch)} does not fit into images of {_size(whole)}", "make it smaller"
        )
    if asked.patch and network.name == "model-v4-pixel":
        raise UsageError("model-v4-pixel has a slope for every pixel, so patches cannot train it", "train model-v4")
    if not asked.cycles:
        raise UsageError("no cycle is named", "for example --cycles 22@1e-3,6@2e-4")


def begin(asked: Asked, folder: Path, *, command: str = "", licence: str = "") -> None:
    """Make the folder of a run, or find that it is this one's. One that was refused before its first epoch gives way.

    Args:
        asked: the run.
        folder: made where there is none.
        command: how it was started; that of the first start is kept.
        licence: terms of the data; those of an earlier start are kept when this one says none.

    Raises:
        UsageError: the folder holds a run that was asked for in other words.
        UnwritableError: the folder cannot be made or written.
    """
    known = asked_of(folder)
    if known is not None and known != asked and begun(folder):
        there, wanted = asdict(known), asdict(asked)
        differing = ", ".join(name for name in wanted if there[name] != wanted[name])
        raise UsageError(f"{folder} holds another run ({differing} differ)", "name another folder, or ask for the same")
    first = origin(folder) if known == asked else {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(
            folder / ORIGIN,
            {"command": first.get("command") or command, "licence": licence or first.get("licence", "")},
        )
        if known != asked:
            if not begun(folder):
                (folder / BEST).unlink(missing_ok=True)  # of an epoch that was never finished
            _write(folder / ASKED, asdict(asked))
    except OSError as error:
        raise UnwritableError(f"{folder} cannot be written: {error.strerror}", "name another folder with -o") from error


def begun(folder: Path) -> bool:
    """Whether anything of a run is there to go on from: a line of the log, a row or a backup."""
    backup = folder / BACKUP
    return bool(rows(folder) or epochs(folder) or (backup.is_dir() and any(backup.iterdir())))


def origin(folder: Path) -> dict[str, str]:
    """`command` and `licence` of the run's first start; empty where that is not known."""
    return dict(_read(folder / ORIGIN) or {})


def asked_of(folder: Path) -> Asked | None:
    """What the run in a folder was asked for; None where there is none. Raises ReportError when that is damaged."""
    content = _read(folder / ASKED)
    if content is None:
        return None
    try:
        return read(content)
    except (TypeError, KeyError) as error:
        raise ReportError(f"{folder / ASKED} is of no run: {error}", "name another folder") from error


def read(content: dict[str, Any]) -> Asked:
    """A run out of its JSON. Raises TypeError or KeyError for what is none."""
    asked = Asked(**content)
    return replace(
        asked,
        data=tuple(asked.data),
        validation=tuple(asked.validation),
        cycles=tuple(Cycle(**cycle) for cycle in content["cycles"]),
        patch=(asked.patch[0], asked.patch[1]) if asked.patch else None,
    )


def finished(folder: Path) -> bool:
    """Whether every cycle has its row and the trained weights are written."""
    asked = asked_of(folder)
    return asked is not None and len(rows(folder)) == len(asked.cycles) and (folder / WEIGHTS).is_file()


def rows(folder: Path) -> list[dict[str, Any]]:
    """A row a finished cycle: `cycle` (from 1), `learning_rate`, `epochs` made, `step_ms` (median training step),
    `validation_image_ms`, and of the best weights so far on the validation images `loss`, `lyft_f`, `car_f`, `road_f`.
    """
    return list(_read(folder / CYCLES) or [])


def add_row(folder: Path, row: dict[str, Any]) -> None:
    """A cycle is finished."""
    _write(folder / CYCLES, [*rows(folder), row])


def epochs(folder: Path) -> list[dict[str, float]]:
    """The lines of the log in order, each epoch of each cycle once: a kill may have come between line and backup."""
    log = folder / LOG
    if not log.exists():
        return []
    with log.open(newline="") as lines:
        try:
            logged = [{name: float(value) for name, value in line.items()} for line in csv.DictReader(lines)]
            return list({(line["cycle"], line["epoch"]): line for line in logged}.values())
        except (ValueError, TypeError, KeyError) as error:
            raise ReportError(f"{log} is damaged: {error}", "train again in another folder") from error


def of_cycle(folder: Path, cycle: int) -> list[dict[str, float]]:
    """The logged epochs of one cycle."""
    return [line for line in epochs(folder) if line["cycle"] == cycle]


def best_score(lines: list[dict[str, float]]) -> float:
    """The best validation Lyft F of some epochs; minus infinity without any that is a number."""
    return max((line[SCORE] for line in lines if not math.isnan(line[SCORE])), default=-math.inf)


def without_gain(lines: list[dict[str, float]]) -> int:
    """Epochs since the best of a cycle, which itself is 0 epochs ago."""
    scores = [-math.inf if math.isnan(line[SCORE]) else line[SCORE] for line in lines]
    return len(scores) - 1 - scores.index(max(scores)) if scores else 0


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise ReportError(f"{file} is damaged: {error}", "name another folder") from error


def _write(file: Path, content: Any) -> None:
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1))
    os.replace(temporary, file)

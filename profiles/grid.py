"""A small table of texts, as a terminal, Markdown or CSV shows it; a report of many rows and columns is `table.py`."""

from __future__ import annotations

import csv as csv_module
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keronyx.errors import UsageError
from keronyx.profiles.wording import one_line

if TYPE_CHECKING:
    import rich.table


@dataclass(frozen=True)
class Grid:
    """Headers, as many texts a row, and sentences below them; control characters in them reach no format."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    words: int = 0
    """How many of the last columns hold sentences, which go to the left like the first."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(map(one_line, self.columns)))
        object.__setattr__(self, "rows", tuple(tuple(map(one_line, row)) for row in self.rows))
        object.__setattr__(self, "notes", tuple(map(one_line, self.notes)))

    def right(self, place: int) -> bool:
        """Whether a column's texts are aligned to the right, as figures are."""
        return 0 < place < len(self.columns) - self.words


def by_suffix(path: Path) -> Callable[[Grid], str]:
    """How a file of this name is written. Raises UsageError for a suffix that is no format's."""
    formats: dict[str, Callable[[Grid], str]] = {".md": markdown, ".csv": csv, ".txt": text}
    if path.suffix not in formats:
        raise UsageError(f"{path}: no format has the suffix {path.suffix!r}", f"use one of {' '.join(formats)} .json")
    return formats[path.suffix]


def terminal(grid: Grid) -> rich.table.Table:
    """What rich prints; no text in it is read as markup. The first column is to the left, figures to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for place, column in enumerate(grid.columns):
        table.add_column(Text(column, overflow="fold"), justify="right" if grid.right(place) else "left")
    for row in grid.rows:
        table.add_row(*map(Text, row))
    return table


def text(grid: Grid) -> str:
    """Aligned columns."""
    lines = [grid.columns, *grid.rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(grid.columns))]
    aligned = [
        "  ".join(
            cell.rjust(width) if grid.right(place) else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([*aligned, *grid.notes]) + "\n"


def markdown(grid: Grid) -> str:
    """A pipe table; bars in a text cannot break it."""

    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = "|" + "|".join("---:" if grid.right(place) else "---" for place in range(len(grid.columns))) + "|"
    notes = [f"\n{note}" for note in grid.notes]
    return "\n".join([line(grid.columns), rule, *map(line, grid.rows), *notes]) + "\n"


def csv(grid: Grid) -> str:
    """Header and rows alone."""
    out = io.StringIO()
    csv_module.writer(out, lineterminator="\n").writerows([grid.columns, *grid.rows])
    return out.getvalue()

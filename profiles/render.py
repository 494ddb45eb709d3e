"""A table as text: terminal, plain text, Markdown, CSV. Each format only supplies its dialect and its escaping.

HTML, the one with plots, is `profiles/page.py`.
"""

from __future__ import annotations

import csv as csv_module
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keronyx.errors import UsageError
from keronyx.profiles import wording
from keronyx.profiles.columns import Column
from keronyx.profiles.table import Table, Tone

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

Renderer = Callable[[Table], str]

GAP = "  "
NOTE_WIDTH = 24
"""Columns are dropped until notes have this much room."""
WIDEST_CELL = 28


def by_suffix(path: str | Path) -> Renderer:
    """The renderer that the suffix of `path` asks for. Raises UsageError for a suffix that none answers to."""
    suffix = Path(path).suffix.lower()
    if suffix not in RENDERERS:
        known = " ".join(sorted(RENDERERS))
        raise UsageError(f"{path}: no report format has the suffix {suffix!r}", f"use one of {known}")
    return RENDERERS[suffix]


# --- terminal and plain text ----------------------------------------------------------------------------------------

Segments = list[tuple[str, str]]
"""One line: texts with the style each has on a terminal."""

_STYLES: dict[Tone, str] = {"winner": "bold green", "timed": "", "wrong": "red", "absent": "dim"}


def text(table: Table, width: int = 160) -> str:
    """Plain text of at most `width` columns (figures are never wrapped, so at least about 95)."""
    lines = ["".join(part for part, _ in segments).rstrip() for segments in _layout(table, width)]
    return "\n".join(lines) + "\n"


def terminal(table: Table) -> TerminalTable:
    """What `rich` prints: the plain text with colours, as wide as the terminal."""
    return TerminalTable(table)


class TerminalTable:
    """A rich renderable; see `terminal`. No text in it is read as markup."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        for segments in _layout(self.table, options.max_width):
            line = Text(no_wrap=True, overflow="ignore")
            for part, style in segments:
                line.append(part, style or None)
            line.rstrip()
            yield line


def _layout(table: Table, width: int) -> Iterator[Segments]:
    yield from ([(line, "bold")] for line in _wrap(table.title, width))
    style = "bold green" if table.trusted else "bold red"
    yield from ([(line, style)] for line in _wrap(f"{table.trust}{GAP}{table.vital_signs}", width))
    yield []
    yield from _body(table, width)
    yield []
    for ship in table.ships:
        yield from ([(line, "bold")] for line in _wrap(f"{ship.label}: {ship.choice} ({ship.reason})", width, GAP))
    for note in table.notes:
        yield from ([(line, "yellow")] for line in _wrap(f"note: {note}", width, GAP))
    yield []
    for export in table.exports:
        yield from ([(line, "")] for line in _wrap(f"export: {export}", width, GAP))
    yield from ([(line, "dim")] for line in _wrap(table.environment, width, GAP))
    for word, meaning in table.words:
        yield from ([(line, "dim")] for line in _wrap(f"{word}: {meaning}", width, GAP))


def _body(table: Table, width: int) -> Iterator[Segments]:
    """Header and rows. The note comes last and takes what room is left, on several lines where it must."""
    shown, widths = _fit(table, width)
    *figures, note = shown
    first_figure = next(place for place, index in enumerate(figures) if table.columns[index].key == "median_ms")

    header = "".join(_pad(table.columns[index].header, widths[index], table.columns[index]) + GAP for index in figures)
    word = table.columns[note].header
    yield [(header + word if len(header + word) <= width else header.rstrip(), "underline")]
    for line in table.lines:
        style, words = _STYLES[line.tone], line.message or line.cells[-1].text
        cells = figures[:first_figure] if line.message else figures
        start = "".join(_pad(line.cells[index].text, widths[index], table.columns[index]) + GAP for index in cells)
        at = sum(widths[index] + len(GAP) for index in cells)
        room = width - at
        if room >= min(NOTE_WIDTH, len(words)):
            first, *rest = _wrap(words, room) or [""]
        else:
            first, rest, at = "", _wrap(words, width - 2 * len(GAP)), 2 * len(GAP)
        yield [(start + first, style)]
        yield from ([(" " * at + part, style)] for part in rest)


def _fit(table: Table, width: int) -> tuple[list[int], dict[int, int]]:
    """Indices of the columns that are shown, and their widths: empty ones go first, then the least important."""
    from rich.cells import cell_len

    widths = {}
    for index, column in enumerate(table.columns):
        texts = [line.cells[index].text for line in table.lines]
        if any(texts) or column.keep == 0:
            widths[index] = min(max(map(cell_len, [column.header, *texts])), WIDEST_CELL)
    shown = list(widths)
    droppable = sorted((i for i in shown if table.columns[i].keep), key=lambda i: -table.columns[i].keep)
    while droppable and sum(widths[i] + len(GAP) for i in shown[:-1]) + NOTE_WIDTH > width:
        shown.remove(droppable.pop(0))
    return shown, widths


def _pad(text: str, width: int, column: Column) -> str:
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) > width:
        text = set_cell_size(text, width - 1) + "…"
    space = " " * (width - cell_len(text))
    return space + text if column.align == "right" else text + space


def _wrap(text: str, width: int, indent: str = "") -> list[str]:
    """`text` in lines of at most `width` columns, broken at spaces; lines after the first begin with `indent`."""
    from rich.cells import cell_len, chop_cells

    width = max(width, NOTE_WIDTH)
    lines, line = [], ""
    for word in text.split(" "):
        if line and cell_len(line) + 1 + cell_len(word) > width:
            lines.append(line)
            line = indent + word
        else:
            line = f"{line} {word}" if line else word
        while cell_len(line) > width:
            head, *rest = chop_cells(line, width)
            lines.append(head)
            line = indent + "".join(rest)
    return [*lines, line] if line else lines


# --- Markdown -------------------------------------------------------------------------------------------------------


def markdown(table: Table) -> str:
    """GitHub-flavoured Markdown."""
    keep = [index for index, column in enumerate(table.columns) if not column.keep or _filled(table, index)]
    lines = [
        f"## {markdown_text(table.name)}",
        "",
        markdown_text(table.facts),
        "",
        f"**{markdown_text(table.trust)}** {markdown_text(table.vital_signs)}",
        "",
        *(
            f"**{markdown_text(ship.label)}: {markdown_text(ship.choice)}** ({markdown_text(ship.reason)})\n"
            for ship in table.ships
        ),
        _md_row(table.columns[index].header for index in keep),
        "|" + "|".join("---:" if table.columns[index].align == "right" else ":---" for index in keep) + "|",
        *(_md_row(line.cells[index].text for index in keep) for line in table.lines),
    ]
    sections = (
        ("Notes", [markdown_text(note) for note in table.notes]),
        ("Exports", [markdown_text(export) for export in table.exports]),
        ("Environment", [markdown_text(table.environment)]),
        ("Words", [f"**{markdown_text(word)}**: {markdown_text(meaning)}" for word, meaning in table.words]),
    )
    for heading, items in sections:
        if items:
            lines += ["", f"### {heading}", "", *(f"- {item}" for item in items)]
    return "\n".join(lines) + "\n"


def _filled(table: Table, index: int) -> bool:
    return any(line.cells[index].text for line in table.lines)


def _md_row(texts: Any) -> str:
    return "| " + " | ".join(markdown_text(one) for one in texts) + " |"


_MD_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;", "\n": " ", "\r": " "} | {c: f"\\{c}" for c in "\\`*_[]|~#$!"}
)


def markdown_text(text: str) -> str:
    """`text` with nothing in it that Markdown reads as markup, a table's edge, HTML, or the mention of a user."""
    return text.translate(_MD_ESCAPES)


# --- CSV ------------------------------------------------------------------------------------------------------------


def csv(table: Table) -> str:
    """Machine values in full precision, one line a row; intervals are `_low` and `_high` columns of their own."""
    header = ["model", "trusted", "id"]
    for column in table.columns:
        header += [column.key, f"{column.key}_low", f"{column.key}_high"] if column.interval else [column.key]
    stream = io.StringIO()
    writer = csv_module.writer(stream, lineterminator="\n")
    writer.writerow(header)
    for line in table.lines:
        values: list[float | str | None] = [table.name, "yes" if table.trusted else "no", wording.clean(line.row.id)]
        for column, cell in zip(table.columns, line.cells, strict=True):
            values += [cell.value, cell.low, cell.high] if column.interval else [cell.value]
        writer.writerow([_inert(value) for value in values])
    return stream.getvalue()


def _inert(value: float | str | None) -> str:
    """A field no spreadsheet runs as a formula (OWASP, CSV injection); numbers stay numbers."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return repr(value)
    return f"'{value}" if value.lstrip().startswith(tuple("=+-@\t\r＝＋－＠")) else value


# --- formats --------------------------------------------------------------------------------------------------------


def html(table: Table) -> str:
    """One self-contained HTML page."""
    from keronyx.profiles.page import html as page

    return page(table)


def json(table: Table) -> str:
    """The report itself, as it is stored."""
    from keronyx.profiles.store import dumps

    return dumps(table.report)


RENDERERS: dict[str, Renderer] = {".html": html, ".md": markdown, ".csv": csv, ".json": json, ".txt": text}

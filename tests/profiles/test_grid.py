"""A small table reads the same in every format."""

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from keronyx.errors import UsageError
from keronyx.profiles import grid
from keronyx.profiles.grid import Grid

TABLE = Grid(("net", "F"), (("unet|16", "0.9"), ('[red]a,"b"', "10.25")), ("a note",))


def test_text_is_aligned():
    assert grid.text(TABLE) == 'net             F\nunet|16       0.9\n[red]a,"b"  10.25\na note\n'


def test_a_bar_cannot_break_markdown():
    assert grid.markdown(TABLE).splitlines() == [
        "| net | F |",
        "|---|---:|",
        "| unet\\|16 | 0.9 |",
        '| [red]a,"b" | 10.25 |',
        "",
        "a note",
    ]


def test_csv_is_read_back():
    assert list(csv.reader(io.StringIO(grid.csv(TABLE)))) == [list(TABLE.columns), *map(list, TABLE.rows)]


def test_no_text_is_read_as_markup():
    out = io.StringIO()
    Console(file=out, width=80).print(grid.terminal(TABLE))
    assert '[red]a,"b"' in out.getvalue()


def test_no_figure_is_cut_on_a_narrow_terminal():
    out = io.StringIO()
    wide = Grid(("a long header of words",) * 6, (("0.123456",) * 6,))
    Console(file=out, width=64).print(grid.terminal(wide))
    assert out.getvalue().count("0.123456") == 6


@pytest.mark.parametrize("form", [grid.text, grid.markdown, grid.csv])
def test_no_control_character_reaches_a_format(form):
    evil = "a\x1b[31m\u202eb\nc"
    made = form(Grid((evil, "F"), ((evil, "1"),), (evil,)))
    assert "a [31m b c" in made and made.replace("\n", "").isprintable()


def test_a_long_sentence_is_not_cut():
    assert len(Grid(("a",), (), ("word " * 200,)).notes[0]) == 1000


def test_a_suffix_names_the_format():
    assert grid.by_suffix(Path("a.md"))(TABLE) == grid.markdown(TABLE)
    with pytest.raises(UsageError, match=r"'\.doc'"):
        grid.by_suffix(Path("a.doc"))

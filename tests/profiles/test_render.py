"""Formats: what each escapes, that none depends on anything but the report, and that reading one is quick."""

import csv
import dataclasses
import io
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from keronyx.errors import UsageError
from keronyx.profiles import render, table
from keronyx.types import Report

RECORDED = Path(__file__).parent / "fixtures" / "schema1.json"
VOID = {"meta", "link"}


class Page(HTMLParser):
    """Elements and texts of a page; fails on tags that do not close."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(source)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def elements(page: Page, name: str) -> list[dict[str, str | None]]:
    return [attributes for tag, attributes in page.elements if tag == name]


@pytest.mark.parametrize("suffix", sorted(render.RENDERERS))
def test_same_report_gives_the_same_text(report: Report, suffix: str) -> None:
    one, two = (render.by_suffix(f"out{suffix}")(table.build(report)) for _ in range(2))
    assert one == two and one.endswith("\n")


@pytest.mark.parametrize("name", ["run.HTML", "a/b.c/run.md", "run.csv", "run.json", "run.txt"])
def test_format_is_taken_from_the_suffix(name: str) -> None:
    assert render.by_suffix(name) is render.RENDERERS[Path(name).suffix.lower()]


@pytest.mark.parametrize("name", ["run", "run.pdf", ".html"])
def test_unknown_suffix_lists_the_known_ones(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        render.by_suffix(name)
    assert all(suffix in caught.value.remedy for suffix in (".html", ".md", ".csv", ".json", ".txt"))


def test_samples_of_a_row_that_fell_back_are_in_no_rendering(report: Report) -> None:
    built = table.build(report)
    for suffix in (".html", ".md", ".csv", ".txt"):
        assert not re.search(r"\b7[5-9]\.\d", render.RENDERERS[suffix](built)), suffix


# --- text


@pytest.mark.parametrize("width", [100, 120, 160, 200])
def test_text_fits_its_width_and_wraps_no_figure(report: Report, width: int) -> None:
    text = render.text(table.build(report), width)
    assert max(map(len, text.splitlines())) <= width
    assert re.search(r"^openvino +cpu +OK +\S+ \[\S+, \S+\] +1\.\d+x \[\S+, \S+\] .*pass 2e-07", text, re.MULTILINE)


def test_narrow_text_drops_the_least_important_columns_first(report: Report) -> None:
    built = table.build(report)
    headers = {
        width: next(x for x in render.text(built, width).splitlines() if "runtime" in x) for width in (100, 130, 200)
    }
    assert "file MiB" in headers[200] and "file MiB" not in headers[130]
    assert "cold s" in headers[130] and "cold s" not in headers[100]
    assert all("median ms" in header and "parity" in header for header in headers.values())


def test_every_note_is_readable_at_every_width(report: Report) -> None:
    for width in (20, 60, 100, 160):
        words = " ".join(render.text(table.build(report), width).split())
        assert "no answer for 120 s: raise --timeout" in words
        assert "compile 12 s: repays after" in words


def test_terminal_prints_the_same_text_and_reads_no_markup(hostile_report: Report) -> None:
    from rich.console import Console

    built = table.build(hostile_report)
    stream = io.StringIO()
    Console(file=stream, width=160, force_terminal=True, color_system="truecolor").print(render.terminal(built))
    printed = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert [x.rstrip() for x in printed.splitlines()] == render.text(built, 160).splitlines()
    assert "[bold]" in printed


def test_text_has_no_control_or_bidirectional_characters(hostile_report: Report) -> None:
    text = render.text(table.build(hostile_report))
    assert all(character.isprintable() or character == "\n" for character in text)


# --- Markdown


def test_markdown_table_keeps_its_columns_whatever_the_names(hostile_report: Report) -> None:
    text = render.markdown(table.build(hostile_report))
    rows = [x for x in text.splitlines() if x.startswith("|")]
    edges = {len(re.findall(r"(?<!\\)\|", x)) for x in rows}
    assert len(rows) == 2 + len(hostile_report.rows) and len(edges) == 1
    assert "<script" not in text and not re.search(r"(?<!\\)`", text)


# --- CSV


def test_csv_has_machine_values_and_intervals(report: Report) -> None:
    rows = list(csv.DictReader(io.StringIO(render.csv(table.build(report)))))
    assert len(rows) == len(report.rows)
    by_id = {row["id"]: row for row in rows}
    found = by_id["litert/cpu/fp32/1"]
    assert float(found["median_ms_low"]) < float(found["median_ms"]) < float(found["median_ms_high"])
    assert float(found["peak_rss_mib"]) == 260.0 and found["trusted"] == "yes"
    assert by_id["ort/tensorrt/fp32/1"]["median_ms"] == ""
    assert by_id["tf-graph/cpu/fp32/1"]["speedup"] == "1.0"


def test_csv_holds_no_formula(hostile_report: Report) -> None:
    rows = list(csv.reader(io.StringIO(render.csv(table.build(hostile_report)))))
    assert len({len(row) for row in rows}) == 1
    assert any(field.startswith("'=cmd") for row in rows for field in row)
    assert not any(field.lstrip().startswith(("=", "+", "-", "@")) for row in rows for field in row if len(field) > 1)


# --- HTML


def test_page_is_one_file_without_scripts_or_requests(report: Report) -> None:
    source = render.html(table.build(report))
    page = Page(source)
    assert not elements(page, "script") and not elements(page, "img")
    assert not re.search(r"https?:|url\(|@import", source)


def test_page_escapes_every_text(hostile_report: Report) -> None:
    source = render.html(table.build(hostile_report))
    page = Page(source)
    assert not elements(page, "script")
    assert "alert" in source and "\x1b" not in source and "\u202e" not in source
    assert not any(key.startswith("on") for _, attributes in page.elements for key in attributes)


def test_page_is_accessible(report: Report) -> None:
    page = Page(render.html(table.build(report)))
    plots = elements(page, "svg")
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert len(plots) == 2
    for plot in plots:
        assert plot["role"] == "img" and set(str(plot["aria-labelledby"]).split()) <= ids
    assert all(header.get("scope") in ("col", "row") for header in elements(page, "th"))
    assert elements(page, "html")[0]["lang"] == "en"


def test_page_leads_with_the_recommendation_and_says_when_not_to_trust(report: Report) -> None:
    texts = Page(render.html(table.build(report))).texts
    assert texts.index("openvino/cpu or litert/cpu") < texts.index("Every row")
    assert "TRUSTED" in texts
    assert "NOT TRUSTED" in Page(render.html(table.build(dataclasses.replace(report, control={})))).texts


def test_page_shows_every_row_and_every_warning(report: Report) -> None:
    source = render.html(table.build(report))
    for row in report.rows:
        assert row.reason in source
    for note in table.build(report).notes:
        assert note in source


def test_page_without_rows_or_samples_still_renders(report: Report) -> None:
    empty = dataclasses.replace(report, rows=(), control={}, rounds=(), artifacts=(), warnings=())
    page = Page(render.html(table.build(empty)))
    assert not elements(page, "svg")
    assert "The report has no rows." in page.texts


# --- weight


def test_reading_and_rendering_import_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from keronyx.profiles import render, store, table\n"
        "light = set(sys.modules)\n"
        "built = table.build(store.load(sys.argv[1]))\n"
        "[renderer(built) for renderer in render.RENDERERS.values()]\n"
        "heavy = {'tensorflow', 'keras', 'onnx', 'onnxruntime', 'scipy', 'openvino', 'tf2onnx'}\n"
        "print(sorted(heavy & set(sys.modules)), sorted({'pydantic', 'jinja2', 'rich'} & light))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(RECORDED)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] []"

"""A comparison of two runs as text, GitHub-flavoured Markdown and JUnit XML."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from keronyx.errors import UsageError
from keronyx.profiles import wording
from keronyx.profiles.compare import ONE_PROCESS_MARGIN, Change, Changes, few_processes, interleaved
from keronyx.profiles.plan import LEAST_PROCESS_SETS
from keronyx.profiles.render import markdown_text
from keronyx.profiles.stats import Comparison

HEADER = ("row", "old ms [95 %]", "new ms [95 %]", "new / old", "verdict")
ADVICE = "Runs made apart differ by process and hour as well: for small differences measure both with compare --live."
INTERLEAVED = "Measured interleaved: each ratio compares the same rounds of both."


def text(changes: Changes) -> str:
    """Aligned columns."""
    lines = [HEADER, *(_cells(change) for change in changes.rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADER))]
    body = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*_headline(changes), "", *body, "", *_notes(changes), ""])


def markdown(changes: Changes) -> str:
    """For a pull request."""
    first, *rest = _headline(changes)
    rows = ["| " + " | ".join(markdown_text(cell) for cell in _cells(change)) + " |" for change in changes.rows]
    table = ["| " + " | ".join(HEADER) + " |", "|" + ":---|" * len(HEADER), *rows]
    notes = [f"- {markdown_text(note)}" for note in _notes(changes)]
    lines = [f"**{markdown_text(first)}**", *(markdown_text(line) for line in rest), "", *table, "", *notes]
    return "\n".join(lines) + "\n"


def junit(changes: Changes) -> str:
    """A test case a row: a regression fails, an undecided row is skipped with what would decide it."""
    suite = ElementTree.Element(
        "testsuite",
        name=f"keronyx compare {wording.clean(changes.new.model.name)}",
        tests=str(len(changes.rows) + len(changes.only_old)),
        failures=str(len(changes.regressions)),
        skipped=str(sum(_undecided(change) for change in changes.rows) + len(changes.only_old)),
    )
    for change in changes.rows:
        case = ElementTree.SubElement(suite, "testcase", classname="latency", name=wording.clean(change.row))
        if change.regression:
            ElementTree.SubElement(case, "failure", message=_verdict(change))
        elif _undecided(change):
            why = wording.clean("; ".join((_verdict(change), *changes.distrust)))
            ElementTree.SubElement(case, "skipped", message=why)
    for row in changes.only_old:
        case = ElementTree.SubElement(suite, "testcase", classname="latency", name=wording.clean(row))
        ElementTree.SubElement(case, "skipped", message="not in the new run")
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


FORMATS: dict[str, Callable[[Changes], str]] = {".md": markdown, ".xml": junit, ".txt": text}


def by_suffix(path: Path) -> Callable[[Changes], str]:
    """The format a file's name asks for. Raises UsageError."""
    if path.suffix not in FORMATS:
        raise UsageError(f"{path}: unknown format", f"one of {', '.join(FORMATS)}")
    return FORMATS[path.suffix]


def _headline(changes: Changes) -> list[str]:
    count = len(changes.regressions)
    verdict = f"{count} regression{'' if count == 1 else 's'}" if count else "no regression found"
    names = " and ".join(dict.fromkeys(wording.clean(r.model.name) for r in (changes.old, changes.new)))
    return [f"{names}: {verdict}", f"{changes.old.created} -> {changes.new.created}"]


def _cells(change: Change) -> tuple[str, ...]:
    return (
        wording.clean(change.row),
        wording.milliseconds(change.old),
        wording.milliseconds(change.new),
        wording.ratio(change.ratio, "x"),
        _verdict(change),
    )


def _verdict(change: Change) -> str:
    parts = []
    if change.regression:
        parts.append("REGRESSION")
    if change.comparison is not None:
        parts.append(change.comparison.value)
    if change.more_rounds:
        parts.append(f"about {change.more_rounds:,} more rounds would decide")
    if change.problem:
        parts.append(change.problem)
    return wording.clean("; ".join(parts))


def _undecided(change: Change) -> bool:
    return not change.regression and change.comparison in (None, Comparison.UNDECIDED)


def _notes(changes: Changes) -> list[str]:
    notes = [f"not trusted, so nothing is called different: {wording.clean(why)}" for why in changes.distrust]
    for name, rows in (("old", changes.only_old), ("new", changes.only_new)):
        if rows:
            notes.append(f"only in the {name} run: {wording.clean(', '.join(rows))}")
    notes.append(f"equivalent: within {100 * changes.margin:.1f} %")
    few = [name for name, run in (("old", changes.old), ("new", changes.new)) if few_processes(run)]
    if few:
        limit = wording.share(ONE_PROCESS_MARGIN)
        notes.append(
            f"the {' and '.join(few)} run had fewer than {LEAST_PROCESS_SETS} sets of processes: what differs by less "
            f"than {limit} may be luck of the process; measure with --processes 5"
        )
    return [*notes, INTERLEAVED if interleaved(changes.old, changes.new) else ADVICE]

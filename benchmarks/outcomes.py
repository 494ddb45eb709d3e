"""What became of exporting one model, and the page that says it of all."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

USABLE = "usable"
NAMED = "refused, layer named"
UNNAMED = "refused, layer not named"
SILENT = "silent failure"
CRASH = "crash"
TIMEOUT = "timeout"
OUTCOMES = (USABLE, NAMED, UNNAMED, SILENT, CRASH, TIMEOUT)

DEFECT = "this is a defect"
"""What keronyx says of an exception it did not foresee."""

GENERIC = frozenset({"x", "y", "a", "b", "c"})
"""Names too short to be recognised in a sentence without quotes."""


@dataclass(frozen=True)
class Outcome:
    """One model. `seconds` is the CPU time of the whole command with its children, `peak_mib` that of the conversion
    (of the largest process where it was refused); `raw` says the same of tf2onnx alone, where that was asked."""

    key: str
    family: str
    name: str
    result: str
    note: str
    nodes: int | None = None
    opset: int | None = None
    seconds: float = 0.0
    peak_mib: float = 0.0
    raw: str = ""


def of_command(code: int | None, said: str, names: Iterable[str] = ()) -> tuple[str, str]:
    """What an export command's exit means, and its one line.

    Args:
        code: exit code, negative for a signal; None when it ran out of time.
        said: what it wrote to stderr.
        names: of the model's layers, operations and inputs.

    Returns:
        USABLE stands for green gates here, until the file was verified.
    """
    lines = [line.strip() for line in said.strip().splitlines() if line.strip()]
    last = lines[-1].removeprefix("keronyx: ") if lines else ""
    if code is None:
        return TIMEOUT, last
    if code == 0:
        return USABLE, ""
    if code < 0 or "Traceback" in said or DEFECT in said or not last or code not in (1, 2, 3, 4):
        return CRASH, last or f"exit code {code}, nothing said"
    message = " ".join(lines).removeprefix("keronyx: ")
    message = message.partition(" -> ")[0]  # the advice is for who meets it, not for this page
    return (NAMED if names_a_layer(message, names) else UNNAMED), message


def names_a_layer(message: str, names: Iterable[str]) -> bool:
    """Whether the message names one of the model's layers, operations or inputs."""
    words = set(re.findall(r"[\w./>-]+", message))
    parts = {part.strip(".") for word in words for part in (word, *word.split("/"))}
    quoted = set(re.findall(r"'([^']+)'", message)) | set(
        re.findall(r"\(layer ([\w/, -]+?)(?: and others)?\)", message)
    )
    quoted = {part.strip() for text in quoted for part in (text, *re.split(r"[/,]", text))}
    return any(name in quoted or (name in parts and name not in GENERIC) for name in names)


def page(outcomes: Sequence[Outcome], lines: Sequence[str]) -> str:
    """Markdown: totals, what was run on what, then a table for each family."""
    raw = any(outcome.raw for outcome in outcomes)
    written = [_totals(outcomes, raw), *(f"- {line}" for line in lines), ""]
    for family in dict.fromkeys(outcome.family for outcome in outcomes):
        members = [outcome for outcome in outcomes if outcome.family == family]
        good = sum(outcome.result == USABLE for outcome in members)
        written += [f"## {family}: {good} of {len(members)}", ""]
        written += [
            f"| model | result | nodes | opset | CPU s | peak MiB | note |{' tf2onnx alone |' if raw else ''}",
            "|---|---|---|---|---|---|---|" + ("---|" if raw else ""),
        ]
        written += [_row(outcome, raw) for outcome in members]
        written += [""]
    return "\n".join(written)


def _totals(outcomes: Sequence[Outcome], raw: bool) -> str:
    counted = Counter(outcome.result for outcome in outcomes)
    rows = ["| result | models |" + (" tf2onnx alone |" if raw else ""), "|---|---|" + ("---|" if raw else "")]
    before = Counter(outcome.raw.partition(":")[0] for outcome in outcomes if outcome.raw)
    for result in OUTCOMES:
        rows.append(f"| {result} | {counted[result]} |" + (f" {before[result]} |" if raw else ""))
    rows.append(f"| all | {len(outcomes)} |" + (f" {sum(before.values())} |" if raw else ""))
    return "\n".join([*rows, ""])


def _row(outcome: Outcome, raw: bool) -> str:
    cells = [
        f"`{outcome.name}`",
        outcome.result,
        "" if outcome.nodes is None else str(outcome.nodes),
        "" if outcome.opset is None else str(outcome.opset),
        f"{outcome.seconds:.1f}",
        f"{outcome.peak_mib:,.0f}",
        cell(outcome.note),
        *([cell(outcome.raw)] if raw else []),
    ]
    return f"| {' | '.join(cells)} |"


def cell(text: str) -> str:
    """One line for a table's cell, without a machine's paths."""
    text = re.sub(r"(?<![\w.])/(?:[\w.+-]+/)+", "", " ".join(text.split()))
    text = text.replace("|", "\\|").replace("<", "&lt;")
    return text if len(text) <= 240 else text[:239] + "…"

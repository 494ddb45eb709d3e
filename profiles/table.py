"""The one table every format is made from: plain texts and machine values, nothing computed later than here.

All texts are cleaned of control characters (`wording.clean`); escaping for a format is that format's business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from keronyx.profiles import notes, stats, throughput, wording
from keronyx.profiles.columns import CELLS, NAMING, Cell, Column, Context, columns_of
from keronyx.profiles.ranking import Ranking, parity_failed, rankings
from keronyx.profiles.trust import trusted as trusted
from keronyx.profiles.trust import vital_signs
from keronyx.types import Report, Row, Status, Verdict

Tone = Literal["winner", "timed", "wrong", "absent"]
"""winner: fastest; timed: has a latency; wrong: has one, but its parity fails; absent: has none."""


@dataclass(frozen=True)
class Line:
    """One row. Where `message` is not empty (`reason: remedy`), it stands in place of all cells from `median_ms` on."""

    label: str
    row: Row
    cells: tuple[Cell, ...]
    message: str
    tone: Tone


@dataclass(frozen=True)
class Ship:
    """The recommendation for one setting: `choice` names rows (or says that there is none), `reasons` say why."""

    label: str
    choice: str
    reasons: tuple[str, ...]

    @property
    def reason(self) -> str:
        """All reasons in one text."""
        return "; ".join(self.reasons)


@dataclass(frozen=True)
class Table:
    """A report ready to be written. `report` and `rankings` are what plots and raw facts are drawn from."""

    name: str
    facts: str
    trusted: bool
    trust_reasons: tuple[str, ...]
    vital_signs: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    ships: tuple[Ship, ...]
    notes: tuple[str, ...]
    exports: tuple[str, ...]
    environment: str
    words: tuple[tuple[str, str], ...]
    rankings: tuple[Ranking, ...]
    report: Report

    @property
    def title(self) -> str:
        """`unet:16 · 1x320x400x3 float32 · 1,968,931 parameters · 13.7 GFLOP · 2 threads · 30 rounds in 58 s`."""
        return f"{self.name} · {self.facts}"

    @property
    def trust(self) -> str:
        """`TRUSTED`, or `NOT TRUSTED: ` and why."""
        return "TRUSTED" if self.trusted else f"NOT TRUSTED: {'; '.join(self.trust_reasons)}"


def build(report: Report) -> Table:
    """The table of a report: timed rows first (by setting, then median), all others in the order of the plan."""
    found = rankings(report)
    settings, precisions = len(found), len({row.precision for row in report.rows})

    def label(row: Row) -> str:
        return wording.label(row, precisions > 1, settings > 1)

    is_trusted, reasons = trusted(report, found)
    columns = columns_of(report, found, precisions > 1)
    return Table(
        name=wording.clean(report.model.name),
        facts=notes.facts(report),
        trusted=is_trusted,
        trust_reasons=tuple(wording.clean(reason) for reason in reasons),
        vital_signs=vital_signs(report, found),
        columns=columns,
        lines=_lines(report, found, columns, label),
        ships=(*(_ship(one, label, is_trusted, settings > 1) for one in _chosen_from(found)), *_busiest(found, label)),
        notes=notes.remarks(report, label),
        exports=notes.exports(report),
        environment=notes.environment(report),
        words=notes.words(found, label, {column.key for column in columns}),
        rankings=found,
        report=report,
    )


def _lines(
    report: Report, found: tuple[Ranking, ...], columns: tuple[Column, ...], label: Callable[[Row], str]
) -> tuple[Line, ...]:
    lines, shown = [], set()
    for ranking in found:
        winners = {id(standing) for standing in ranking.winners}
        for standing in ranking.standings:
            context = Context(report, ranking, standing, label)
            cells = tuple(CELLS[column.key](standing.row, context) for column in columns)
            tone: Tone = "winner" if id(standing) in winners else "timed"
            if parity_failed(standing.row):
                tone = "wrong"
            lines.append(Line(label(standing.row), standing.row, cells, "", tone))
            shown.add(id(standing.row))

    order = {row_id: place for place, row_id in enumerate(report.plan.rows)}
    absent = sorted((row for row in report.rows if id(row) not in shown), key=lambda row: order.get(row.id, len(order)))
    by_setting = {ranking.setting: ranking for ranking in found}
    said: dict[str, str] = {}
    for row in absent:
        message = notes.why_absent(row)
        first = said.setdefault(message, label(row))
        shorter = message if first == label(row) else f"as {first}"
        context = Context(report, by_setting[row.setting], None, label)
        cells = tuple(CELLS[column.key](row, context) if column.key in NAMING else Cell() for column in columns)
        cells = (*cells[:-1], Cell(shorter, message))
        lines.append(Line(label(row), row, cells, shorter, "absent"))
    return tuple(lines)


# --- recommendation -------------------------------------------------------------------------------------------------


def _ship(ranking: Ranking, label: Callable[[Row], str], is_trusted: bool, several: bool) -> Ship:
    head = f"Ship at {wording.setting(ranking.standings[0].row)}" if several and ranking.standings else "Ship"
    if not ranking.winners:
        sound = any(not parity_failed(standing.row) for standing in ranking.standings)
        reason = "too few rounds to rank the rows" if sound else "no row was both timed and gave the right answers"
        return Ship(head, "nothing yet", (reason,))
    rows = [standing.row for standing in ranking.winners]
    return Ship(head, " or ".join(map(label, rows)), tuple(_reasons(ranking, label, is_trusted)))


def _chosen_from(found: tuple[Ranking, ...]) -> tuple[Ranking, ...]:
    """Settings with something to choose from: not those where a sweep went on for the reference alone."""
    alone = [one for one in found if [s.row for s in one.standings] == [one.reference]]
    return found if len(alone) == len(found) else tuple(one for one in found if one not in alone)


def _busiest(found: tuple[Ranking, ...], label: Callable[[Row], str]) -> tuple[Ship, ...]:
    """Which setting serves most items per second, where there are several."""
    rows = [standing.row for ranking in found for standing in ranking.standings if not parity_failed(standing.row)]
    served = [(rate, row) for row in rows if (rate := throughput.items_per_second(row)) is not None]
    if len(found) < 2 or not served:
        return ()
    best = max(rate.value for rate, _ in served)
    quickest = next(rate for rate, _ in served if rate.value == best)
    floor = quickest.interval.low if quickest.interval else best
    chosen = [row for rate, row in served if rate.interval is None or rate.interval.high >= floor]
    reasons = [f"{wording.milliseconds(quickest)} items/s"]
    if len(chosen) > 1:
        reasons.append("their intervals overlap, and settings are measured one after the other")
    return (Ship("Most items per second", " or ".join(map(label, chosen)), tuple(reasons)),)


def _reasons(ranking: Ranking, label: Callable[[Row], str], is_trusted: bool) -> list[str]:
    reasons = [] if is_trusted else ["provisional, the measurement is not trusted"]
    winners, reference = ranking.winners, ranking.reference
    if len(winners) > 1 and ranking.between_winners is stats.Comparison.EQUIVALENT:
        reasons.append(f"equivalent within {wording.share(ranking.margin)}")
    elif len(winners) > 1:
        more = f": about {ranking.more_rounds:,} more rounds" if ranking.more_rounds else ""
        reasons.append(f"undecided between them{more}")
    quickest = winners[0]
    if quickest.ratio is not None and reference is not None:
        reasons.append(f"{wording.ratio(quickest.ratio.inverse())} the speed of {label(reference)}")
    elif len(winners) == 1:
        reasons.append("the reference itself: no other row is faster")
    unchecked = [s.row for s in winners if not _checked(s.row)]
    if unchecked:
        reasons.append(f"parity not run: {', '.join(map(label, unchecked))}")
    partial = [standing.row for standing in winners if standing.row.status is Status.PARTIAL]
    if partial:
        reasons.append(f"partly on another provider: {', '.join(map(label, partial))}")
    memory = [(s.row.cold.peak_rss_mib, label(s.row)) for s in winners if s.row.cold is not None]
    if len(memory) == len(winners) > 1:
        least, name = min(memory)
        reasons.append(f"{name} needs the least memory ({least:,.0f} MiB)")
    return reasons


def _checked(row: Row) -> bool:
    return row.parity is not None and row.parity.verdict is not Verdict.NOT_RUN

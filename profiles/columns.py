"""The columns of the table and what stands in their cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from keronyx.profiles import conduct, gpu_words, notes, outliers, stats, throughput, wording
from keronyx.profiles.ranking import Ranking, Standing
from keronyx.types import DeviceTimes, Report, Row, Verdict


@dataclass(frozen=True)
class Column:
    """A column. `key` names it in CSV, unit included; `keep` is 0 for one that is always shown, and the higher it is,
    the sooner the column is dropped where there is no room. `interval` says that its cells have `low` and `high`."""

    key: str
    header: str
    unit: str = ""
    align: Literal["left", "right"] = "left"
    keep: int = 0
    interval: bool = False


@dataclass(frozen=True)
class Cell:
    """`text` for people, `value` (with the 95 % interval `low`..`high`) in the column's unit for programs."""

    text: str = ""
    value: float | str | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Context:
    """What a cell needs beside its row."""

    report: Report
    ranking: Ranking
    standing: Standing | None
    label: Callable[[Row], str]


def columns_of(report: Report, found: tuple[Ranking, ...], precision: bool) -> tuple[Column, ...]:
    references = {ranking.reference.runtime for ranking in found if ranking.reference is not None}
    versus = f"vs {wording.clean(references.pop())}" if len(references) == 1 else "vs reference"
    columns = [Column("runtime", "runtime"), Column("provider", "provider")]
    if precision:
        columns.append(Column("precision", "precision"))
    if len({row.batch for row in report.rows}) > 1:
        columns.append(Column("batch", "batch", align="right"))
    if any(row.threads for row in report.rows):
        columns.append(Column("threads", "threads", align="right"))
    if any(row.concurrency > 1 for row in report.rows):
        columns.append(Column("callers", "callers", align="right"))
    return (
        *columns,
        Column("status", "status"),
        Column("median_ms", "median ms [95 %]", "ms", interval=True),
        Column("speedup", versus, "x", interval=True),
        Column("p95_ms", "p95 ms", "ms", "right", keep=4),
        *_throughput_column(report),
        *_device_columns(report),
        Column("cpu_per_wall", "cpu/wall", "", "right", keep=3),
        Column("cpu_ms", "cpu ms", "ms", "right", keep=7),
        Column("cold_s", "cold s", "s", "right", keep=1),
        Column("steady_after", "steady", "calls", "right", keep=6),
        Column("peak_rss_mib", "RSS MiB", "MiB", "right", keep=2),
        Column("artifact_mib", "file MiB", "MiB", "right", keep=5),
        Column("outliers", "outliers", "", "right", keep=8),
        Column("parity", "parity"),
        Column("note", "note"),
    )


_DEVICE: dict[str, tuple[str, Callable[[DeviceTimes], tuple[int, ...]]]] = {
    "device_ms": ("device ms", lambda device: device.resident_ns),
    "h2d_ms": ("H2D ms", lambda device: device.h2d_ns),
    "d2h_ms": ("D2H ms", lambda device: device.d2h_ns),
    "submit_ms": ("submit ms", lambda device: device.submit_ns),
    "graph_ms": ("graph ms", lambda device: device.graph_ns),
}
"""Columns of the parts of a call on a GPU: key -> header, samples in nanoseconds."""


def _device_columns(report: Report) -> tuple[Column, ...]:
    """The parts of a call on a GPU and its energy, where a row has them; the note says them in words."""
    columns = [Column(key, header, "ms", "right", keep=9) for key, (header, _) in _DEVICE.items()]
    has_device = any(row.device is not None for row in report.rows)
    has_energy = any(gpu_words.energy_mj_per_call(row.samples.gpu) is not None for row in report.rows)
    energy = [Column("energy_mj", "mJ a call", "mJ", "right", keep=9)] if has_energy else []
    return (*(columns if has_device else []), *energy)


def _part(part: Callable[[DeviceTimes], tuple[int, ...]], row: Row, context: Context) -> Cell:
    value = stats.median(part(row.device)) if row.device is not None else None
    value = None if value is None else value / 1e6
    return Cell(wording.number(value), value)


def _energy(row: Row, context: Context) -> Cell:
    value = gpu_words.energy_mj_per_call(row.samples.gpu)
    return Cell(wording.number(value, 3), value)


def _throughput_column(report: Report) -> tuple[Column, ...]:
    """Throughput, where settings differ in it: with one setting it is the latency over again."""
    several = len({row.setting for row in report.rows}) > 1 or any(row.concurrency > 1 for row in report.rows)
    return (Column("items_per_s", "items/s [95 %]", "1/s", interval=True),) if several else ()


# --- cells ----------------------------------------------------------------------------------------------------------


def _text(text: str) -> Cell:
    text = wording.clean(text)
    return Cell(text, text)


def _median(row: Row, context: Context) -> Cell:
    latency = context.standing.latency if context.standing else None
    if latency is None:
        return Cell()
    interval = latency.interval
    bounds = (interval.low, interval.high) if interval else (None, None)
    return Cell(wording.milliseconds(latency), latency.value, *bounds)


def _speedup(row: Row, context: Context) -> Cell:
    if row is context.ranking.reference:
        return Cell("1 (reference)", 1.0)
    if context.standing is None or context.standing.ratio is None:
        return Cell()
    speedup = context.standing.ratio.inverse()
    bounds = (speedup.interval.low, speedup.interval.high) if speedup.interval else (None, None)
    return Cell(wording.ratio(speedup), speedup.value, *bounds)


def _threads(row: Row, context: Context) -> int:
    return row.threads or context.report.plan.threads


def _p95(row: Row, context: Context) -> Cell:
    if row.concurrency > 1:
        value = throughput.latency_percentile(row, 95)
    else:
        value = stats.percentile([call / 1e6 for call in stats.calls(row.samples.wall_ns)], 95)
    return Cell(wording.number(value), value)


def _items(row: Row, context: Context) -> Cell:
    found = throughput.items_per_second(row)
    if found is None:
        return Cell()
    bounds = (found.interval.low, found.interval.high) if found.interval else (None, None)
    return Cell(wording.milliseconds(found), found.value, *bounds)


def _cpu_ms(row: Row, context: Context) -> Cell:
    value = conduct.cpu_ms(row.samples)
    return Cell(wording.number(value), value)


def _steady(row: Row, context: Context) -> Cell:
    value = conduct.calls_until_steady(row)
    return Cell("-" if value is None else str(value), value)


def _outliers(row: Row, context: Context) -> Cell:
    found = outliers.label(stats.calls(row.samples.wall_ns))
    count = found.low_severe + found.low_mild + found.high_mild + found.high_severe
    return Cell(f"{count} of {found.n}" if count else "", outliers.describe(found))


def _cpu_per_wall(row: Row, context: Context) -> Cell:
    value = stats.cpu_per_wall(row.samples)
    return Cell("" if value is None else f"{value:.2f}", value)


def _cold(row: Row, context: Context) -> Cell:
    value = stats.cold_s(row)
    return Cell(wording.seconds(value), value)


def _rss(row: Row, context: Context) -> Cell:
    value = row.cold.peak_rss_mib if row.cold else None
    return Cell("" if value is None else f"{value:,.0f}", value)


def _artifact(row: Row, context: Context) -> Cell:
    value = None if row.artifact_bytes is None else row.artifact_bytes / 2**20
    return Cell(wording.number(value, 3), value)


def _parity(row: Row, context: Context) -> Cell:
    parity = row.parity
    if parity is None or parity.verdict is Verdict.NOT_RUN:
        return Cell("-", "not run")
    if parity.verdict is Verdict.FAIL:
        failed = ", ".join(gate.name for gate in parity.gates if gate.verdict is Verdict.FAIL)
        return _text(f"FAIL {failed}".strip())
    if parity.ratio is not None:
        return _text(f"pass {wording.number(parity.ratio, 2)}x")
    worst = max((output.typical for output in parity.outputs), default=None)  # without a float64 oracle
    return _text(f"pass {wording.scientific(worst)}".strip())


def _note(row: Row, context: Context) -> Cell:
    return _text(notes.about(row, context.standing, context.ranking, context.label)) if context.standing else Cell()


CELLS: dict[str, Callable[[Row, Context], Cell]] = {
    "runtime": lambda row, _: _text(row.runtime),
    "provider": lambda row, _: _text(row.provider),
    "precision": lambda row, _: _text(row.precision),
    "batch": lambda row, _: Cell(str(row.batch), row.batch),
    "threads": lambda row, context: Cell(str(_threads(row, context)), _threads(row, context)),
    "callers": lambda row, _: Cell(str(row.concurrency), row.concurrency),
    "status": lambda row, _: _text(row.status.value),
    "median_ms": _median,
    "speedup": _speedup,
    "p95_ms": _p95,
    "items_per_s": _items,
    "cpu_ms": _cpu_ms,
    "steady_after": _steady,
    "outliers": _outliers,
    "energy_mj": _energy,
    **{key: partial(_part, part) for key, (_, part) in _DEVICE.items()},
    "cpu_per_wall": _cpu_per_wall,
    "cold_s": _cold,
    "peak_rss_mib": _rss,
    "artifact_mib": _artifact,
    "parity": _parity,
    "note": _note,
}
NAMING = frozenset({"runtime", "provider", "precision", "batch", "threads", "callers", "status"})

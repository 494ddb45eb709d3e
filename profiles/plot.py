"""Geometry of the HTML page's two plots, in SVG user units (pixels at 1:1). Texts and colours are the template's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from keronyx.profiles import stats, wording
from keronyx.profiles.ranking import Ranking
from keronyx.profiles.table import Line, Table, Tone
from keronyx.types import Cold

WIDTH = 1240.0
LABEL_WIDTH = 200.0
VALUE_WIDTH = 170.0
TOP = 10.0
ROW_HEIGHT = 34.0
AXIS_HEIGHT = 28.0
MOST_DOTS = 300
"""Rounds drawn for one row; of more, evenly spaced ones (the JSON has all)."""

PHASES = ("start", "import", "load", "compile", "first call")


@dataclass(frozen=True)
class Tick:
    x: float
    text: str


@dataclass(frozen=True)
class Bar:
    """One row of the latency plot. `dots` is an SVG path; `low`..`high` the interval, equal without one."""

    label: str
    tone: Tone
    y: float
    x: float
    low: float
    high: float
    dots: str
    text: str
    hidden: int


@dataclass(frozen=True)
class LatencyPlot:
    setting: str
    height: float
    bottom: float
    ticks: tuple[Tick, ...]
    bars: tuple[Bar, ...]
    hidden: int
    slowest_ms: float


@dataclass(frozen=True)
class Part:
    phase: int
    x: float
    width: float
    text: str


@dataclass(frozen=True)
class ColdBar:
    label: str
    y: float
    end: float
    parts: tuple[Part, ...]
    text: str


@dataclass(frozen=True)
class ColdPlot:
    height: float
    bottom: float
    ticks: tuple[Tick, ...]
    bars: tuple[ColdBar, ...]


def _ticks(largest: float) -> tuple[Tick, ...]:
    """About six round numbers from 0 to `largest`."""
    if not (math.isfinite(largest) and largest > 0):
        return (Tick(LABEL_WIDTH, "0"),)
    rough = largest / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((power * factor for factor in (1, 2, 5) if power * factor >= rough), power * 10)
    count = math.floor(largest / step + 1e-9)
    return tuple(Tick(_x(place * step, largest), f"{place * step:,.10g}") for place in range(count + 1))


def _x(value: float, largest: float) -> float:
    """Horizontal position of `value` on an axis from 0 to `largest`."""
    span = WIDTH - LABEL_WIDTH - VALUE_WIDTH
    fraction = value / largest if largest > 0 else 0.0
    return round(LABEL_WIDTH + span * min(max(fraction, 0.0), 1.0), 2) if math.isfinite(fraction) else LABEL_WIDTH


def latency_plot(table: Table, ranking: Ranking) -> LatencyPlot | None:
    """Medians with intervals and the rounds behind them, of one setting; None when nothing was timed.

    The axis starts at 0 and ends beyond the slowest interval; slower rounds are counted, not squeezed in.
    """
    if not ranking.standings:
        return None
    lines = {id(line.row): line for line in table.lines}
    ends = [s.latency.interval.high if s.latency.interval else s.latency.value for s in ranking.standings]
    largest = 1.06 * max(ends)
    bars, slowest, hidden = [], 0.0, 0
    for place, standing in enumerate(ranking.standings):
        line = lines[id(standing.row)]
        values = [value / 1e6 for value in stats.present(stats.round_medians(standing.row.samples.wall_ns))]
        slowest = max(slowest, *values)
        y = TOP + (place + 0.5) * ROW_HEIGHT
        found, interval = standing.latency, standing.latency.interval
        beyond = sum(value > largest for value in values)
        hidden += beyond
        bars.append(
            Bar(
                label=line.label,
                tone=line.tone,
                y=y,
                x=_x(found.value, largest),
                low=_x(interval.low if interval else found.value, largest),
                high=_x(interval.high if interval else found.value, largest),
                dots=_dots([value for value in values if value <= largest], largest, y),
                text=f"{wording.milliseconds(found)} ms",
                hidden=beyond,
            )
        )
    bottom = TOP + len(bars) * ROW_HEIGHT
    setting = wording.setting(ranking.standings[0].row)
    return LatencyPlot(setting, bottom + AXIS_HEIGHT, bottom, _ticks(largest), tuple(bars), hidden, slowest)


def _dots(values: Sequence[float], largest: float, y: float) -> str:
    """A path of zero-length strokes, which round caps draw as dots; spread in height by their order in time."""
    step = max(1, math.ceil(len(values) / MOST_DOTS))
    spread = (-6.0, 2.0, -2.0, 6.0, 0.0, -4.0, 4.0)
    return "".join(
        f"M{_x(value, largest):g} {y + spread[place % len(spread)]:g}h0" for place, value in enumerate(values[::step])
    )


def _phases(cold: Cold) -> tuple[float, ...]:
    return (cold.start_s, cold.import_s, cold.load_s, cold.compile_s, cold.first_call_s)


def cold_plot(table: Table) -> ColdPlot | None:
    """What the first call costs a fresh process, in the table's order; None when no timed row has it."""
    rows: list[tuple[Line, Cold]] = [
        (line, line.row.cold) for line in table.lines if line.row.cold is not None and line.tone != "absent"
    ]
    if not rows:
        return None
    largest = 1.04 * max(sum(max(0.0, phase) for phase in _phases(cold)) for _, cold in rows)
    bars = []
    for place, (line, cold) in enumerate(rows):
        at, parts = 0.0, []
        for phase, duration in enumerate(_phases(cold)):
            left, right = _x(at, largest), _x(at + max(0.0, duration), largest)
            text = f"{PHASES[phase]} {wording.seconds(duration)} s"
            parts.append(Part(phase, left, round(right - left, 2), text))
            at += max(0.0, duration)
        y = TOP + (place + 0.5) * ROW_HEIGHT
        bars.append(ColdBar(line.label, y, _x(at, largest), tuple(parts), f"{wording.seconds(at)} s"))
    bottom = TOP + len(bars) * ROW_HEIGHT
    return ColdPlot(bottom + AXIS_HEIGHT, bottom, _ticks(largest), tuple(bars))

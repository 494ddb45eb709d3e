"""Learning curves as one SVG file: scores above, losses below, over the epochs of all cycles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, PANEL, LEFT, RIGHT, TOP, GAP, BOTTOM = 900.0, 220.0, 56.0, 170.0, 34.0, 44.0, 34.0
"""Of the picture, in SVG user units (pixels at 1:1)."""

COLOURS = ("#0b6e4f", "#c1440e", "#2f5d9b", "#7a5195")
MOST_TICKS = 12


@dataclass(frozen=True)
class Curve:
    """One value an epoch; a value that is no number leaves a gap. `dashed` are those on the training samples."""

    name: str
    values: tuple[float, ...]
    dashed: bool = False


def svg(title: str, scores: Sequence[Curve], losses: Sequence[Curve], starts: Sequence[int] = ()) -> str:
    """The file's text.

    Args:
        scores: values of 0 to 1.
        losses: values from 0 up.
        starts: index of the first epoch of every cycle, each marked by a line.
    """
    count = max((len(curve.values) for curve in (*scores, *losses)), default=0)
    height = TOP + 2 * PANEL + GAP + BOTTOM
    highest = max((value for curve in losses for value in curve.values if math.isfinite(value)), default=1.0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {height:g}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{WIDTH:g}" height="{height:g}" fill="#fff"/>',
        f'<text x="{LEFT:g}" y="20" font-size="14" font-weight="600">{escape(title)}</text>',
        *_panel(scores, TOP, 1.0, count, starts),
        *_panel(losses, TOP + PANEL + GAP, highest * 1.05 or 1.0, count, starts),
        *_epochs(count, height - BOTTOM + 18),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _panel(curves: Sequence[Curve], top: float, highest: float, count: int, starts: Sequence[int]) -> list[str]:
    """Axis from 0 to `highest`, a line for every cycle's start, the curves, and their names at the right."""
    right = WIDTH - RIGHT
    parts = []
    for step in range(6):
        y = _y(highest * step / 5, top, highest)
        parts.append(f'<path d="M{LEFT:g} {y}H{right:g}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6:g}" y="{y + 4}" text-anchor="end">{highest * step / 5:.3g}</text>')
    for start in starts[1:]:
        parts.append(f'<path d="M{_x(start - 0.5, count)} {top:g}v{PANEL:g}" stroke="#999" stroke-dasharray="2 3"/>')
    for place, curve in enumerate(curves):
        colour, dash = COLOURS[place % len(COLOURS)], ' stroke-dasharray="5 4"' if curve.dashed else ""
        line = f'stroke="{colour}" stroke-width="1.8" fill="none"{dash}'
        parts.append(f'<path d="{_path(curve.values, top, highest, count)}" stroke-linecap="round" {line}/>')
        y = top + 12 + 18 * place
        parts.append(f'<path d="M{right + 12:g} {y - 4:g}h22" {line}/>')
        parts.append(f'<text x="{right + 40:g}" y="{y:g}">{escape(curve.name)}</text>')
    return parts


def _path(values: Sequence[float], top: float, highest: float, count: int) -> str:
    """A line through the values; a lone one is a dot."""
    steps, drawing = [], False
    for place, value in enumerate(values):
        if math.isfinite(value):
            steps.append(f"{'L' if drawing else 'M'}{_x(place, count)} {_y(value, top, highest)}")
            steps += [] if drawing else ["h0"]
        drawing = math.isfinite(value)
    return "".join(steps)


def _epochs(count: int, y: float) -> list[str]:
    step = max(1, math.ceil(count / MOST_TICKS))
    numbers = [
        f'<text x="{_x(place, count)}" y="{y:g}" text-anchor="middle">{place + 1}</text>'
        for place in range(0, count, step)
    ]
    return [*numbers, f'<text x="{WIDTH - RIGHT + 12:g}" y="{y:g}">epoch</text>']


def _x(place: float, count: int) -> float:
    return round(LEFT + (WIDTH - RIGHT - LEFT) * (place + 0.5) / max(count, 1), 1)


def _y(value: float, top: float, highest: float) -> float:
    return round(top + PANEL * (1 - min(max(value / highest, 0.0), 1.0)), 1)

"""Procedural road scenes with exact labels: data that can be shipped, for warm-up, statistics, tests and training.

Drawn with numpy alone. Labels come from additions, multiplications and comparisons only, so that they are the same
bytes on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keronyx.types import Array

ROAD, CAR, OTHER = 0, 1, 2
"""Label values, in the order of the networks' output."""


def scene(index: int, height: int = 320, width: int = 400, seed: int = 0) -> tuple[Array, Array]:
    """Draw one road scene as a camera behind a windscreen sees it.

    Args:
        index: which scene of the series `seed` stands for.
        height: of the image, in pixels.
        width: of the image, in pixels.
        seed: of the series.

    Returns:
        image: (height, width, 3) float32 RGB, whole numbers 0..255.
        label: (height, width) uint8, 0 road, 1 car, 2 other. The own hood at the bottom is other.
    """
    rng = np.random.default_rng([seed, index])
    canvas = _Canvas.blank(height, width)
    road = _Road.random(rng)
    _draw_sky(canvas, rng, road.horizon)
    _draw_skyline(canvas, rng, road.horizon)
    _draw_ground(canvas, rng, road)
    _draw_trees(canvas, rng, road)
    _draw_cars(canvas, rng, road)
    _draw_hood(canvas, rng)
    return _photograph(canvas.image, rng), canvas.label


def batch(count: int, height: int = 320, width: int = 400, seed: int = 0) -> tuple[Array, Array]:
    """Scenes 0..count-1 of a series: images (count, height, width, 3) float32, labels (count, height, width) uint8."""
    pairs = [scene(index, height, width, seed) for index in range(count)]
    return np.stack([image for image, _ in pairs]), np.stack([label for _, label in pairs])


@dataclass(frozen=True)
class _Canvas:
    """An image and its label. Positions are fractions: `y` (height, 1) from the top, `x` (1, width) from the left."""

    image: Array
    label: Array
    y: Array
    x: Array

    @classmethod
    def blank(cls, height: int, width: int) -> _Canvas:
        image = np.zeros((height, width, 3), np.float32)
        label = np.full((height, width), OTHER, np.uint8)
        y = (np.arange(height, dtype=np.float32) + np.float32(0.5)) / np.float32(height)
        x = (np.arange(width, dtype=np.float32) + np.float32(0.5)) / np.float32(width)
        return cls(image, label, y[:, None], x[None, :])

    def window(self, top: float, bottom: float, left: float, right: float) -> _Canvas:
        """The part whose pixel centres lie in the given fractions: a view, so drawing on it draws on the whole."""
        top_row, bottom_row = np.searchsorted(self.y[:, 0], (top, bottom))
        left_column, right_column = np.searchsorted(self.x[0], (left, right))
        rows, columns = slice(top_row, bottom_row), slice(left_column, right_column)
        return _Canvas(self.image[rows, columns], self.label[rows, columns], self.y[rows], self.x[:, columns])

    def fill(self, mask: Array | bool, colour: Array, label: int | None = None) -> None:
        """Paint where `mask` (broadcast to the canvas) is true; `colour` is (3,) or (height, width or 1, 3)."""
        mask = np.broadcast_to(mask, self.label.shape)
        np.copyto(self.image, np.asarray(colour, np.float32), where=mask[..., None])
        if label is not None:
            self.label[mask] = label


@dataclass(frozen=True)
class _Road:
    """A road in perspective: depth `t` is 0 at the horizon, 1 at the image's bottom, and sizes grow with it."""

    horizon: float
    vanishing: float
    """Where the road meets the horizon, as a fraction of the width."""
    foot: float
    """Where its middle meets the bottom."""
    bend: float
    half_width: float
    """At the bottom, as a fraction of the image's width; more than 0.5 leaves the image."""
    lanes: int

    @classmethod
    def random(cls, rng: np.random.Generator) -> _Road:
        lanes = int(rng.integers(2, 5))
        half_width = float(rng.uniform(0.3, 0.36)) * lanes
        # The camera drives in the middle of a lane, so the road's middle is beside it.
        foot = 0.5 + half_width * (1 - (2 * int(rng.integers(0, lanes)) + 1) / lanes)
        return cls(
            float(rng.uniform(0.36, 0.48)),
            float(rng.uniform(0.4, 0.6)),
            foot,
            float(rng.uniform(-0.25, 0.25)),
            half_width,
            lanes,
        )

    def lane_middles(self) -> list[float]:
        """Of each lane, from the left, between -1 and 1 across the road."""
        return [(2 * lane + 1) / self.lanes - 1 for lane in range(self.lanes)]

    def depth(self, y: Array) -> Array:
        return (y - self.horizon) / (1 - self.horizon)

    def row(self, t: float) -> float:
        """Height in the image, as a fraction from the top, of the ground at depth `t`."""
        return self.horizon + t * (1 - self.horizon)

    def across(self, t: Array | float, x: Array | float) -> Array:
        """Position across the road: -1 at its left edge, 1 at its right one."""
        return np.asarray((x - self.middle(t)) / (self.half_width * np.maximum(t, 0.001) + 0.004))

    def middle(self, t: Array | float) -> Array:
        """The road's middle as a fraction of the image's width; bends show at a distance only."""
        return np.asarray(self.vanishing + (self.foot - self.vanishing) * t + self.bend * t * (1 - t) * (1 - t))


def _draw_sky(canvas: _Canvas, rng: np.random.Generator, horizon: float) -> None:
    top = np.array([rng.uniform(70, 170), rng.uniform(120, 190), rng.uniform(180, 250)])
    low = np.array([rng.uniform(180, 240), rng.uniform(190, 235), rng.uniform(200, 240)])
    share = np.clip(canvas.y / horizon, 0, 1)[..., None]
    canvas.image[:] = top + (low - top) * share
    for _ in range(int(rng.integers(0, 6))):
        y, x = rng.uniform(0, horizon * 0.7), rng.uniform(0, 1)
        part, cloud = _ellipse(canvas, y, x, rng.uniform(0.02, 0.07), rng.uniform(0.08, 0.25))
        part.image[cloud] = part.image[cloud] * np.float32(0.4) + np.float32(0.6 * rng.uniform(225, 250))


def _draw_skyline(canvas: _Canvas, rng: np.random.Generator, horizon: float) -> None:
    """Buildings with windows, side by side with gaps, their feet hidden behind the ground."""
    left = float(rng.uniform(-0.1, 0.05))
    while left < 1:
        right = left + float(rng.uniform(0.05, 0.2))
        top = horizon - float(rng.uniform(0.03, 0.34))
        colour = rng.uniform(60, 190) + rng.uniform(-25, 25, 3)
        part = canvas.window(top, horizon + 0.03, left, right)
        part.fill(True, colour)
        rows, columns = float(rng.uniform(0.025, 0.05)), float(rng.uniform(0.015, 0.04))
        glass = ((part.y - top) / rows % 1 > 0.45) & ((part.x - left) / columns % 1 > 0.4)
        part.fill(glass, colour * float(rng.uniform(0.4, 1.35)))
        left = right + max(0.0, float(rng.uniform(-0.1, 0.15)))


def _draw_ground(canvas: _Canvas, rng: np.random.Generator, road: _Road) -> None:
    part = canvas.window(road.horizon, 1.1, 0, 1)
    t = road.depth(part.y)
    across = road.across(t, part.x)
    beside = np.array([rng.uniform(60, 130), rng.uniform(85, 140), rng.uniform(40, 90)])
    pavement = rng.uniform(120, 190) + rng.uniform(-12, 12, 3)
    asphalt = rng.uniform(55, 125) + rng.uniform(-8, 8, 3)
    part.fill(True, beside)
    side = 1 + float(rng.uniform(0.15, 0.6))
    part.fill(np.abs(across) < side, pavement)
    part.fill(np.abs(across) < 1.03, pavement * 0.6)
    # Far asphalt looks paler.
    haze = np.clip(1.3 - t * 0.5, 1, 1.3)[..., None]
    part.fill(np.abs(across) < 1, asphalt * haze, ROAD)
    _draw_markings(part, rng, road, t, across)


def _draw_markings(part: _Canvas, rng: np.random.Generator, road: _Road, t: Array, across: Array) -> None:
    """Solid lines at the edges, dashed ones between the lanes; road by their label."""
    white = np.array([225.0, 225.0, 215.0])
    yellow = np.array([215.0, 175.0, 60.0])
    paint = float(rng.uniform(0.65, 1.0))
    half_line = 0.035 / road.lanes
    distance = 1 / np.maximum(t, 0.02)
    dashes = (distance * float(rng.uniform(0.8, 1.6)) + float(rng.uniform(0, 1))) % 1 < 0.5
    for line in range(road.lanes + 1):
        at = -0.96 + 1.92 * line / road.lanes
        here = np.abs(across - at) < half_line
        inner = 0 < line < road.lanes
        middle = 2 * line == road.lanes and rng.uniform() < 0.5
        part.fill(here & dashes if inner and not middle else here, (yellow if middle else white) * paint)


def _draw_trees(canvas: _Canvas, rng: np.random.Generator, road: _Road) -> None:
    """Trees and poles beside the road, the far ones first."""
    for t in sorted(rng.uniform(0.02, 0.35, int(rng.integers(3, 14))).tolist()):
        side = -1 if rng.uniform() < 0.5 else 1
        x = float(road.middle(t) + side * (road.half_width * t * rng.uniform(1.4, 3.0) + 0.03))
        foot, size = road.row(t), t * float(rng.uniform(0.6, 1.1)) + 0.05
        trunk = canvas.window(foot - size, foot, x - 0.035 * size, x + 0.035 * size)
        trunk.fill(True, np.array([70.0, 55.0, 40.0]) * rng.uniform(0.6, 1.4), OTHER)
        if rng.uniform() < 0.25:
            continue
        green = np.array([rng.uniform(30, 80), rng.uniform(70, 130), rng.uniform(20, 60)])
        for _ in range(4):
            y = foot - size * float(rng.uniform(0.6, 1.1))
            part, crown = _ellipse(canvas, y, x + size * float(rng.uniform(-0.15, 0.15)), size * 0.28, size * 0.22)
            part.fill(crown, green * rng.uniform(0.7, 1.3), OTHER)


def _draw_cars(canvas: _Canvas, rng: np.random.Generator, road: _Road) -> None:
    """Cars in the lanes, the far ones first; at least one is near enough to be seen at any image size."""
    depths = [*rng.uniform(0.05, 0.55, int(rng.integers(0, 6))).tolist(), float(rng.uniform(0.2, 0.45))]
    for t in sorted(depths):
        middles = [float(road.middle(t)) + road.half_width * t * at for at in road.lane_middles()]
        # The outer lanes may be outside the picture at this depth; the camera's own never is.
        inside = [x for x in middles if 0.06 < x < 0.94]
        x = inside[int(rng.integers(0, len(inside)))]
        _draw_car(canvas, rng, road.row(t), x, t * road.half_width / road.lanes * 1.2)


def _draw_car(canvas: _Canvas, rng: np.random.Generator, foot: float, x: float, width: float) -> None:
    """A car from behind, `width` wide, standing on `foot` (fractions of the image)."""
    height = width * canvas.label.shape[1] / canvas.label.shape[0] * float(rng.uniform(0.7, 0.95))
    part = canvas.window(foot - height, foot + 0.1 * height, x - 0.6 * width, x + 0.6 * width)
    # Inside the car: u from -1 (left) to 1 (right), v from 0 (ground) to 1 (roof).
    u, v = (part.x - x) / (0.5 * width), (foot - part.y) / height
    paint = _car_paint(rng)
    shadow = u * u * 0.8 + v * v * 100 < 1
    part.image[shadow] *= np.float32(0.35)
    dark = np.array([22.0, 22.0, 25.0])
    wheels = (v >= 0) & (v < 0.3) & (np.abs(u) > 0.62) & (np.abs(u) < 0.95)
    body = (v >= 0.12) & (v < 0.62) & (np.abs(u) < 1)
    cabin = (v >= 0.62) & (v < 1) & (np.abs(u) < 0.9 - 0.6 * (v - 0.62))
    glass = (v >= 0.66) & (v < 0.93) & (np.abs(u) < 0.8 - 0.6 * (v - 0.62))
    part.fill(wheels, dark, CAR)
    part.fill(body | cabin, paint, CAR)
    part.fill(body & (v < 0.24), paint * 0.45)
    part.fill(glass, np.array([50.0, 65.0, 80.0]) * rng.uniform(0.6, 1.6))
    lamps = np.array([205.0, 25.0, 20.0]) if rng.uniform() < 0.7 else np.array([250.0, 245.0, 215.0])
    part.fill((v > 0.42) & (v < 0.55) & (np.abs(u) > 0.68) & (np.abs(u) < 0.95), lamps)
    part.fill((v > 0.3) & (v < 0.4) & (np.abs(u) < 0.25), np.array([215.0, 215.0, 205.0]))


def _car_paint(rng: np.random.Generator) -> Array:
    """Grey from black to white, or one of the colours cars have."""
    if rng.uniform() < 0.5:
        return rng.uniform(25, 235) + rng.uniform(-6, 6, 3)
    colours = np.array([[165, 25, 25], [30, 60, 150], [25, 95, 60], [190, 150, 40], [95, 45, 30], [60, 120, 170]])
    paint: Array = colours[int(rng.integers(0, len(colours)))] * rng.uniform(0.7, 1.3)
    return paint


def _draw_hood(canvas: _Canvas, rng: np.random.Generator) -> None:
    """The own car's bonnet: it looks like a car, and is labelled other."""
    high, half = float(rng.uniform(0.06, 0.13)), float(rng.uniform(0.45, 0.6))
    part = canvas.window(1 - high, 1.1, 0, 1)
    off = (part.x - 0.5) / half
    edge = 1 - high * (1 - off * off)
    paint = _car_paint(rng)
    shine = np.clip(1.3 - (part.y - edge) / high * 0.6, 0.6, 1.4)[..., None]
    part.fill(part.y > edge, paint * shine, OTHER)


def _photograph(image: Array, rng: np.random.Generator) -> Array:
    """Light, cloud shadows, surface texture and sensor noise; rounded as a camera does."""
    height, width, _ = image.shape
    light = rng.uniform(0.55, 1.2) * rng.uniform(0.93, 1.07, 3)
    # Two coarse random grids, enlarged: large patches of shadow and a rough surface.
    shade = np.ones((height, width), np.float32)
    for cell, strength in ((40, 0.18), (4, 0.06)):
        grid = rng.uniform(1 - strength, 1 + strength, (height // cell + 2, width // cell + 2)).astype(np.float32)
        shade *= _enlarge(grid, height, width, cell)
    noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(2, 6))
    lit: Array = image * (shade[..., None] * light.astype(np.float32)) + noise
    return np.clip(np.rint(lit), 0, 255)


def _enlarge(grid: Array, height: int, width: int, cell: int) -> Array:
    """Bilinear enlargement of a grid by `cell`, cropped to (height, width)."""

    def axis(values: Array, size: int) -> Array:
        at = np.arange(size) / np.float32(cell)
        low = at.astype(np.intp)
        share = (at - low).astype(np.float32)[:, None]
        return values[low] * (1 - share) + values[low + 1] * share

    return axis(axis(grid, height).T, width).T


def _ellipse(canvas: _Canvas, y: float, x: float, half_height: float, half_width: float) -> tuple[_Canvas, Array]:
    """The part of the canvas around an ellipse, and the ellipse as a mask over that part."""
    part = canvas.window(y - half_height, y + half_height, x - half_width, x + half_width)
    dy, dx = (part.y - y) / half_height, (part.x - x) / half_width
    return part, np.asarray(dy * dy + dx * dx < 1)

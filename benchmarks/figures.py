"""The figures `export` is held to: what was measured, what is to hold, and whether it does; as text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.interleaved import Ratio

MET, MISSED, OPEN = "met", "missed", "no bound"


@dataclass(frozen=True)
class Bound:
    """What is to hold: at most, or at least, a number. `before` is what raw tf2onnx gave (FIELD, 2026-11-22)."""

    name: str
    unit: str = ""
    most: float | None = None
    least: float | None = None
    before: str = ""


BOUNDS: dict[str, Bound] = {
    "usable": Bound("models that export, of the families", "%", least=100 * 92 / 96, before="64 of 96"),
    "named": Bound("refusals that name the layer", "%", least=100.0, before="0 of 11"),
    "silent": Bound("silent failures, crashes, timeouts", "", most=0.0, before="17 of 96"),
    "contract": Bound("files with Keras' names in Keras' order", "%", least=100.0, before="2 of 90 (model.export)"),
    "latency": Bound("latency over TensorFlow's graph, geometric mean", "x", most=1 / 1.5),
    "slower": Bound("models slower than TensorFlow's graph", "", most=0.0),
    "rivals mean": Bound("latency over raw tf2onnx + onnxslim, five networks, geometric mean", "x", most=1 / 1.1),
    "rivals": Bound("networks slower than raw tf2onnx, with or without onnxslim or onnxsim", "", most=0.0),
    "memory unet": Bound("peak memory, unet", "MiB", most=2048.0, before="8.5 GiB"),
    "memory VGG16": Bound("peak memory, VGG16", "MiB", most=4096.0, before="over 13 GiB"),
    "cpu unet:16": Bound("conversion, unet:16", "CPU s", most=4.0, before="5"),
    "cpu enet": Bound("conversion, enet", "CPU s", most=8.0, before="19"),
    "cpu ResNet50": Bound("conversion, ResNet50", "CPU s", most=12.0, before="26"),
    "nodes unet": Bound("ONNX nodes, unet", "", most=52, before="168"),
    "nodes enet": Bound("ONNX nodes, enet", "", most=230, before="635"),
}


@dataclass(frozen=True)
class Figure:
    """One measured figure; `value` is None when it was not measured. `said` replaces the plain number."""

    key: str
    value: float | None
    said: str = ""

    @property
    def bound(self) -> Bound:
        return BOUNDS[self.key]

    @property
    def verdict(self) -> str:
        """met, missed, or that there is nothing to compare."""
        bound = self.bound
        if self.value is None:
            return "not measured"
        if bound.most is None and bound.least is None:
            return OPEN
        low = bound.least is None or self.value >= bound.least
        return MET if low and (bound.most is None or self.value <= bound.most) else MISSED


def table(figures: Sequence[Figure]) -> str:
    """Markdown: figure, measured, before, to hold, verdict."""
    rows = ["| figure | measured | raw tf2onnx, earlier | to hold | |", "|---|---|---|---|---|"]
    for figure in figures:
        bound = figure.bound
        unit = f" {bound.unit}" if bound.unit not in ("", "%", "x") else bound.unit
        said = figure.said or ("" if figure.value is None else f"{figure.value:,.4g}{unit}")
        held = f"<= {bound.most:.4g}{unit}" if bound.most is not None else ""
        held = f">= {bound.least:.3g}{unit}" if bound.least is not None else held
        rows.append(f"| {bound.name} | {said} | {bound.before} | {held} | {figure.verdict} |")
    return "\n".join([*rows, ""])


def ratios(title: str, found: Mapping[str, Ratio]) -> str:
    """Markdown: a row for each model or rival."""
    rows = [f"| {title} | latency ratio [95 %] | verdict | rounds | ms | note |", "|---|---|---|---|---|---|"]
    for name, one in found.items():
        interval = f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"
        rows.append(f"| `{name}` | {interval} | {one.verdict} | {one.rounds} | {one.milliseconds:.3g} | {one.note} |")
    return "\n".join([*rows, ""])


def geometric_mean(found: Sequence[Ratio]) -> Ratio | None:
    """Geometric mean of ratios; the half-width of its logarithm is that of independent estimates. None of nothing."""
    if not found:
        return None
    n = len(found)
    centre = sum(math.log(one.value) for one in found) / n
    half = math.sqrt(sum((math.log(one.high / one.low) / 2) ** 2 for one in found)) / n
    low, high = math.exp(centre - half), math.exp(centre + half)
    verdict = "faster" if high < 1 else "slower" if low > 1 else "undecided"
    return Ratio(math.exp(centre), low, high, verdict)

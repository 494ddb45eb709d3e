"""Learning curves are drawn where their values are, and no name can break the picture."""

import re
from xml.etree import ElementTree

from keronyx.profiles.curves import Curve, svg

SVG = "{http://www.w3.org/2000/svg}"


def curves_of(text):
    """The curves' paths: those with round ends."""
    return [path.get("d") for path in ElementTree.fromstring(text).iter(f"{SVG}path") if path.get("stroke-linecap")]


def points(path):
    return [tuple(map(float, pair.split())) for pair in re.findall(r"[ML]([\d.]+ [\d.]+)", path)]


def test_a_higher_score_is_drawn_higher_and_a_later_epoch_further_to_the_right():
    text = svg("unet", [Curve("F", (0.0, 0.5, 1.0))], [])
    (x0, y0), (x1, y1), (x2, y2) = points(curves_of(text)[0])
    assert x0 < x1 < x2 and y0 > y1 > y2
    assert abs((y0 + y2) / 2 - y1) < 0.11


def test_a_value_that_is_no_number_leaves_a_gap():
    path = curves_of(svg("unet", [], [Curve("loss", (1.0, float("nan"), 0.5, float("inf"), 0.2))]))[0]
    assert path.count("M") == 3 and len(points(path)) == 3


def test_every_cycle_but_the_first_is_marked():
    marks = [svg("n", [Curve("F", (0.1,) * 6)], [], starts).count('stroke-dasharray="2 3"') for starts in ([0], [0, 4])]
    assert marks == [0, 2]


def test_names_are_escaped():
    text = svg("<script>", [Curve("a & b", (1.0,))], [])
    assert "<script>" not in text and {"<script>", "a & b"} <= {
        node.text for node in ElementTree.fromstring(text).iter(f"{SVG}text")
    }


def test_a_run_without_epochs_is_an_empty_picture():
    assert curves_of(svg("unet", [Curve("F", ())], [Curve("loss", ())])) == ["", ""]

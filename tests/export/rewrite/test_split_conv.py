"""A convolution of joined images becomes two where only the parts fit into blocks of channels."""

import pytest

from keronyx.export.rewrite.split_conv import SplitConv


def graph(conv: str, first: int = 16, second: int = 3, join: str = "Concat<axis=1>(x, z)", more: str = "") -> str:
    return f"""g (float[N,{first},6,5] x, float[N,{second},6,5] z) => (float[N,4,A,B] y{more}) {{
        j = {join}\n y = {conv}\n }}"""


@pytest.mark.parametrize(
    "conv", ["Conv(j, w)", "Conv(j, w, b)", "Conv<strides=[2,1], pads=[1,0,2,1], dilations=[2,1]>(j, w, b)"]
)
@pytest.mark.parametrize(("first", "second"), [(16, 3), (3, 16), (8, 1)])
def test_two_convolutions_are_added(passed, conv, first, second):
    weights = {"w": (4, first + second, 3, 3), "b": (4,)}
    assert passed(graph(conv, first, second), SplitConv(), weights=weights) == ["Conv", "Conv", "Add"]


@pytest.mark.parametrize(("first", "second"), [(16, 8), (3, 5), (16, 12), (12, 3)])
def test_other_channels_stay_joined(passed, first, second):
    left = passed(graph("Conv(j, w)", first, second), SplitConv(), weights={"w": (4, first + second, 3, 3)})
    assert left == ["Concat", "Conv"]


@pytest.mark.parametrize("more", [", float[N,19,6,5] j", ", float[N,19,6,5] k"])
def test_a_joined_image_that_others_need_stays(passed, more):
    text = graph("Conv(j, w)\n k = Relu(j)" if "k" in more else "Conv(j, w)", more=more)
    assert "Add" not in passed(text, SplitConv(), weights={"w": (4, 19, 3, 3)})


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        (graph("Conv<group=2>(j, w)", 16, 4), (4, 10, 3, 3)),
        (graph("Conv(j, w)", join="Concat<axis=1>(x, z, z)"), (4, 22, 3, 3)),
        (graph("Conv(j, w)", 16, 16, join="Concat<axis=2>(x, z)"), (4, 16, 3, 3)),
    ],
)
def test_groups_other_axes_and_three_images_stay(passed, text, weight):
    assert passed(text, SplitConv(), weights={"w": weight}) == ["Concat", "Conv"]

"""The dozen operators of a layer normalization become one."""

import pytest

from keronyx.export.rewrite.layer_normalization import FuseLayerNormalization

STATISTICS = """
    mean = ReduceMean(x, axes)
    centred = Sub(x, mean)
    square = Mul(centred, centred)
    variance = ReduceMean(square, axes)
    steady = Add(variance, epsilon)
    deviation = Sqrt(steady)
    inverse = Reciprocal(deviation)
"""
KERAS = "m = Mul(inverse, g)\n n = Neg(mean)\n a = Mul(x, m)\n b = Mul(n, m)\n c = Add(b, h)\n y = Add(a, c)"
WITHOUT_OFFSET = "m = Mul(inverse, g)\n n = Neg(mean)\n a = Mul(x, m)\n b = Mul(n, m)\n y = Add(a, b)"
WITHOUT_SCALE = "n = Neg(mean)\n a = Mul(x, inverse)\n b = Mul(n, inverse)\n c = Add(h, b)\n y = Add(c, a)"
SUBTRACTED = "m = Mul(g, inverse)\n a = Mul(m, x)\n b = Mul(m, mean)\n c = Sub(h, b)\n y = Add(c, a)"


def graph(rest: str, axes: str = "-1", statistics: str = STATISTICS, shape: str = "N,4,5,6", more: str = "") -> str:
    numbers = axes.count(",") + 1
    return (
        f"g (float[{shape}] x) => (float[{shape}] y{more}) "
        f"<int64[{numbers}] axes = {{{axes}}}, float epsilon = {{0.001}}> {{ {statistics} {rest} }}"
    )


@pytest.mark.parametrize("rest", [KERAS, WITHOUT_OFFSET, WITHOUT_SCALE, SUBTRACTED])
def test_every_way_to_write_it_is_one_operator(passed, rest):
    left = passed(graph(rest), FuseLayerNormalization(), weights={"g": (6,), "h": (1, 1, 1, 6)})
    assert left == ["LayerNormalization"]


def test_several_last_axes(passed):
    left = passed(graph(KERAS, "-2, -1"), FuseLayerNormalization(), weights={"g": (5, 6), "h": (6,)})
    assert left == ["LayerNormalization"]


def test_an_axis_elsewhere_is_turned_to_the_end_and_back(passed):
    left = passed(graph(KERAS, "1"), FuseLayerNormalization(), weights={"g": (1, 4, 1, 1), "h": (4, 1, 1)})
    assert left == ["Transpose", "LayerNormalization", "Transpose"]


@pytest.mark.parametrize("shape", [(1, 4, 1, 1), (5, 6), (4, 5, 6)])
def test_a_scale_along_other_axes_stays(passed, shape):
    left = passed(graph(KERAS), FuseLayerNormalization(), weights={"g": shape, "h": (6,)})
    assert "LayerNormalization" not in left


def test_an_axis_of_unknown_size_stays(passed):
    text = graph(WITHOUT_OFFSET, "0", shape="N,4")
    assert "LayerNormalization" not in passed(text, FuseLayerNormalization(), weights={"g": ()})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("variance = ReduceMean(square, axes)", "variance = ReduceMean(square, other)"),
        ("square = Mul(centred, centred)", "square = Mul(centred, x)"),
        ("centred = Sub(x, mean)", "centred = Add(x, mean)"),
    ],
)
def test_what_is_no_variance_stays(passed, old, new):
    statistics = "other = Neg(minus)\n" + STATISTICS.replace(old, new).replace("Sqrt(steady)", "Sqrt(positive)")
    statistics = statistics.replace("deviation", "positive = Abs(steady)\n deviation", 1)
    text = graph(KERAS, statistics=statistics).replace("float epsilon", "int64[1] minus = {2}, float epsilon")
    assert "LayerNormalization" not in passed(text, FuseLayerNormalization(), weights={"g": (6,), "h": (6,)})


def test_a_mean_that_is_an_output_is_still_computed(passed):
    text = graph(KERAS, more=", float[N,4,5,1] mean")
    left = passed(text, FuseLayerNormalization(), weights={"g": (6,), "h": (6,)})
    assert sorted(left) == ["LayerNormalization", "ReduceMean"]


def test_double_precision_stays(passed):
    text = graph(WITHOUT_SCALE.replace("c = Add(h, b)", "c = Neg(b)")).replace("float", "double")
    assert "LayerNormalization" not in passed(text, FuseLayerNormalization())

"""Multiplication and addition by channel become one BatchNormalization."""

import pytest

from keronyx.export.rewrite.batchnorm import MulAddToBatchNormalization

GRAPH = "g (float[N,4,5,6] x) => (float[N,4,5,6] y{more}) {{ m = Mul({mul})\n y = Add({add})\n }}"


@pytest.mark.parametrize("mul", ["x, s", "s, x"])
@pytest.mark.parametrize("add", ["m, b", "b, m"])
def test_one_operator_in_either_order(passed, mul, add):
    text = GRAPH.format(mul=mul, add=add, more="")
    left = passed(text, MulAddToBatchNormalization(), weights={"s": (4, 1, 1), "b": (1, 4, 1, 1)})
    assert left == ["BatchNormalization"]


def test_a_single_number_stands_for_every_channel(passed):
    text = GRAPH.format(mul="x, s", add="m, b", more="")
    left = passed(text, MulAddToBatchNormalization(), weights={"s": (), "b": (4, 1, 1)})
    assert left == ["BatchNormalization"]


@pytest.mark.parametrize("shape", [(6,), (5, 1), (4, 5, 6), (1, 1, 5, 1), (2, 1, 1, 1, 1)])
def test_what_differs_otherwise_than_by_channel_stays(passed, shape):
    out = "2,N,4,5,6" if len(shape) > 4 else "N,4,5,6"
    text = f"g (float[N,4,5,6] x) => (float[{out}] y) {{ m = Mul(x, s)\n y = Add(m, b)\n }}"
    left = passed(text, MulAddToBatchNormalization(), weights={"s": shape, "b": (4, 1, 1)})
    assert left == ["Mul", "Add"]


def test_a_product_that_is_read_elsewhere_stays(passed):
    text = GRAPH.format(mul="x, s", add="m, b", more=", float[N,4,5,6] m")
    left = passed(text, MulAddToBatchNormalization(), weights={"s": (4, 1, 1), "b": (4, 1, 1)})
    assert left == ["Mul", "Add"]


def test_one_channel_multiplied_into_several_stays(passed):
    text = "g (float[N,1,5,6] x) => (float[N,4,5,6] y) { m = Mul(x, s)\n y = Add(m, b)\n }"
    left = passed(text, MulAddToBatchNormalization(), weights={"s": (4, 1, 1), "b": (4, 1, 1)})
    assert left == ["Mul", "Add"]


def test_two_axes_are_not_by_channel(passed):
    text = "g (float[N,4] x) => (float[N,4] y) { m = Mul(x, s)\n y = Add(m, b)\n }"
    left = passed(text, MulAddToBatchNormalization(), weights={"s": (4,), "b": (4,)})
    assert left == ["Mul", "Add"]


def test_double_precision_stays(passed):
    text = """g (double[N,4,5] x) => (double[N,4,5] y)
        <double[4,1] s = {1, 2, 3, 4}, double[4,1] b = {1, 2, 3, 4}> { m = Mul(x, s)\n y = Add(m, b)\n }"""
    assert passed(text, MulAddToBatchNormalization()) == ["Mul", "Add"]

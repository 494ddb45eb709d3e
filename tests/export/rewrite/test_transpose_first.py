"""Scaling by channel moves behind the transpose."""

import pytest

from keronyx.export.rewrite.transpose_first import TransposeFirst

IMAGE = "g (float[N,5,6,3] x) => (float[N,3,5,6] y{more}) {{ {body}\n y = Transpose <perm = [0, 3, 1, 2]> ({last}) }}"


def graph(body: str, last: str, more: str = "") -> str:
    return IMAGE.format(body=body, last=last, more=more)


@pytest.mark.parametrize("shape", [(3,), (1, 1, 1, 3), (5, 6, 3)])
def test_the_transpose_comes_first(passed, shape):
    text = graph("a = Sub(x, m)\n b = Div(a, s)", "b")
    assert passed(text, TransposeFirst(), weights={"m": shape, "s": (3,)}) == ["Transpose", "Sub", "Div"]


def test_the_constant_may_come_first(passed):
    left = passed(graph("a = Sub(m, x)", "a"), TransposeFirst(), weights={"m": (3,)})
    assert left == ["Transpose", "Sub"]


def test_single_numbers_and_casts_move_along(passed):
    text = """g (uint8[N,5,6,3] x) => (float[N,3,5,6] y) {
        c = Cast <to = 1> (x)\n a = Mul(c, s)\n b = Add(a, m)\n d = Mul(b, s)
        y = Transpose <perm = [0, 3, 1, 2]> (d) }"""
    left = passed(text, TransposeFirst(), weights={"m": (3,), "s": ()})
    assert left == ["Cast", "Mul", "Transpose", "Add", "Mul"]


def test_without_constants_by_channel_nothing_moves(passed):
    left = passed(graph("a = Mul(x, s)", "a"), TransposeFirst(), weights={"s": (1,)})
    assert left == ["Mul", "Transpose"]


def test_what_is_read_elsewhere_stays(passed):
    text = graph("a = Mul(x, s)", "a", more=", float[N,5,6,3] a")
    assert passed(text, TransposeFirst(), weights={"s": (3,)}) == ["Mul", "Transpose"]


def test_a_constant_that_makes_the_tensor_larger_stays(passed):
    text = "g (float[N,1,6,3] x) => (float[N,3,5,6] y) { a = Mul(x, s)\n y = Transpose <perm = [0, 3, 1, 2]> (a) }"
    assert passed(text, TransposeFirst(), weights={"s": (5, 1, 3)}) == ["Mul", "Transpose"]


def test_many_channels_are_as_quick_where_they_are(passed):
    text = "g (float[N,4,8] x) => (float[N,8,4] y) { a = Mul(x, s)\n y = Transpose <perm = [0, 2, 1]> (a) }"
    assert passed(text, TransposeFirst(), weights={"s": (8,)}) == ["Mul", "Transpose"]


def test_two_tensors_stay(passed):
    left = passed(graph("a = Mul(x, x)", "a"), TransposeFirst())
    assert left == ["Mul", "Transpose"]

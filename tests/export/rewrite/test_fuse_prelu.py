"""Keras' five operators for PReLU become one."""

import pytest

from keronyx.export.rewrite.fuse_prelu import FusePRelu

GRAPH = """g (float[N,4,5,6] x) => ({out} y{more})
    {{ p = Relu(x)\n n = Neg({negated})\n r = Relu(n)\n m = Mul({mul})\n y = Add({add})\n }}"""


def graph(mul: str = "r, s", add: str = "p, m", more: str = "", negated: str = "x", out: str = "float[N,4,5,6]") -> str:
    return GRAPH.format(mul=mul, add=add, more=more, negated=negated, out=out)


@pytest.mark.parametrize("mul", ["r, s", "s, r"])
@pytest.mark.parametrize("add", ["p, m", "m, p"])
def test_five_operators_become_one_in_either_order(passed, mul, add):
    assert passed(graph(mul, add), FusePRelu(), weights={"s": (1, 4, 1, 1)}) == ["PRelu"]


@pytest.mark.parametrize("slopes", [(), (1,), (6,), (4, 5, 6), (1, 4, 5, 6)])
def test_slopes_of_any_axes(passed, slopes):
    assert passed(graph(), FusePRelu(), weights={"s": slopes}) == ["PRelu"]


def test_what_is_read_elsewhere_stays_beside_it(passed):
    left = passed(graph(more=", float[N,4,5,6] m"), FusePRelu(), weights={"s": (4, 1, 1)})
    assert sorted(left) == ["Mul", "Neg", "PRelu", "Relu"]


def test_another_tensor_negated_is_no_prelu(passed):
    text = graph(negated="z").replace("x) =>", "x, float[N,4,5,6] z) =>")
    assert "PRelu" not in passed(text, FusePRelu(), weights={"s": (4, 1, 1)})


def test_slopes_that_widen_the_tensor_are_no_prelu(passed):
    text = graph(out="float[N,4,5,6]").replace("float[N,4,5,6] x", "float[N,1,5,6] x")
    assert "PRelu" not in passed(text, FusePRelu(), weights={"s": (4, 1, 1)})


def test_computed_slopes_are_no_prelu(passed):
    text = graph(mul="r, w").replace("{ p", "{ w = Relu(s)\n p")
    assert "PRelu" not in passed(text, FusePRelu(), weights={"s": (4, 1, 1)})

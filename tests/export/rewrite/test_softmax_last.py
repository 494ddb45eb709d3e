"""Softmax follows the transpose that makes its axis the last one."""

import pytest

from keronyx.export.rewrite.softmax_last import SoftmaxLast

GRAPH = """g (float[N,4,5,6] x) => (float[N,{shape}] y{more})
    {{ s = {operator}<axis={axis}>(x)\n y = Transpose<perm=[{perm}]>(s)\n }}"""


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("axis", [1, -3])
def test_channels_first(passed, operator, axis):
    text = GRAPH.format(shape="5,6,4", more="", operator=operator, axis=axis, perm="0,2,3,1")
    assert passed(text, SoftmaxLast()) == ["Transpose", operator]


@pytest.mark.parametrize(
    ("axis", "perm", "shape"), [(2, "0,2,3,1", "5,6,4"), (-1, "0,2,3,1", "5,6,4"), (1, "0,2,1,3", "5,4,6")]
)
def test_another_axis_stays(passed, axis, perm, shape):
    text = GRAPH.format(shape=shape, more="", operator="Softmax", axis=axis, perm=perm)
    assert passed(text, SoftmaxLast()) == ["Softmax", "Transpose"]


def test_a_softmax_that_is_also_an_output_stays(passed):
    text = GRAPH.format(shape="5,6,4", more=", float[N,4,5,6] s", operator="Softmax", axis=1, perm="0,2,3,1")
    assert passed(text, SoftmaxLast()) == ["Softmax", "Transpose"]


def test_a_softmax_that_others_read_stays(passed):
    text = GRAPH.format(shape="5,6,4", more=", float[N,4,5,6] z", operator="Softmax", axis=1, perm="0,2,3,1")
    text = text.replace("\n }", "\n z = Relu(s)\n }")
    assert passed(text, SoftmaxLast()) == ["Softmax", "Transpose", "Relu"]

"""PRelu as operators whose kernels take no branches."""

import pytest

from keronyx.export.rewrite.max_for_prelu import MaxForPRelu

GRAPH = "g (float[N,3,5,6] x) => (float[N,3,5,6] y) <float[3,1,1] s = {{{slopes}}}> {{ y = PRelu(x, s)\n }}"


@pytest.mark.parametrize(
    ("slopes", "operators"),
    [
        ("0.1, 0.5, 1", ["Mul", "Max"]),
        ("-2, 0, 0.5", ["Mul", "Max"]),
        ("1, 2, 3", ["Mul", "Min"]),
        ("0.5, 1, 2", ["Relu", "Min", "Mul", "Add"]),
    ],
)
def test_the_slopes_decide_which(passed, slopes, operators):
    assert passed(GRAPH.format(slopes=slopes), MaxForPRelu()) == operators


def test_computed_slopes_stay(passed):
    text = "g (float[N,3,5,6] x, float[3,1,1] s) => (float[N,3,5,6] y) { y = PRelu(x, s)\n }"
    assert passed(text, MaxForPRelu()) == ["PRelu"]


@pytest.mark.parametrize("slope", [float("inf"), float("nan")])
def test_slopes_that_are_no_numbers_stay(slope):
    # infinity * x would be the maximum where PRelu gives the positive x back
    import numpy as np
    import onnx_ir as ir

    x = ir.Value(name="x", shape=ir.Shape([3]), type=ir.TensorType(ir.DataType.FLOAT))
    slopes = ir.Value(name="s", const_value=ir.tensor(np.array([0.5, slope, 0.5], np.float32)))
    node = ir.node("PRelu", [x, slopes])
    model = ir.Model(ir.Graph([x], node.outputs, nodes=[node], initializers=[slopes]), ir_version=10)
    assert not MaxForPRelu()(model).modified

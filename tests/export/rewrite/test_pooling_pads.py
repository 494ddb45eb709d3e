"""Zeros around an image count as zeros in the maximum, whatever ONNX Runtime's own passes do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from keronyx.export.rewrite.pooling_pads import PoolingPads


def graph(node: str, pads: str = "0,0,1,1,0,0,1,1", before: str = "x", size: str = "8,9", more: str = "") -> str:
    return f"""g (float[N,3,{size}] x) => (float[N,3,A,B] y{more}) <int64[8] p = {{{pads}}}, float zero = {{0}},
        float one = {{1}}> {{ s = Identity({before})\n q = Pad(s, p)\n y = {node}\n }}"""


@pytest.mark.parametrize("size", [(3, 2, 1), (3, 1, 1), (2, 2, 1), (3, 3, 2), (3, 1, 2)])
@pytest.mark.parametrize("pads", ["0,0,1,1,0,0,1,1", "0,0,0,1,0,0,1,0", "0,0,1,0,0,0,1,1"])
def test_a_maximum_with_zero_where_the_window_met_zeros(passed, size, pads):
    kernel, stride, rate = size
    pool = f"MaxPool<kernel_shape=[{kernel},{kernel}], strides=[{stride},{stride}], dilations=[{rate},{rate}]>(q)"
    assert passed(graph(pool, pads), PoolingPads()) == ["Identity", "MaxPool", "Max"]


def test_its_own_pads_stay_minus_infinity(passed):
    left = passed(graph("MaxPool<kernel_shape=[3,3], pads=[1,0,0,1]>(q)", "0,0,0,1,0,0,1,0"), PoolingPads())
    assert left == ["Identity", "MaxPool", "Max"]


def test_nothing_negative_needs_no_maximum(passed):
    text = graph("MaxPool<kernel_shape=[3,3], strides=[2,2]>(q)").replace("Identity", "Relu")
    assert passed(text, PoolingPads()) == ["Relu", "MaxPool"]


@pytest.mark.parametrize(
    ("node", "size"),
    [
        ("MaxPool<kernel_shape=[3,3]>(q)", "H,W"),
        ("MaxPool<kernel_shape=[1,1], strides=[2,2]>(q)", "8,9"),
    ],
)
def test_where_sizes_are_open_or_pads_too_wide_the_pad_stays(passed, node, size):
    assert passed(graph(node, size=size), PoolingPads()) == ["Identity", "Pad", "MaxPool"]


@pytest.mark.parametrize("size", ["8,9", "H,W"])
def test_onnx_runtime_agrees_where_all_is_negative(size):
    """With its own optimizations on, which turn -5 next to a border into -5 instead of 0 without this pass."""
    import onnx
    import onnx_ir as ir
    import onnxruntime

    text = '<ir_version: 10, opset_import: ["" : 18]>' + graph("MaxPool<kernel_shape=[3,3]>(q)", size=size)
    model = ir.from_proto(onnx.parser.parse_model(text))
    assert PoolingPads()(model).modified
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    y: Any = session.run(None, {"x": np.full((1, 3, 8, 9), -5, np.float32)})[0]
    expected = np.full((1, 3, 8, 9), -5, np.float32)
    expected[:, :, [0, -1]] = 0
    expected[:, :, :, [0, -1]] = 0
    np.testing.assert_allclose(y, expected, atol=1e-40)


@pytest.mark.parametrize(
    "conv", ["Conv(q, w)", "Conv<pads=[1,0,0,1]>(q, w)", "Conv<strides=[2,2], dilations=[2,1]>(q, w, b)"]
)
def test_a_convolution_takes_the_pads(passed, conv):
    assert passed(graph(conv), PoolingPads(), weights={"w": (3, 3, 3, 3), "b": (3,)}) == ["Identity", "Conv"]


@pytest.mark.parametrize(
    ("pads", "node"),
    [
        ("0,1,1,1,0,0,1,1", "Conv(q, v)"),
        ("0,0,-1,1,0,0,1,1", "Conv(q, w)"),
        ("0,0,1,1,0,0,1,1", 'Conv<auto_pad="SAME_UPPER">(q, w)'),
        ("0,0,1,1,0,0,1,1", "AveragePool<kernel_shape=[3,3]>(q)"),
    ],
)
def test_other_pads_stay(passed, pads, node):
    left = passed(graph(node, pads), PoolingPads(), weights={"w": (3, 3, 3, 3), "v": (3, 4, 3, 3)})
    assert left == ["Identity", "Pad", node.split("<")[0].split("(")[0]]


@pytest.mark.parametrize("pad", ["Pad(s, p, one)", 'Pad<mode="edge">(s, p)', 'Pad<mode="reflect">(s, p)'])
def test_other_values_than_zero_stay(passed, pad):
    text = graph("MaxPool<kernel_shape=[3,3]>(q)").replace("Pad(s, p)", pad)
    assert passed(text, PoolingPads()) == ["Identity", "Pad", "MaxPool"]


def test_zero_may_be_said(passed):
    text = graph("MaxPool<kernel_shape=[3,3]>(q)").replace("Pad(s, p)", "Pad(s, p, zero)")
    assert passed(text, PoolingPads()) == ["Identity", "MaxPool", "Max"]


def test_a_padded_image_that_is_an_output_stays_beside_it(passed):
    text = graph("MaxPool<kernel_shape=[3,3]>(q)", more=", float[N,3,C,D] q")
    assert passed(text, PoolingPads()) == ["Identity", "Pad", "MaxPool", "Max"]

"""BatchNormalization goes into the weights of the convolution before it."""

import pytest

from keronyx.export.rewrite.fold_batchnorm import FoldBatchNormalization

BN = "y = BatchNormalization(c, scale, shift, mean, variance)"
STATISTICS = "float[4] variance = {1, 0.5, 2, 3}"


def graph(conv: str, more: str = "", then: str = BN) -> str:
    return f"g (float[N,2,6,7] x) => (float[N,4,A,B] y{more}) <{STATISTICS}> {{ c = {conv}\n {then}\n }}"


WEIGHTS = {"scale": (4,), "shift": (4,), "mean": (4,), "b": (4,)}


@pytest.mark.parametrize(
    ("conv", "weight"),
    [
        ("Conv(x, w)", (4, 2, 3, 3)),
        ("Conv(x, w, b)", (4, 2, 3, 3)),
        ("Conv<group=2, pads=[1,1,1,1]>(x, w, b)", (4, 1, 3, 3)),
        ("ConvTranspose<strides=[2,2]>(x, w, b)", (2, 4, 3, 3)),
        ("ConvTranspose<group=2>(x, w)", (2, 2, 3, 3)),
    ],
)
def test_one_convolution_is_left(passed, conv, weight):
    assert passed(graph(conv), FoldBatchNormalization(), weights={**WEIGHTS, "w": weight}) == [
        conv.split("<")[0].split("(")[0]
    ]


def test_a_convolution_that_is_also_an_output_stays(passed):
    left = passed(
        graph("Conv(x, w)", ", float[N,4,A,B] c"), FoldBatchNormalization(), weights={**WEIGHTS, "w": (4, 2, 3, 3)}
    )
    assert left == ["Conv", "BatchNormalization"]


def test_a_convolution_that_others_read_stays(passed):
    text = graph("Conv(x, w)", ", float[N,4,A,B] z", f"z = Relu(c)\n {BN}")
    left = passed(text, FoldBatchNormalization(), weights={**WEIGHTS, "w": (4, 2, 3, 3)})
    assert left == ["Conv", "Relu", "BatchNormalization"]


def test_computed_weights_stay(passed):
    text = graph("Conv(x, v)").replace("x) =>", "x, float[4,2,3,3] w) =>").replace("{ c", "{ v = Relu(w)\n c", 1)
    assert passed(text, FoldBatchNormalization(), weights=WEIGHTS) == ["Relu", "Conv", "BatchNormalization"]


def test_two_calls_of_one_layer_share_their_new_weights(passed):
    import onnx
    import onnx_ir as ir

    text = f"""<ir_version: 10, opset_import: ["" : 18]> g (float[1,4,6,7] x, float[4,4,3,3] w) => (float[1,4,2,3] y)
        <float[4] s = {{1, 2, 3, 4}}, float[4] m = {{0, 1, 0, 2}}, {STATISTICS}, float[4,4,3,3] k> {{
        c = Conv(x, k)\n d = BatchNormalization(c, s, m, m, variance)\n e = Conv(d, k)
        y = BatchNormalization(e, s, m, m, variance)\n }}""".replace(", float[4,4,3,3] w)", ")").replace(
        ", float[4,4,3,3] k>", ", float[4,4,3,3] k = {" + ", ".join(str(i / 9) for i in range(144)) + "}>"
    )
    model = ir.from_proto(onnx.parser.parse_model(text))
    FoldBatchNormalization()(model)
    first, second = model.graph
    assert first.op_type == second.op_type == "Conv" and first.inputs[1] is second.inputs[1]

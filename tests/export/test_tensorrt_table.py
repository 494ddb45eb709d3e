"""What the operator table of TensorRT 10 refuses, and what it does not."""

from __future__ import annotations

import onnx
import pytest
from onnx import parser

from keronyx.export import tensorrt_table
from keronyx.export.layers import LAYER
from keronyx.export.opset import nodes_of


def model(text: str, opset: int = 18) -> onnx.ModelProto:
    """A model from its text; node `conv_0` of layer `at/Conv`."""
    made = onnx.helper.make_model(
        parser.parse_graph(text), opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=9
    )
    for index, node in enumerate(nodes_of(made.graph)):
        node.name = f"{node.op_type.lower()}_{index}"
        node.metadata_props.add(key=LAYER, value=f"at/{node.op_type}")
    return made


X = "float[2, 4, 8] x, int64[2, 4, 8] n, float[1, 4, 8, 8] image, bool[2, 4, 8] b, double[2, 4, 8] d, uint8[8] u"
CONSTANTS = (
    "int64[1] axes = {1}, int64 axis = {1}, float[4] twice = {1, 1, 2, 2}, int64[1] many = {4000}, int64 depth = {4}"
)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("y = Relu (x)", ""),
        ("y = Exp (d)", ""),
        ("y = Exp (n)", "not supported for int64"),
        ("y = Where (b, x, x)", ""),
        ("y = Where (b, b, b)", ""),
        ("y = Where (b, u, u)", "not supported for uint8"),
        ("i = Cast <to = 6> (x) y = Exp (i)", "not supported for int32"),
        ("y = And (b, b)", ""),
        ("y = Equal (b, b)", "not supported for bool"),
        ("y = Add (u, u)", "not supported for uint8"),
        ("y = Cast <to = 1> (u)", ""),
        ("y = MaxUnpool <kernel_shape = [2, 2]> (x, n)", "not supported"),
        ("y = ReduceSum (x, axes)", ""),
        ("k = Constant <value = int64[1] {1}> () y = ReduceMax (x, k)", ""),
        ("s = Shape (x) y = ReduceMax (x, s)", "its input s must be a constant"),
        ("y = CumSum (x, axis)", ""),
        ("y = OneHot (n, depth, x)", ""),
        ('y = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric"> (image, , twice)', ""),
        (
            'y = Resize <nearest_mode = "floor", coordinate_transformation_mode = "tf_half_pixel_for_nn"> (x, , twice)',
            "tf_half_pixel_for_nn only rounds by round_prefer_floor, not floor",
        ),
        ('y = Resize <coordinate_transformation_mode = "tf_half_pixel_for_nn"> (image, , twice)', ""),
        (
            'y = Resize <coordinate_transformation_mode = "tf_crop_and_resize"> (image, , twice)',
            "coordinate_transformation_mode tf_crop_and_resize is not supported",
        ),
        ('y = Resize <mode = "linear", antialias = 1> (image, , twice)', "antialias is not supported"),
        (
            'y = Resize <keep_aspect_ratio_policy = "not_larger"> (image, , twice)',
            "keep_aspect_ratio_policy must be stretch",
        ),
        ("y = MaxPool <kernel_shape = [2, 2]> (image)", ""),
        ("y, i = MaxPool <kernel_shape = [2, 2]> (image)", "its output of indices is not supported"),
        ("y = MaxPool <kernel_shape = [2, 2], dilations = [2, 2]> (image)", "dilations are not supported"),
        ('y = ScatterND <reduction = "add"> (x, n, x)', "reduction is not supported"),
        ("y, i = TopK (x, axes)", ""),
        ("y, i = TopK (x, many)", "K must be below 3840, not 4000"),
        ("y, i = TopK <sorted = 0> (x, axes)", "sorted must be 1"),
        ("y, m = LayerNormalization (x, x)", "only its first output is supported"),
        ('y = GRU <direction = "bidirectional", activations = ["a", "b", "c", "b"]> (x, x, x)', "both directions must"),
        ("y = LSTM <layout = 1> (x, x, x)", "input_forget and layout must be 0"),
        ("q = QuantizeLinear (x, axis, axis) y = Relu (x)", "its zero point must be 0"),
        ("y = GatherND (b, n)", ""),
    ],
)
def test_the_table_refuses_what_tensorrt_does_not_list(body: str, why: str) -> None:
    found = tensorrt_table.refused(model(f"one ({X}) => (float[a] y) <{CONSTANTS}> {{ {body} }}"))
    assert [reason.startswith(why) for _, reason in found] == ([True] if why else [])


def test_the_table_looks_into_branches_and_at_inputs_and_other_domains() -> None:
    made = model(
        """one (bool[1] c, string[2] s, float[2] x) => (float[2] y) { y = If (c) <
            then_branch = yes () => (float[2] t) { t = Det (x) },
            else_branch = no () => (float[2] e) { e = Exp (x) }> }"""
    )
    made.graph.node.append(onnx.helper.make_node("Own", ["x"], ["z"], name="own", domain="com.example"))
    found = [(node.op_type if node is not None else None, why) for node, why in tensorrt_table.refused(made)]
    assert found == [(None, "input s is string"), ("Det", "not supported"), ("Own", "not supported")]

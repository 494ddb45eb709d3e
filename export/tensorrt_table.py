"""What TensorRT 10 says of itself: the operators and element types its ONNX parser lists, as a second opinion.

Source: the operator table of the onnx-tensorrt project for TensorRT 10.15, and the checks of its parser. Nothing is
built here; what depends on more than one node (shapes carried around a loop, sizes of outputs) is not judged.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

NAME = "TensorRT 10.15 operator table"

FLOATS = {"FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE"}  # DOUBLE is narrowed to FLOAT
NUMBERS = FLOATS | {"INT32", "INT64"}
VALUES = NUMBERS | {"BOOL"}
ANY = VALUES | {"UINT8"}
QUANTIZED = ANY | {"INT8", "INT4", "FLOAT8E4M3FN", "FLOAT4E2M1"}

TYPES: dict[frozenset[str], str] = {
    frozenset(FLOATS): """Acos Acosh Asin Asinh Atan Atanh Attention AveragePool BatchNormalization Ceil Celu Clip Conv
        ConvTranspose Cos Cosh CumSum DeformConv Dropout Einsum Elu Erf Exp Floor GRU Gemm GlobalAveragePool
        GlobalLpPool GlobalMaxPool GridSample GroupNormalization HardSigmoid HardSwish Hardmax InstanceNormalization
        IsInf LRN LSTM LayerNormalization LeakyRelu Log LogSoftmax LpNormalization LpPool MatMul MaxPool
        MeanVarianceNormalization Mish NonMaxSuppression NonZero PRelu RMSNormalization RNN Reciprocal Resize RoiAlign
        RotaryEmbedding Round STFT Selu Sigmoid Sin Sinh Softmax Softplus Softsign Sqrt Tan Tanh ThresholdedRelu
        Upsample""",
    frozenset(NUMBERS): """Abs Add ArgMax ArgMin DepthToSpace Div Equal Gelu Greater GreaterOrEqual IsNaN Less
        LessOrEqual Max Mean Min Mod Mul Neg Pad Pow Range ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
        ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Scatter ScatterElements ScatterND Shrink Sign
        SpaceToDepth Sub Sum TensorScatter TopK""",
    frozenset(VALUES): """Concat ConstantOfShape Expand EyeLike Flatten Gather GatherElements GatherND If Loop OneHot
        Reshape ReverseSequence Scan Slice Split Squeeze Tile Transpose Trilu Unsqueeze Where""",
    frozenset({"BOOL"}): "And Not Or Xor",
    frozenset(ANY): "Cast CastLike Identity Shape Size",
    frozenset(QUANTIZED): """BlackmanWindow Constant DequantizeLinear HammingWindow HannWindow QuantizeLinear
        RandomNormal RandomNormalLike RandomUniform RandomUniformLike""",
}
ALLOWED = {operator: allowed for allowed, operators in TYPES.items() for operator in operators.split()}
"""Operator -> element types of its data."""

DATA_INPUT = {"Where": 1, "OneHot": 2}
"""Input that decides the element type, where it is not the first."""

CONSTANT_INPUTS = {"CumSum": 1, "OneHot": 1, "Squeeze": 1, "Unsqueeze": 1} | {
    operator: 1 for operator in ALLOWED if operator.startswith("Reduce")
}
"""Operator -> the input (axes, depth) whose value must be known when the engine is built."""

Refused = tuple[Any, str]
"""An ONNX node (None for an input of the model), and why."""


def refused(proto: Any) -> list[Refused]:
    """What the table has against a model. Weights are dropped from `proto`: give it a copy of its own."""
    import onnx

    for tensor in proto.graph.initializer:  # shape inference serialises the model, and reads small tensors only
        if len(tensor.raw_data) > 65536:
            tensor.ClearField("raw_data")
    names = dict(zip(onnx.TensorProto.DataType.values(), onnx.TensorProto.DataType.keys(), strict=True))
    graph = proto.graph
    with contextlib.suppress(Exception):  # operators that nobody knows; types it cannot tell are then not judged
        graph = onnx.shape_inference.infer_shapes(proto).graph
    found: list[Refused] = [
        (None, f"input {value.name} is {names[value.type.tensor_type.elem_type].lower()}")
        for value in graph.input
        if names[value.type.tensor_type.elem_type] not in QUANTIZED
    ]
    return found + _Graph(names, {}, {}).refused(graph)


class _Graph:
    """Element types and constants that a graph's nodes see, those of the graphs around it included."""

    def __init__(self, names: dict[int, str], types: dict[str, str], constants: dict[str, Any]) -> None:
        self.names, self.types, self.constants = names, types, constants

    def refused(self, graph: Any) -> list[Refused]:
        self.types |= {
            value.name: self.names[value.type.tensor_type.elem_type]
            for value in [*graph.input, *graph.output, *graph.value_info]
        }
        self.types |= {tensor.name: self.names[tensor.data_type] for tensor in graph.initializer}
        self.constants |= {tensor.name: tensor for tensor in graph.initializer}
        found = []
        for node in graph.node:
            if node.op_type == "Constant":
                self.constants[node.output[0]] = next((a.t for a in node.attribute if a.name == "value"), None)
            if why := self.why_not(node):
                found.append((node, why))
            for attribute in node.attribute:
                for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                    found += _Graph(self.names, dict(self.types), dict(self.constants)).refused(inner)
        return found

    def why_not(self, node: Any) -> str:
        """What the table has against a node, or nothing."""
        if node.domain not in ("", "ai.onnx") or node.op_type not in ALLOWED:
            return "not supported"
        index = DATA_INPUT.get(node.op_type, 0)
        kind = self.types.get(node.input[index], "UNDEFINED") if len(node.input) > index else "UNDEFINED"
        if kind not in (*ALLOWED[node.op_type], "UNDEFINED"):
            return f"not supported for {kind.lower()}"
        index = CONSTANT_INPUTS.get(node.op_type, 0)
        if index and len(node.input) > index and node.input[index] and node.input[index] not in self.constants:
            return f"its input {node.input[index]} must be a constant"
        rule = RULES.get(node.op_type)
        return rule(node, _attributes(node), self) if rule else ""

    def value(self, name: str) -> list[Any] | None:
        """Value of a small constant, flat; None for what is computed."""
        from onnx import numpy_helper

        tensor = self.constants.get(name)
        with contextlib.suppress(ValueError):  # its data were dropped
            return None if tensor is None else list(numpy_helper.to_array(tensor).ravel().tolist())
        return None


Rule = Callable[[Any, dict[str, Any], _Graph], str]
"""(node, its attributes, its graph) -> what is against it."""


def _attributes(node: Any) -> dict[str, Any]:
    from onnx.helper import get_attribute_value

    found = {a.name: get_attribute_value(a) for a in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}


def _resize(node: Any, given: dict[str, Any], graph: _Graph) -> str:
    mode = given.get("coordinate_transformation_mode", "half_pixel")
    if mode == "tf_half_pixel_for_nn" and given.get("nearest_mode", "round_prefer_floor") != "round_prefer_floor":
        return f"tf_half_pixel_for_nn only rounds by round_prefer_floor, not {given['nearest_mode']}"
    if mode not in ("half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners"):
        return f"coordinate_transformation_mode {mode} is not supported"
    if given.get("antialias"):
        return "antialias is not supported"
    if given.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        return "keep_aspect_ratio_policy must be stretch"
    return ""


def _pool(node: Any, given: dict[str, Any], graph: _Graph) -> str:
    if sum(map(bool, node.output)) > 1:
        return "its output of indices is not supported"
    return "dilations are not supported" if set(given.get("dilations", ())) - {1} else ""


def _first_output(node: Any, given: dict[str, Any], graph: _Graph) -> str:
    if given.get("training_mode"):
        return "training_mode is not supported"
    return "only its first output is supported" if sum(map(bool, node.output)) > 1 else ""


def _recurrent(node: Any, given: dict[str, Any], graph: _Graph) -> str:
    if given.get("input_forget") or given.get("layout"):
        return "input_forget and layout must be 0"
    kinds = given.get("activations", [])
    half = len(kinds) // 2
    if given.get("direction") == "bidirectional" and kinds[:half] != kinds[half:]:
        return "both directions must have the same activations"
    return ""


def _scatter(node: Any, given: dict[str, Any], graph: _Graph) -> str:
    return "reduction is not supported" if given.get("reduction", "none") != "none" else ""


def _top_k(node: Any, given: dict[str, Any], graph: _Graph) -> str:
    if given.get("sorted", 1) != 1:
        return "sorted must be 1"
    count = graph.value(node.input[1]) or [0]
    return f"K must be below 3840, not {count[0]}" if count[0] >= 3840 else ""


def _quantize(node: Any, given: dict[str, Any], graph: _Graph) -> str:
    zero = graph.value(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    return "its zero point must be 0" if zero is not None and any(zero) else ""


def _attention(node: Any, given: dict[str, Any], graph: _Graph) -> str:
    if any(node.input[4:]) or sum(map(bool, node.output)) > 1:
        return "past and present keys and values are not supported"
    return "softcap is not supported" if given.get("softcap") else ""


RULES: dict[str, Rule] = {
    "Attention": _attention,
    "AveragePool": _pool,
    "BatchNormalization": _first_output,
    "DequantizeLinear": _quantize,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "LayerNormalization": _first_output,
    "LpPool": _pool,
    "MaxPool": _pool,
    "QuantizeLinear": _quantize,
    "RNN": _recurrent,
    "Resize": _resize,
    "ScatterND": _scatter,
    "TopK": _top_k,
}
"""Operator -> restrictions on its attributes and outputs."""

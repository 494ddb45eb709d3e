"""Dilated convolutions are one Conv, also over inputs of an open size."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow

LAYERS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "Conv1D": ("Conv1D", 1, {"filters": 3, "kernel_size": 3, "dilation_rate": 4}),
    "Conv1D of even length": ("Conv1D", 1, {"filters": 3, "kernel_size": 4, "dilation_rate": 3}),
    "Conv2D": ("Conv2D", 2, {"filters": 3, "kernel_size": 3, "dilation_rate": (2, 3)}),
    "grouped Conv1D": ("Conv1D", 1, {"filters": 4, "kernel_size": 3, "dilation_rate": 2, "groups": 2}),
    "Conv3D": ("Conv3D", 3, {"filters": 3, "kernel_size": 2, "dilation_rate": 2}),
    "DepthwiseConv1D": ("DepthwiseConv1D", 1, {"kernel_size": 3, "dilation_rate": 2}),
    "DepthwiseConv2D": ("DepthwiseConv2D", 2, {"kernel_size": 3, "dilation_rate": 2, "depth_multiplier": 2}),
    "SeparableConv1D": ("SeparableConv1D", 1, {"filters": 3, "kernel_size": 3, "dilation_rate": 2}),
    "SeparableConv2D": ("SeparableConv2D", 2, {"filters": 3, "kernel_size": 3, "dilation_rate": 2}),
}


@pytest.mark.parametrize("padding", ["same", "valid", "causal"])
@pytest.mark.parametrize("length", [11, None], ids=["fixed size", "open size"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_dilated_convolution_is_one_operator(
    name: str, length: int | None, padding: str, comparison: Any, tmp_path: Path
) -> None:
    import keras
    import onnx as onnx_library

    from keronyx.export import onnx, signature

    kind, rank, options = LAYERS[name]
    if padding == "causal" and kind != "Conv1D":
        padding = "same"
    x = keras.Input((*[length] * rank, 4), name="x")
    layer = getattr(keras.layers, kind)(**options, padding=padding)
    model = comparison.randomise(keras.Model(x, layer(x)))
    spec = signature.of_keras(model, "tiny", "tiny", None, None, leave_open=True)
    onnx.convert(model, spec, tmp_path / "model.onnx")
    for size in (11,) if length else (10, 13):
        inputs = [np.random.default_rng(0).normal(size=(2, *[size] * rank, 4)).astype("float32")]
        found = comparison.run_onnx(tmp_path / "model.onnx", spec, inputs)
        comparison.assert_same(comparison.keras_answers(model, inputs), found)
    operators = Counter(node.op_type for node in onnx_library.load(tmp_path / "model.onnx").graph.node)
    assert operators["Conv"] == 2 if kind.startswith("Separable") else operators["Conv"] == 1
    assert sum(operators.values()) <= 8

"""Precisions that are refused by the name of the layer, and outputs that depend on no input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from keronyx.errors import ExportError
from keronyx.export import onnx, signature

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("precision", ["bfloat16", "float8"])
def test_a_precision_onnx_runtime_has_not_is_refused_by_its_layer(precision: str, tmp_path: Path) -> None:
    import keras
    from keras import layers

    x = keras.Input((8,), name="x")
    half = layers.Dense(4, name="half", dtype="mixed_bfloat16" if precision == "bfloat16" else None)
    model = keras.Model(x, layers.Dense(2, name="head")(half(x)))
    if precision == "float8":
        half.quantize("float8")
    spec = signature.of_keras(model, "tiny", "tiny", 1, None)
    with pytest.raises(ExportError, match=f"layer half computes in {precision}"):
        onnx.convert(model, spec, tmp_path / "model.onnx")


@pytest.mark.parametrize("learned", [False, True])
def test_an_output_may_depend_on_no_input(learned: bool, to_onnx: Any) -> None:
    import keras

    class Constant(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.w = self.add_weight(shape=(1, 3), initializer="ones")

        def call(self, x: Any) -> Any:
            return self.w + 0.0 if learned else keras.ops.ones((1, 3)) * 2

    x = keras.Input((4,), name="x")
    _, spec, _ = to_onnx(keras.Model(x, [keras.layers.Dense(2, name="dense")(x), Constant(name="constant")(x)]), None)
    assert [tensor.name for tensor in spec.outputs] == ["dense", "constant"]

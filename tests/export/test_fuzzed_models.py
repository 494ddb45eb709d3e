"""Models found by fuzzing, right in Keras, which an export refused or got wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_a_batchnorm_called_by_keyword_is_folded(to_onnx: Callable[..., Any]) -> None:
    import keras

    x = keras.Input((6, 6, 3))
    y = keras.layers.BatchNormalization()(inputs=keras.layers.Conv2D(4, 3)(inputs=x))
    _, _, evidence = to_onnx(keras.Model(x, keras.layers.ReLU()(y)))
    assert "1 BatchNorm folded" in evidence


@pytest.mark.parametrize("what", ["kernel_initializer", "bias_initializer", "kernel_regularizer", "kernel_constraint"])
def test_code_for_training_does_not_keep_a_batchnorm_from_being_folded(what: str, to_onnx: Callable[..., Any]) -> None:
    import keras

    def own(*arguments: Any, **named: Any) -> Any:
        return keras.ops.ones(arguments[0]) if "initializer" in what else keras.ops.sum(arguments[0]) * 0.0

    class Constraint(keras.constraints.Constraint):  # type: ignore[misc]
        def __call__(self, w: Any) -> Any:
            return w

    given: Any = Constraint() if what == "kernel_constraint" else own
    x = keras.Input((6, 6, 3))
    y = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, **{what: given})(x))
    _, _, evidence = to_onnx(keras.Model(x, keras.layers.ReLU()(y)))
    assert "1 BatchNorm folded" in evidence


@pytest.mark.parametrize("policy", ["mixed_float16", "float16"])
@pytest.mark.parametrize("size", [6, None])
def test_bilinear_upsampling_in_half_precision_is_converted(
    policy: str, size: int | None, comparison: Any, tmp_path: Path
) -> None:
    import keras
    import numpy as np

    from keronyx.export import onnx, signature

    x = keras.Input((size, size, 3), dtype="float16")
    up = keras.layers.UpSampling2D(2, interpolation="bilinear", dtype=policy)
    model = keras.Model(x, up(x))
    spec = signature.of_keras(model, "tiny", "tiny", None, None, leave_open=True)
    onnx.convert(model, spec, tmp_path / "model.onnx")
    images = [np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype(np.float16)]
    made = comparison.run_onnx(tmp_path / "model.onnx", spec, images)
    comparison.assert_same(comparison.keras_answers(model, images), made, 2e-3)

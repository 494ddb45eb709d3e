"""TimeDistributed: all steps at once where that is the same, step by step where it might not be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow

STEPS = 5


def _operators(path: Path) -> Counter[str]:
    import onnx

    return Counter(node.op_type for node in onnx.load(path).graph.node)


def _over_steps(layer: Any, *shape: int, steps: int | None = STEPS) -> Any:
    import keras

    x = keras.Input((steps, *shape), name="x")
    return keras.Model(x, keras.layers.TimeDistributed(layer)(x))


def _network() -> Any:
    import keras
    from keras import layers

    image = keras.Input((6, 6, 2))
    y = layers.Flatten()(layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(3, 3)(image))))
    return keras.Model(image, layers.Dense(2, activation="softmax")(y))


def _sequential() -> Any:
    import keras

    return keras.Sequential([keras.Input((6, 6, 2)), keras.layers.Conv2D(3, 3), keras.layers.GlobalMaxPooling2D()])


def _dense() -> Any:
    import keras

    return keras.layers.Dense(3, activation="tanh")


def _convolution() -> Any:
    import keras

    return keras.layers.Conv2D(3, 3, padding="same")


def _recurrent() -> Any:
    import keras

    return keras.layers.LSTM(3)


INDEPENDENT = {
    "a dense layer": (_dense, (4,), "MatMul"),
    "a convolution": (_convolution, (6, 6, 2), "Conv"),
    "a recurrent layer": (_recurrent, (4, 3), "LSTM"),
    "a model": (_network, (6, 6, 2), "Conv"),
    "a Sequential": (_sequential, (6, 6, 2), "Conv"),
}


@pytest.mark.parametrize("steps", [STEPS, None], ids=["fixed steps", "open steps"])
@pytest.mark.parametrize("batch", [1, None], ids=["batch 1", "dynamic batch"])
@pytest.mark.parametrize("name", INDEPENDENT)
def test_a_layer_is_computed_once_for_all_steps(
    name: str, batch: int | None, steps: int | None, comparison: Any, tmp_path: Path
) -> None:
    from keronyx.export import onnx, signature

    make, shape, operator = INDEPENDENT[name]
    model = comparison.randomise(_over_steps(make(), *shape, steps=steps))
    spec = signature.of_keras(model, "tiny", "tiny", batch, None, leave_open=True)
    path = tmp_path / "model.onnx"
    onnx.convert(model, spec, path)
    for length in (STEPS,) if steps else (4, 7):
        inputs = [np.random.default_rng(0).normal(size=(batch or 3, length, *shape)).astype("float32")]
        comparison.assert_same(comparison.keras_answers(model, inputs), comparison.run_onnx(path, spec, inputs))
    operators = _operators(path)
    assert operators[operator] == 1 or (operator == "MatMul" and operators["Gemm"] == 1)


def test_one_inside_another_is_computed_once(to_onnx: Any) -> None:
    from keras import layers

    path, *_ = to_onnx(_over_steps(layers.TimeDistributed(layers.Dense(3)), 4, 6), None)
    assert _operators(path)["MatMul"] == 1


def test_masks_go_past_layers_that_take_none(comparison: Any, tmp_path: Path) -> None:
    import keras
    from keras import layers

    from keronyx.export import onnx, signature

    x = keras.Input((STEPS, 4), name="x")
    y = layers.TimeDistributed(layers.Dense(3))(layers.Masking()(x))
    model = comparison.randomise(keras.Model(x, layers.GRU(2)(y)))
    spec = signature.of_keras(model, "tiny", "tiny", None, None)
    onnx.convert(model, spec, tmp_path / "model.onnx")
    inputs = [np.random.default_rng(0).normal(size=(3, STEPS, 4)).astype("float32")]
    inputs[0][0, 2:] = inputs[0][1, 1] = 0
    found = comparison.run_onnx(tmp_path / "model.onnx", spec, inputs)
    comparison.assert_same(comparison.keras_answers(model, inputs), found)
    assert _operators(tmp_path / "model.onnx")["MatMul"] == 1


def _over_the_batch() -> Any:
    import keras

    class OverTheBatch(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x - keras.ops.mean(x, axis=0, keepdims=True)

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    return OverTheBatch()


def _operation_over_the_batch() -> Any:
    import keras

    x = keras.Input((4,))
    return keras.Model(x, x - keras.ops.mean(x, axis=0, keepdims=True))


def _softmax_over_the_batch() -> Any:
    import keras

    return keras.layers.Softmax(axis=0)


def _activation_over_the_batch() -> Any:
    import keras

    return keras.layers.Dense(4, activation=lambda x: x / keras.ops.max(keras.ops.abs(x)))


@pytest.mark.parametrize(
    "make", [_over_the_batch, _operation_over_the_batch, _softmax_over_the_batch, _activation_over_the_batch]
)
def test_what_might_look_at_the_whole_batch_is_called_step_by_step(make: Callable[[], Any], to_onnx: Any) -> None:
    path, *_ = to_onnx(_over_steps(make(), 4), 3)
    assert sum(_operators(path).values()) > STEPS

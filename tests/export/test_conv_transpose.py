"""Transposed convolutions are exact whatever their options, also over inputs of an open size."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {"kernel_size": 3, "strides": 2},
    "plain, same": {"kernel_size": 3, "strides": 2, "padding": "same"},
    "even, same": {"kernel_size": 4, "strides": 2, "padding": "same"},
    "long kernel": {"kernel_size": 7, "strides": 1},
    "long kernel, same": {"kernel_size": 7, "strides": 2, "padding": "same"},
    "short kernel": {"kernel_size": 2, "strides": 3},
    "short kernel, same": {"kernel_size": 2, "strides": 4, "padding": "same"},
    "output_padding": {"kernel_size": 3, "strides": 2, "output_padding": 1},
    "output_padding 0": {"kernel_size": 2, "strides": 3, "output_padding": 0},
    "output_padding, same": {"kernel_size": 3, "strides": 3, "output_padding": 1, "padding": "same"},
}


def _operators(path: Path) -> Counter[str]:
    import onnx

    return Counter(node.op_type for node in onnx.load(path).graph.node)


def _assert_exact(model: Any, spec: Any, path: Path, inputs: list[Any], comparison: Any) -> None:
    comparison.assert_same(comparison.keras_answers(model, inputs), comparison.run_onnx(path, spec, inputs))


def _open(model: Any, comparison: Any, path: Path) -> Any:
    """Convert the model with every size open; its signature. Biases are not zero."""
    from keronyx.export import onnx, signature

    comparison.randomise(model)
    spec = signature.of_keras(model, "tiny", "tiny", None, None, leave_open=True)
    onnx.convert(model, spec, path)
    return spec


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("name", OPTIONS)
def test_one_over_an_open_size_is_exact_at_every_size_and_one_operator(
    name: str, rank: int, comparison: Any, tmp_path: Path
) -> None:
    import keras

    x = keras.Input((*[None] * rank, 2), name="x")
    model = keras.Model(x, getattr(keras.layers, f"Conv{rank}DTranspose")(3, **OPTIONS[name])(x))
    spec = _open(model, comparison, tmp_path / "model.onnx")
    for size in (1, 4, 7):
        images = [np.random.default_rng(size).normal(size=(2, *range(size, size + rank), 2)).astype("float32")]
        _assert_exact(model, spec, tmp_path / "model.onnx", images, comparison)
    made = _operators(tmp_path / "model.onnx")
    assert made["ConvTranspose"] == 1
    assert set(made) <= {"ConvTranspose", "Transpose", *([] if rank == 2 else ["Squeeze", "Unsqueeze", "Add"])}


@pytest.mark.parametrize("padding", ["VALID", "SAME", [[0, 0], [1, 0], [0, 1], [0, 0]]])
def test_one_of_a_size_that_only_the_model_knows_is_exact(padding: Any, comparison: Any, tmp_path: Path) -> None:
    import keras
    import tensorflow as tf

    class Like(keras.layers.Layer):  # type: ignore[misc]
        def build(self, *_: Any) -> None:
            self.kernel = self.add_weight(shape=(3, 2, 4, 2))
            self.bias = self.add_weight(shape=(4,))

        def call(self, images: Any, like: Any) -> Any:
            shape = [*tf.unstack(tf.shape(like))[:3], 4]
            return tf.nn.conv2d_transpose(images, self.kernel, shape, [2, 3], padding) + self.bias

        def compute_output_spec(self, images: Any, like: Any) -> Any:
            return keras.KerasTensor((None, None, None, 4))

    x, like = keras.Input((None, None, 2), name="x"), keras.Input((None, None, 1), name="like")
    model = keras.Model([x, like], Like(name="to_size")(x, like))
    spec = _open(model, comparison, tmp_path / "model.onnx")
    random = np.random.default_rng(0)
    wide = {"VALID": [(9, 11), (10, 13)], "SAME": [(7, 10), (8, 12)]}.get(str(padding), [(8, 12), (9, 12)])
    for height, width in wide:
        images = [random.normal(size=(2, *rest)).astype("float32") for rest in ((4, 4, 2), (height, width, 1))]
        _assert_exact(model, spec, tmp_path / "model.onnx", images, comparison)


@pytest.mark.parametrize("name", ["even, same", "long kernel", "short kernel", "output_padding, same"])
@pytest.mark.parametrize("size", [5, None], ids=["fixed size", "open size"])
def test_those_of_a_saved_model_are_exact(name: str, size: int | None, comparison: Any, tmp_path: Path) -> None:
    import keras
    import tensorflow as tf

    from keronyx.export import onnx, signature

    x = keras.Input((size, size, 2), name="x")
    model = comparison.randomise(keras.Model(x, keras.layers.Conv2DTranspose(3, **OPTIONS[name])(x)))
    model.export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    spec = signature.of_saved_model(loaded, "tiny", "tiny", "id", None, None, leave_open=True)
    onnx.convert(loaded, spec, tmp_path / "model.onnx")
    for height, width in [(5, 5)] if size else [(5, 5), (3, 8)]:
        images = [np.random.default_rng(0).normal(size=(2, height, width, 2)).astype("float32")]
        _assert_exact(model, spec, tmp_path / "model.onnx", images, comparison)

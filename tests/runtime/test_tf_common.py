"""What all TensorFlow rows have in common."""

from __future__ import annotations

import pytest

from keronyx.runtime.tf_common import load_flat_function
from keronyx.types import ModelSpec, SessionRequest, TensorSpec


@pytest.mark.slow
def test_an_output_in_bfloat16_is_handed_out_in_float32(tmp_path):
    import keras
    import numpy as np

    x = keras.Input((4,), name="x")
    model = keras.Model(x, keras.layers.Dense(3, dtype="mixed_bfloat16")(x))
    model.save(tmp_path / "model.keras")
    spec = ModelSpec("m", "", (TensorSpec("x", (1, 4), "float32"),), (TensorSpec("y", (1, 3), "float32"),), 0, "")
    given = np.ones((1, 4), "float32")
    (found,) = load_flat_function(SessionRequest(str(tmp_path / "model.keras"), spec, "cpu", 1))(given)
    assert found.dtype.name == "float32"
    assert np.array_equal(found.numpy(), model(given).numpy().astype("float32"))


@pytest.mark.slow
def test_called_eagerly_pixels_are_resized_as_in_a_graph(tmp_path):
    import keras
    import numpy as np
    import tensorflow as tf

    image = keras.Input((8, 9, 3), dtype="uint8", name="image")
    keras.Model(image, keras.layers.Resizing(6, 6)(image)).save(tmp_path / "model.keras")
    tensors = (TensorSpec("image", (1, 8, 9, 3), "uint8"),), (TensorSpec("y", (1, 6, 6, 3), "float32"),)
    called = load_flat_function(
        SessionRequest(str(tmp_path / "model.keras"), ModelSpec("m", "", *tensors, 0, ""), "cpu", 1)
    )
    given = np.random.default_rng(0).integers(0, 256, (1, 8, 9, 3)).astype("uint8")
    (found,), (traced,) = called(given), tf.function(called)(tf.constant(given))
    assert found.dtype == traced.dtype == tf.float32
    assert np.allclose(found, traced, atol=1e-3) and not np.array_equal(found, np.round(found))

"""Un-pooling with the indices of a pooling: exact, ties included, with operators TensorRT lists."""

from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow


def unpooled(size: tuple[int, int, int], pool: int, strides: int) -> Any:
    """A model that pools with indices and puts the values back where they were."""
    import keras
    import tensorflow as tf

    class Unpooled(keras.layers.Layer):
        def call(self, image: Any) -> Any:
            rounded = tf.round(image * 2)  # with ties
            values, places = tf.nn.max_pool_with_argmax(rounded, pool, strides, "VALID")
            batch, length = tf.shape(image)[0], int(np.prod(size))
            rows = tf.repeat(tf.range(batch, dtype=tf.int64), tf.size(places) // batch)
            at = tf.stack([rows, tf.reshape(places, [-1])], 1)
            back = tf.scatter_nd(at, tf.reshape(values, [-1]), tf.cast(tf.stack([batch, length]), tf.int64))
            return tf.reshape(back, [-1, *size])

    image = keras.Input(size, name="image")
    return keras.Model(image, Unpooled(name="unpool")(image))


@pytest.mark.parametrize("batch", [1, 3, None])
def test_windows_that_tile_the_image_keep_exact_indices_without_max_unpooling(to_onnx, batch):
    import onnx

    path, _, _ = to_onnx(unpooled((6, 9, 5), 3, 3), batch)
    operators = {node.op_type for node in onnx.load(str(path)).graph.node}
    assert "ArgMax" in operators and not {"MaxPool", "MaxUnpool"} & operators


def test_windows_that_leave_pixels_out_stay_a_pooling_with_indices(to_onnx):
    import onnx

    path, _, _ = to_onnx(unpooled((7, 7, 2), 3, 3), 1)
    assert "MaxPool" in {node.op_type for node in onnx.load(str(path)).graph.node}


@pytest.mark.parametrize(("height", "width"), [(2, 2), (4, 8)])
def test_indices_themselves_are_tensorflows(to_onnx, height, width):
    import keras
    import tensorflow as tf

    class Places(keras.layers.Layer):
        def call(self, image: Any) -> Any:
            return tf.nn.max_pool_with_argmax(tf.round(image), 2, 2, "SAME", output_dtype=tf.int32)[1]

    image = keras.Input((height, width, 3), name="image")
    _, spec, _ = to_onnx(keras.Model(image, Places(name="places")(image)), 2)
    assert spec.outputs[0].dtype == "int32"

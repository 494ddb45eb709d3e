"""Repeating rows and columns of images as nearest-neighbour resizing by whole factors.

Keras repeats one axis after another, which becomes a dozen Shape, Expand, Tile and Reshape nodes with transposes around
them that block the layout optimisation. As ONNX Resize (asymmetric, floor) it is one node in the layout of the
convolutions beside it, and one that TensorRT accepts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from keronyx.export.substitutions import Substitution
from keronyx.recast import replaced

RESIZABLE = frozenset({"float32", "int32", "uint8", "int8"})
"""What ONNX Runtime's Resize takes on CPU."""


@contextmanager
def _scope() -> Iterator[None]:
    import keras
    import tensorflow as tf

    original_2d = keras.layers.UpSampling2D._resize_images
    original_1d = keras.layers.UpSampling1D.call

    def nearest(x: Any, rows: int, columns: int) -> Any:
        height, width = x.shape[1], x.shape[2]
        if height is None or width is None:
            shape = tf.shape(x)
            height, width = shape[1], shape[2]
        return tf.raw_ops.ResizeNearestNeighbor(images=x, size=[height * rows, width * columns])

    def resize_images(
        self: Any, x: Any, rows: int, columns: int, data_format: str, interpolation: str = "nearest"
    ) -> Any:
        if interpolation != "nearest" or x.dtype.name not in RESIZABLE:
            return original_2d(self, x, rows, columns, data_format, interpolation=interpolation)
        if data_format == "channels_first":
            return tf.transpose(nearest(tf.transpose(x, [0, 2, 3, 1]), rows, columns), [0, 3, 1, 2])
        return nearest(x, rows, columns)

    def call_1d(self: Any, inputs: Any) -> Any:
        if inputs.dtype.name not in RESIZABLE:
            return original_1d(self, inputs)
        return tf.squeeze(nearest(tf.expand_dims(inputs, 1), 1, self.size), [1])

    with (
        replaced(keras.layers.UpSampling2D, "_resize_images", resize_images),
        replaced(keras.layers.UpSampling1D, "call", call_1d),
    ):
        yield


SUBSTITUTION = Substitution("upsampling", "nearest upsampling becomes a dozen nodes instead of a Resize", _scope)

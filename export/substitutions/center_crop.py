"""CenterCrop of images whose height or width is open, which Keras resizes instead where they are smaller.

Keras compares the sizes in Python, which has an answer for numbers alone: while tracing every open size counts as large
enough, and a smaller image would be cut somewhere. Here both come to one: a box, computed when the model runs, resized
to the size that is wanted; resizing a box of that size changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from keronyx.export.substitutions import Substitution
from keronyx.recast import replaced

WIDE = frozenset({"int32", "int64", "uint32", "uint64"})
"""Integers that float32, in which images are resized, does not hold: left to Keras."""


@contextmanager
def center_crop() -> Iterator[None]:
    """CenterCrop computes its box from the image's shape."""
    import keras
    import tensorflow as tf

    layer = keras.layers.CenterCrop
    original = layer.transform_images

    def transform_images(self: Any, images: Any, transformation: Any = None, training: bool = True) -> Any:
        rows = len(images.shape) - (3 if self.data_format == "channels_last" else 2)
        known = images.shape[rows : rows + 2]
        if None not in known or self.compute_dtype in WIDE:
            return original(self, images, transformation, training)
        images = self.backend.cast(images, self.compute_dtype)
        old = [tf.shape(images)[rows + axis] for axis in (0, 1)]
        wanted = [self.height, self.width]
        large = tf.logical_and(*(o >= new for o, new in zip(old, wanted, strict=True)))
        box: list[Any] = [slice(None)] * len(images.shape)
        for axis in (0, 1):
            shaped = old[1 - axis] * wanted[axis] // wanted[1 - axis]  # as long as the other side's whole length asks
            length = tf.where(large, wanted[axis], tf.maximum(tf.minimum(old[axis], shaped), 1))
            start = (old[axis] - length) // 2
            box[rows + axis] = slice(start, start + length)
        cut = images[tuple(box)]
        if not images.dtype.is_floating:  # Keras' resized pixels of integers are float32, and no others
            return self.backend.image.resize(tf.cast(cut, "float32"), wanted, data_format=self.data_format)
        made = self.backend.image.resize(cut, wanted, data_format=self.data_format)
        return self.backend.cast(made, self.compute_dtype)

    with replaced(layer, "transform_images", transform_images):
        yield


SUBSTITUTION = Substitution("center crop", "images of open sizes are taken for large enough", center_crop)

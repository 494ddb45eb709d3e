"""Resizing to a size that is known only when the model runs.

Keras asks `size[0] <= 0` before it resizes, which a tensor has no answer to while tracing: bilinear UpSampling2D of
images of any height and width cannot even be traced for TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from keronyx.export.substitutions import Substitution
from keronyx.recast import replaced


@contextmanager
def symbolic_sizes() -> Iterator[None]:
    """Keras resizes to tensors without that question."""
    import tensorflow as tf
    from keras.src.ops import image as image_ops

    original = image_ops.resize

    def resize(images: Any, size: Any, *args: Any, **kwargs: Any) -> Any:
        symbolic = not isinstance(size, int) and any(tf.is_tensor(s) for s in size) and tf.is_tensor(images)
        return (image_ops._resize if symbolic else original)(images, size, *args, **kwargs)

    with replaced(image_ops, "resize", resize):
        yield


SUBSTITUTION = Substitution(
    "symbolic sizes", "Keras compares the size of a resizing while it is a tensor", symbolic_sizes
)

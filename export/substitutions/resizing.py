"""Resizing whose sizes are known while tracing, as numbers instead of arithmetic on shapes.

Where the batch is open, Keras and TensorFlow compute scales and crop boxes from the shape when the model runs, although
height and width are fixed; then no converter knows them (`operators/resize.py` makes matrices of known ones).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from keronyx.export.substitutions import Substitution
from keronyx.recast import replaced

KERNELS = {"bilinear": "triangle", "bicubic": "keyscubic"}
"""Names of the antialiased methods' kernels, where they differ."""

ALWAYS_BY_KERNEL = frozenset({"lanczos3", "lanczos5", "gaussian", "mitchellcubic"})


@contextmanager
def _scope() -> Iterator[None]:
    import tensorflow as tf
    from keras.src import backend
    from keras.src.backend.tensorflow import image as keras_image

    original, keras_resize = tf.image.resize, keras_image.resize

    def resize(
        images: Any,
        size: Any,
        method: str = "bilinear",
        preserve_aspect_ratio: bool = False,
        antialias: bool = False,
        name: str | None = None,
    ) -> Any:
        images = tf.convert_to_tensor(images)
        new = tf.get_static_value(tf.convert_to_tensor(size))
        by_kernel = method in ALWAYS_BY_KERNEL or (antialias and method in KERNELS)
        if not by_kernel or preserve_aspect_ratio or new is None or None in images.shape[-3:-1]:
            return original(images, size, method, preserve_aspect_ratio, antialias, name)
        batched = images if len(images.shape) == 4 else images[None]
        old = np.array(batched.shape[1:3], np.float32)
        resized = tf.raw_ops.ScaleAndTranslate(
            images=batched,
            size=new.astype(np.int32),
            scale=new.astype(np.float32) / old,
            translation=[0.0, 0.0],
            kernel_type=KERNELS.get(method, method),
            antialias=antialias,
        )
        return resized if len(images.shape) == 4 else resized[0]

    def resize_in_keras(
        images: Any,
        size: Any,
        interpolation: str = "bilinear",
        antialias: bool = False,
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        data_format: str | None = None,
    ) -> Any:
        aspect = crop_to_aspect_ratio or pad_to_aspect_ratio
        rows = len(images.shape) - (3 if backend.standardize_data_format(data_format) == "channels_last" else 2)
        old = tuple(images.shape[rows : rows + 2])
        if pad_to_aspect_ratio and None in old and images.dtype.is_floating:
            images, pad_to_aspect_ratio = _padded(images, rows, size, fill_value), False
        elif aspect and None not in old and images.dtype.is_floating:
            wanted = [np.float32(old[1 - i] * size[i]) / np.float32(size[1 - i]) for i in (0, 1)]
            edges = [(int(w) - o) / 2 for w, o in zip(wanted, old, strict=True)]
            if crop_to_aspect_ratio:
                images = _cropped(images, rows, old, [max(1, min(int(w), o)) for w, o in zip(wanted, old, strict=True)])
            else:
                pads = [[0, 0] for _ in images.shape]
                pads[rows : rows + 2] = [[max(0, int(edge))] * 2 for edge in edges]
                images = tf.pad(images, pads, constant_values=fill_value)
            crop_to_aspect_ratio = pad_to_aspect_ratio = False
        return keras_resize(
            images,
            size,
            interpolation,
            antialias,
            crop_to_aspect_ratio,
            pad_to_aspect_ratio,
            fill_mode,
            fill_value,
            data_format,
        )

    with replaced(tf.image, "resize", resize), replaced(keras_image, "resize", resize_in_keras):
        yield


def _padded(images: Any, rows: int, size: Any, value: float) -> Any:
    """Images of open sizes with as much on both sides as Keras adds, which asks with branches whether it adds any."""
    import tensorflow as tf

    old = [tf.shape(images)[rows + i] for i in (0, 1)]
    wanted = [tf.cast(tf.cast(old[1 - i] * size[i], "float32") / size[1 - i], "int32") for i in (0, 1)]
    edges = [tf.maximum(w - o, 0) // 2 for w, o in zip(wanted, old, strict=True)]
    pads: list[list[Any]] = [[0, 0] for _ in images.shape]
    pads[rows : rows + 2] = [[edge, edge] for edge in edges]
    return tf.pad(images, pads, constant_values=value)


def _cropped(images: Any, rows: int, old: tuple[int, ...], new: list[int]) -> Any:
    """The middle `new` rows and columns."""
    starts = [(o - n) // 2 for o, n in zip(old, new, strict=True)]
    box = [slice(None)] * len(images.shape)
    box[rows : rows + 2] = [slice(start, start + n) for start, n in zip(starts, new, strict=True)]
    return images[tuple(box)]


SUBSTITUTION = Substitution(
    "resizing", "scales and boxes computed at run time although heights and widths are fixed", _scope
)

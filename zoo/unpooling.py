"""Max-pooling that remembers where each maximum was, and the un-pooling that puts values back there.

Written with nearest-neighbour upsampling, comparisons and products only: exact on ties (the first of the window wins,
row by row), few operators, and each has an ONNX counterpart that TensorRT takes, which MaxPool with indices, MaxUnpool
and scatter have not. All are Keras' own, so a saved network loads without any custom object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras


def max_pool_2x2(x: keras.KerasTensor, name: str) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Max-pooling 2x2 with stride 2 and where the maxima were.

    Args:
        x: (N, H, W, C), H and W even.
        name: prefix of the layers' and operations' names.

    Returns:
        The maxima (N, H/2, W/2, C), and a mask (N, H, W, C) in the dtype of `x`: 1 where each window's maximum was, at
        the first of equal ones, else 0.
    """
    from keras import layers, ops

    _, height, width, _ = x.shape
    # Of equal maxima, the one with the highest number here counts: 4 3 over 2 1, in every window.
    turns = np.tile(np.array([[4, 3], [2, 1]], x.dtype), (height // 2, width // 2))[None, :, :, None]
    maxima = layers.MaxPooling2D(2, name=f"{name}_pool")(x)
    hits = named(ops.equal(x, layers.UpSampling2D(2, name=f"{name}_maxima")(maxima)), f"{name}_hits")
    hits = named(ops.multiply(named(ops.cast(hits, x.dtype), f"{name}_hits_cast"), turns), f"{name}_turns")
    first = layers.UpSampling2D(2, name=f"{name}_first")(layers.MaxPooling2D(2, name=f"{name}_first_pool")(hits))
    mask = named(ops.equal(hits, first), f"{name}_places")
    return maxima, named(ops.cast(mask, x.dtype), f"{name}_mask")


def max_unpool_2x2(x: keras.KerasTensor, mask: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Put each value back where its maximum was; zero elsewhere.

    Args:
        x: (N, h, w, C).
        mask: what `max_pool_2x2` returned, (N, 2h, 2w, C) in the dtype of `x`.
        name: prefix of the layers' and operations' names.

    Returns:
        (N, 2h, 2w, C) in the dtype of `x`.
    """
    from keras import layers, ops

    return named(ops.multiply(layers.UpSampling2D(2, name=f"{name}_spread")(x), mask), f"{name}_unpool")


def named(tensor: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Name the keras.ops operation that made `tensor`, so that two builds in one process are called the same.

    Layers take a name; operations do not, and Keras would number them through the life of the process.
    """
    tensor._keras_history.operation.name = name
    return tensor

"""Max-pooling that remembers where each maximum was, and the un-pooling that puts values back there.

Written with slices, comparisons and selections only: exact on ties (the first of the window wins, row by row), and
every operator has an ONNX counterpart that TensorRT takes, which MaxPool with indices, MaxUnpool and scatter have not.
All are Keras' own operations, so a saved network loads without any custom object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Row and column inside a 2x2 window, in the order in which ties are decided."""


def max_pool_2x2(x: keras.KerasTensor, name: str) -> tuple[keras.KerasTensor, list[keras.KerasTensor]]:
    """Max-pooling 2x2 with stride 2 and where the maxima were.

    Args:
        x: (N, H, W, C), H and W even.
        name: prefix of the layers' and operations' names.

    Returns:
        The maxima (N, H/2, W/2, C) and four boolean masks of that shape, one for each of CORNERS: exactly one of them
        is true at each place.
    """
    from keras import layers, ops

    maxima = layers.MaxPooling2D(2, name=f"{name}_pool")(x)
    masks: list[keras.KerasTensor] = []
    taken = None
    for i, (row, column) in enumerate(CORNERS[:-1], 1):
        corner = named(x[:, row::2, column::2, :], f"{name}_corner{i}")
        hit = named(ops.equal(corner, maxima), f"{name}_hit{i}")
        if taken is None:
            masks.append(hit)
            taken = hit
        else:
            free = named(ops.logical_not(taken), f"{name}_free{i}")
            masks.append(named(ops.logical_and(hit, free), f"{name}_mask{i}"))
            taken = named(ops.logical_or(hit, taken), f"{name}_taken{i}")
    # Whatever no earlier corner holds is in the last one.
    masks.append(named(ops.logical_not(taken), f"{name}_mask{len(CORNERS)}"))
    return maxima, masks


def max_unpool_2x2(x: keras.KerasTensor, masks: list[keras.KerasTensor], name: str) -> keras.KerasTensor:
    """Put each value back where its maximum was; zero elsewhere.

    Args:
        x: (N, h, w, C).
        masks: what `max_pool_2x2` returned, each (N, h, w, C).
        name: prefix of the layers' and operations' names.

    Returns:
        (N, 2h, 2w, C) in the dtype of `x`.
    """
    from keras import layers, ops

    _, height, width, channels = x.shape
    corners = []
    for i, mask in enumerate(masks, 1):
        # A product rather than ops.where, which tf2onnx spells out as two products, a negation and a sum.
        factor = named(ops.cast(mask, x.dtype), f"{name}_factor{i}")
        corners.append(named(ops.multiply(x, factor), f"{name}_place{i}"))
    # In NHWC memory, [left | right] along channels is already the row of twice the width: reshaping moves nothing.
    rows = []
    for i, pair in enumerate((corners[:2], corners[2:]), 1):
        row = layers.Concatenate(axis=-1, name=f"{name}_columns{i}")(pair)
        rows.append(layers.Reshape((height, 2 * width, channels), name=f"{name}_row{i}")(row))
    both = layers.Concatenate(axis=2, name=f"{name}_rows")(rows)
    return layers.Reshape((2 * height, 2 * width, channels), name=f"{name}_unpool")(both)


def named(tensor: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Name the keras.ops operation that made `tensor`, so that two builds in one process are called the same.

    Layers take a name; operations do not, and Keras would number them through the life of the process.
    """
    tensor._keras_history.operation.name = name
    return tensor

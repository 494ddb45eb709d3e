"""Operations of `keras.ops` used between layers."""

from __future__ import annotations

from typing import Any

from benchmarks.families.building import network


@network()
def argmax_mask() -> Any:
    """A segmentation network that answers with the mask of classes."""
    from keras import Input, Model, layers, ops

    x = Input((12, 16, 3), name="image")
    y = layers.Conv2D(4, 3, padding="same", activation="softmax")(x)
    return Model(x, {"mask": ops.argmax(y, axis=-1), "confidence": ops.max(y, axis=-1)})


@network()
def arithmetic() -> Any:
    from keras import Input, Model, ops

    x, y = Input((4, 6), name="x"), Input((4, 6), name="y")
    z = ops.sqrt(ops.abs(x) + 1.0) - ops.square(y) / (1.0 + ops.exp(-x))
    return Model([x, y], [z, ops.where(x > y, ops.sin(x), ops.clip(y, -1, 1)), ops.power(ops.abs(x), 1.5)])


@network()
def shapes() -> Any:
    from keras import Input, Model, ops

    x = Input((4, 6, 2), name="x")
    y = ops.concatenate([ops.flip(x, axis=1), ops.roll(x, 2, axis=2)], axis=-1)
    y = ops.pad(ops.transpose(y, (0, 2, 1, 3)), ((0, 0), (1, 2), (0, 0), (0, 0)))
    return Model(x, [ops.tile(y[:, ::2], (1, 1, 2, 1)), ops.stack(ops.split(x, 2, axis=1), axis=1)])


@network()
def reductions() -> Any:
    from keras import Input, Model, ops

    x = Input((5, 7), name="x")
    return Model(
        x,
        [
            ops.mean(x, axis=1),
            ops.var(x, axis=-1),
            ops.logsumexp(x, axis=-1),
            ops.cumsum(x, axis=1),
            ops.norm(x, axis=-1),
            ops.prod(x, axis=1),
        ],
    )


@network()
def top_k_and_sort() -> Any:
    from keras import Input, Model, ops

    x = Input((12,), name="x")
    values, places = ops.top_k(x, 3)
    return Model(x, {"values": values, "places": places, "sorted": ops.sort(x, axis=-1)})


@network()
def gather_and_one_hot() -> Any:
    from keras import Input, Model, ops

    x, where = Input((10, 4), name="x"), Input((3,), dtype="int32", name="where")
    taken = ops.take_along_axis(x, ops.expand_dims(where, -1), axis=1)
    return Model([x, where], [taken, ops.one_hot(where, 8)])


@network()
def einsum_and_matmul() -> Any:
    from keras import Input, Model, ops

    a, b = Input((5, 6), name="a"), Input((6, 4), name="b")
    product = ops.matmul(a, b)
    return Model([a, b], [product, ops.einsum("bij,bkj->bik", product, product)])


@network()
def fourier() -> Any:
    from keras import Input, Model, ops

    x = Input((32,), name="signal")
    real, imaginary = ops.rfft(x)
    return Model(x, ops.sqrt(real**2 + imaginary**2))

"""Dtype policies and inputs that are not float32."""

from __future__ import annotations

from typing import Any

from benchmarks.families.building import network


def _small(policy: str, last: str | None = None) -> Any:
    import keras
    from keras import Input, Model, layers

    keras.config.set_dtype_policy(policy)
    x = Input((12, 12, 3), name="image")
    y = layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
    y = layers.MaxPooling2D()(layers.ReLU()(layers.BatchNormalization()(y)))
    y = layers.GlobalAveragePooling2D()(layers.DepthwiseConv2D(3)(y))
    return Model(x, layers.Dense(4, activation="softmax", dtype=last, name="classes")(y))


@network()
def float64_policy() -> Any:
    return _small("float64")


@network()
def float16_policy() -> Any:
    return _small("float16")


@network()
def bfloat16_policy() -> Any:
    return _small("bfloat16", last="float32")


@network()
def mixed_float16() -> Any:
    return _small("mixed_float16", last="float32")


@network()
def mixed_bfloat16() -> Any:
    return _small("mixed_bfloat16", last="float32")


@network()
def mixed_float16_transformer() -> Any:
    import keras
    from keras import Input, Model, layers

    from benchmarks.families.attention import _block

    keras.config.set_dtype_policy("mixed_float16")
    x = Input((6, 16), name="tokens")
    return Model(x, layers.Dense(3, dtype="float32")(_block(x)))


@network()
def float64_lstm() -> Any:
    import keras
    from keras import Input, Model, layers

    keras.config.set_dtype_policy("float64")
    x = Input((7, 3), dtype="float64", name="x")
    return Model(x, layers.Dense(2)(layers.LSTM(5)(x)))


@network()
def uint8_image() -> Any:
    from keras import Input, Model, layers

    x = Input((16, 16, 3), dtype="uint8", name="image")
    return Model(x, layers.GlobalAveragePooling2D()(layers.Conv2D(6, 3)(layers.Rescaling(1 / 127.5, offset=-1)(x))))


@network()
def float16_input() -> Any:
    from keras import Input, Model, layers

    x = Input((16,), dtype="float16", name="x")
    return Model(x, layers.Dense(4)(layers.Rescaling(2.0)(x)))


@network()
def integer_arithmetic() -> Any:
    from keras import Input, Model, ops

    a, b = Input((5,), dtype="int32", name="a"), Input((5,), dtype="int32", name="b")
    return Model([a, b], {"sum": a + b, "less": ops.less(a, b), "largest": ops.max(a * b, axis=-1)})

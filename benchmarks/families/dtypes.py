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
def mixed_bfloat16_transformer() -> Any:
    import keras
    from keras import Input, Model, layers

    from benchmarks.families.attention import _block

    keras.config.set_dtype_policy("mixed_bfloat16")
    x = Input((6, 16), name="tokens")
    return Model(x, layers.Dense(3, dtype="float32")(_block(x)))


@network()
def mixed_bfloat16_recurrent() -> Any:
    """Ends in bfloat16."""
    import keras
    from keras import Input, Model, layers

    keras.config.set_dtype_policy("mixed_bfloat16")
    x = Input((7, 3), name="x")
    y = layers.Bidirectional(layers.GRU(4, return_sequences=True))(x)
    return Model(x, layers.Dense(2)(layers.LSTM(5)(y)))


@network()
def bfloat16_sequential() -> Any:
    """Begins and ends in bfloat16: Keras makes the Input in what the first layer computes in."""
    import keras
    from keras import layers

    keras.config.set_dtype_policy("bfloat16")
    model = keras.Sequential([layers.Conv1D(6, 3, activation="gelu"), layers.Flatten(), layers.Dense(3)])
    model.build((None, 9, 2))
    return model


@network()
def mixed_bfloat16_subclassed() -> Any:
    import keras
    import numpy as np
    from keras import layers, ops

    class Gated(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="gated")
            self.first, self.gate = layers.Conv2D(6, 3, padding="same"), layers.Conv2D(6, 3, padding="same")
            self.last = layers.Dense(3, dtype="float32")

        def call(self, x: Any) -> Any:
            y = self.first(x) * ops.sigmoid(self.gate(x))
            return self.last(ops.mean(y, axis=(1, 2)))

    keras.config.set_dtype_policy("mixed_bfloat16")
    model = Gated()
    model(np.ones((1, 8, 8, 3), "float32"))
    return model


@network()
def float64_transposed() -> Any:
    """Transposed convolution, pooling and resizing in float64, of an input in float64."""
    import keras
    from keras import Input, Model, layers

    keras.config.set_dtype_policy("float64")
    x = Input((8, 8, 3), dtype="float64", name="image")
    y = layers.AveragePooling2D(2)(layers.Conv2DTranspose(4, 3, strides=2, padding="same", activation="elu")(x))
    return Model(x, layers.UpSampling2D(interpolation="bilinear")(y))


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

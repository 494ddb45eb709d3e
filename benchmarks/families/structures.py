"""How models are put together: Functional, Sequential, subclassed, nested, shared, many inputs and outputs."""

from __future__ import annotations

from typing import Any

from benchmarks.families.building import network


@network()
def functional() -> Any:
    from keras import Input, Model, layers

    x = Input((8,), name="features")
    y = layers.Dense(16, activation="relu", name="hidden")(x)
    return Model(x, layers.Dense(3, activation="softmax", name="classes")(layers.BatchNormalization()(y)))


@network()
def sequential() -> Any:
    from keras import Input, Sequential, layers

    return Sequential(
        [
            Input((12, 12, 3)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(4),
        ]
    )


@network()
def sequential_without_input() -> Any:
    """Built by its first call, as many tutorials do."""
    import numpy as np
    from keras import Sequential, layers

    model = Sequential([layers.Dense(8, activation="relu"), layers.Dense(2)])
    model(np.zeros((1, 5), np.float32))
    return model


@network()
def subclassed() -> Any:
    import keras
    import numpy as np

    @keras.saving.register_keras_serializable("benchmarks")
    class Subclassed(keras.Model):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.conv = keras.layers.Conv2D(8, 3, padding="same", activation="relu")
            self.pool = keras.layers.GlobalAveragePooling2D()
            self.head = keras.layers.Dense(5)

        def call(self, image: Any) -> Any:
            return self.head(self.pool(self.conv(image)))

    model = Subclassed()
    model(np.zeros((1, 10, 10, 3), np.float32))
    return model


@network()
def subclassed_dict() -> Any:
    """Takes and gives dictionaries."""
    import keras
    import numpy as np

    @keras.saving.register_keras_serializable("benchmarks")
    class SubclassedDict(keras.Model):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.left, self.right = keras.layers.Dense(4), keras.layers.Dense(6)

        def call(self, given: Any) -> Any:
            return {"sum": self.left(given["a"]) + self.left(given["b"]), "right": self.right(given["b"])}

    model = SubclassedDict()
    model({"a": np.zeros((1, 3), np.float32), "b": np.zeros((1, 3), np.float32)})
    return model


@network()
def custom_layer() -> Any:
    """A layer of the user's own inside a Functional model."""
    import keras
    from keras import Input, Model, ops

    @keras.saving.register_keras_serializable("benchmarks")
    class Scale(keras.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.scale = self.add_weight(shape=(shape[-1],), name="scale")

        def call(self, x: Any) -> Any:
            return ops.tanh(x) * self.scale

    x = Input((7,))
    return Model(x, Scale(name="scaled")(x))


@network()
def nested() -> Any:
    from keras import Input, Model, Sequential, layers

    inner = Sequential([Input((8, 8, 4)), layers.Conv2D(4, 3, padding="same"), layers.ReLU()], name="inner")
    inside = Input((8, 8, 3))
    outer = Model(inside, inner(layers.Conv2D(4, 1)(inside)), name="outer")
    x = Input((8, 8, 3), name="image")
    return Model(x, layers.GlobalMaxPooling2D(name="top")(outer(x)))


@network()
def shared_layers() -> Any:
    """One encoder applied to two inputs."""
    from keras import Input, Model, layers

    left, right = Input((6,), name="left"), Input((6,), name="right")
    dense = layers.Dense(5, activation="tanh")
    return Model([left, right], layers.Dot(axes=-1, normalize=True, name="similarity")([dense(left), dense(right)]))


@network()
def shared_model() -> Any:
    from keras import Input, Model, Sequential, layers

    encoder = Sequential([Input((9,)), layers.Dense(6), layers.BatchNormalization(), layers.ReLU()], name="encoder")
    a, b = Input((9,), name="anchor"), Input((9,), name="other")
    return Model([a, b], layers.Subtract(name="difference")([encoder(a), encoder(b)]))


@network()
def inputs_and_outputs() -> Any:
    from keras import Input, Model, layers

    image, facts = Input((8, 8, 3), name="zebra"), Input((4,), name="ant")
    x = layers.Flatten()(layers.Conv2D(4, 3, strides=2)(image))
    joined = layers.Concatenate()([x, layers.Dense(4)(facts)])
    return Model([image, facts], [layers.Dense(3, name="zeta")(joined), layers.Dense(2, name="alpha")(joined)])


@network()
def dictionaries() -> Any:
    from keras import Input, Model, layers

    given = {"price": Input((3,), name="price"), "age": Input((2,), name="age")}
    x = layers.Concatenate()([given["price"], given["age"]])
    return Model(given, {"value": layers.Dense(2)(x), "risk": layers.Dense(1, activation="sigmoid")(x)})


@network()
def nested_structures() -> Any:
    from keras import Input, Model, layers

    a, b, c = Input((3,), name="a"), Input((3,), name="b"), Input((3,), name="c")
    total = layers.Add()([a, b, c])
    outputs = {"top": layers.Dense(2)(total), "pair": [layers.Dense(3)(a), layers.Dense(4)(b)]}
    return Model({"first": a, "rest": [b, c]}, outputs)


@network()
def same_tensor_twice() -> Any:
    from keras import Input, Model, layers

    x = Input((4,), name="x")
    y = layers.Dense(3, name="y")(x)
    return Model(x, [y, y])


@network()
def input_passed_through() -> Any:
    from keras import Input, Model, layers

    x = Input((4,), name="x")
    return Model(x, {"features": x, "score": layers.Dense(1)(x)})


@network("--batch", "dynamic")
def dynamic_batch() -> Any:
    from keras import Input, Model, layers

    x = Input((10, 10, 2), name="image")
    y = layers.Conv2D(6, 3, padding="same", activation="relu")(x)
    y = layers.Reshape((25, 4, 6))(y)
    return Model(x, layers.Dense(3)(layers.Flatten()(y)))


@network("--batch", "4")
def batch_of_four() -> Any:
    from keras import Input, Model, layers

    x = Input((6, 5), name="x")
    return Model(x, layers.Dense(2)(layers.Permute((2, 1))(x)))


@network()
def residual() -> Any:
    from keras import Input, Model, layers

    x = Input((16, 16, 8), name="image")
    y = layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    y = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same")(y))
    y = layers.ReLU()(layers.Add()([x, y]))
    gate = layers.Dense(8, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(y))
    return Model(x, layers.Multiply()([y, gate]))


@network()
def no_weights() -> Any:
    from keras import Input, Model, layers

    a, b = Input((3, 4), name="a"), Input((3, 4), name="b")
    merged = [layers.Maximum()([a, b]), layers.Minimum()([a, b]), layers.Average()([a, b]), layers.Multiply()([a, b])]
    return Model([a, b], layers.RepeatVector(2)(layers.Flatten()(layers.Concatenate(axis=1)(merged))))

"""Activations, exact GELU first."""

from __future__ import annotations

from typing import Any

from benchmarks.families.building import network

PLAIN = ("elu", "exponential", "hard_sigmoid", "hard_silu", "leaky_relu", "log_softmax", "relu", "relu6", "selu")
SMOOTH = ("sigmoid", "silu", "softmax", "softplus", "softsign", "tanh", "linear", "log_sigmoid")
PIECEWISE = ("hard_shrink", "hard_tanh", "soft_shrink", "tanh_shrink", "sparse_plus", "sparse_sigmoid")


def _each(names: tuple[str, ...]) -> Any:
    from keras import Input, Model, layers

    x = Input((6, 12), name="x")
    y = layers.Dense(12)(x)
    return Model(x, [layers.Activation(name, name=name)(y) for name in names])


@network()
def plain() -> Any:
    return _each(PLAIN)


@network()
def smooth() -> Any:
    return _each(SMOOTH)


@network()
def piecewise() -> Any:
    return _each(PIECEWISE)


@network()
def gelu_exact() -> Any:
    from keras import Input, Model, layers

    x = Input((6, 12), name="x")
    return Model(x, layers.Dense(5)(layers.Dense(24, activation="gelu", name="hidden")(x)))


@network()
def gelu_approximate() -> Any:
    from keras import Input, Model, activations, layers

    x = Input((12,), name="x")
    return Model(x, activations.gelu(layers.Dense(24)(x), approximate=True))


@network()
def celu() -> Any:
    return _each(("celu",))


@network()
def mish() -> Any:
    return _each(("mish",))


@network()
def glu_and_squareplus() -> Any:
    return _each(("glu", "squareplus"))


@network()
def sparsemax() -> Any:
    return _each(("sparsemax",))


@network()
def layers_with_slopes() -> Any:
    from keras import Input, Model, layers

    x = Input((8, 8, 4), name="image")
    y = layers.LeakyReLU(negative_slope=0.2)(layers.Conv2D(4, 3)(x))
    y = layers.ELU(alpha=0.7)(layers.Conv2D(4, 1)(y))
    return Model(x, layers.Softmax(axis=1)(layers.ReLU(max_value=3.0, negative_slope=0.1, threshold=0.2)(y)))


@network()
def prelu_shared() -> Any:
    """One slope a channel."""
    from keras import Input, Model, layers

    x = Input((16, 16, 4), name="image")
    y = layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(8, 3, padding="same")(x))
    return Model(x, layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(8, 3, strides=2)(y)))


@network()
def prelu_per_pixel() -> Any:
    from keras import Input, Model, layers

    x = Input((16, 16, 4), name="image")
    y = layers.PReLU()(layers.Conv2D(8, 3, padding="same")(x))
    return Model(x, layers.Conv2D(3, 3, strides=2)(y))


@network()
def prelu_dense() -> Any:
    from keras import Input, Model, layers

    x = Input((9,), name="x")
    return Model(x, layers.Dense(4)(layers.PReLU()(layers.Dense(16)(x))))

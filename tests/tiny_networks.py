"""Two networks of a few hundred weights, each with its own forward pass in numpy: an oracle that shares no code."""

from __future__ import annotations

from typing import Any

import numpy as np

HEIGHT, WIDTH, CLASSES, EPSILON = 16, 24, 3, 1e-3


def _weights() -> dict[str, Any]:
    random = np.random.default_rng(5)

    def draw(*shape: int) -> Any:
        return random.normal(0, 0.3, shape).astype("float32")

    return {
        "a": [draw(3, 3, 3, 4) / 100, draw(4)],
        "bn": [1 + draw(4), draw(4), draw(4), 0.5 + abs(draw(4))],  # gamma, beta, moving mean, moving variance
        "b": [draw(3, 3, 4, CLASSES), draw(CLASSES)],
        "hidden": [draw(14, 5), draw(5)],
        "wide": [draw(5, 4), draw(4)],
        "narrow": [draw(5, 2), draw(2)],
    }


def segmenter() -> Any:
    """image (N, 16, 24, 3) float32 -> probabilities (N, 16, 24, 3): two convolutions with a BatchNorm between."""
    import keras

    image = keras.Input((HEIGHT, WIDTH, 3), name="image")
    x = keras.layers.Conv2D(4, 3, padding="same", name="a")(image)
    x = keras.layers.BatchNormalization(epsilon=EPSILON, name="bn")(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.Conv2D(CLASSES, 3, padding="same", activation="softmax", name="b")(x)
    return _filled(keras.Model(image, keras.layers.Identity(name="probabilities")(x), name="segmenter"))


def two_headed() -> Any:
    """zeta (N, 8), alpha (N, 6) -> why (N, 4), first (N, 2), in that order, which is not the alphabet's."""
    import keras

    zeta, alpha = keras.Input((8,), name="zeta"), keras.Input((6,), name="alpha")
    x = keras.layers.Dense(5, activation="tanh", name="hidden")(keras.layers.Concatenate()([zeta, alpha]))
    why = keras.layers.Identity(name="why")(keras.layers.Dense(4, name="wide")(x))
    first = keras.layers.Identity(name="first")(keras.layers.Dense(2, name="narrow")(x))
    return _filled(keras.Model([zeta, alpha], [why, first], name="two_headed"))


def _filled(model: Any) -> Any:
    for name, weights in _weights().items():
        if name in [layer.name for layer in model.layers]:
            model.get_layer(name).set_weights(weights)
    return model


def segmenter_in_numpy(image: Any) -> list[Any]:
    """What `segmenter` answers, in float64."""
    w = _weights()
    x = _convolve(image.astype("float64"), *w["a"])
    gamma, beta, mean, variance = w["bn"]
    x = np.maximum(gamma * (x - mean) / np.sqrt(variance + EPSILON) + beta, 0)
    e = np.exp((x := _convolve(x, *w["b"])) - x.max(-1, keepdims=True))
    return [e / e.sum(-1, keepdims=True)]


def _convolve(x: Any, kernel: Any, bias: Any) -> Any:
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    h, w = x.shape[1:3]
    return bias + sum(padded[:, i : i + h, j : j + w] @ kernel[i, j] for i in range(3) for j in range(3))


def two_headed_in_numpy(zeta: Any, alpha: Any) -> list[Any]:
    """What `two_headed` answers, in float64."""
    w = _weights()
    x = np.tanh(np.concatenate([zeta, alpha], -1).astype("float64") @ w["hidden"][0] + w["hidden"][1])
    return [x @ w["wide"][0] + w["wide"][1], x @ w["narrow"][0] + w["narrow"][1]]

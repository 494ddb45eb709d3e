"""Every architecture of keras.applications once, at 224x224, with weights that keep the signal's size."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from benchmarks.families.building import SEED

NAMES = (
    *("ConvNeXtTiny", "DenseNet121", "EfficientNetB0", "EfficientNetV2B0", "InceptionResNetV2", "InceptionV3"),
    *("MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large", "NASNetMobile", "ResNet50", "ResNet50V2"),
    *("VGG16", "Xception"),
)
LOGIT_DEVIATION = 2.0
"""Standard deviation of the logits on the image that the weights are drawn with."""

LEAST_VARIANCE = 0.1
"""Added to BatchNorm's: a pixel alone, behind global pooling, has none, and would be scaled up without end."""


def lively(name: str) -> Any:
    """The architecture with He normal kernels, random biases, BatchNorm's statistics those of an image of noise, and
    a last layer under which no output is flat."""
    import keras

    keras.utils.set_random_seed(SEED)
    model = getattr(keras.applications, name)(weights=None, input_shape=(224, 224, 3))
    random = np.random.default_rng(SEED)
    for layer in model._flatten_layers():
        for variable in () if isinstance(layer, keras.layers.Normalization) else layer._trainable_variables:
            variable.assign(_weight(random, variable.name, tuple(variable.shape)))
    image = random.uniform(0, 255, (1, 224, 224, 3)).astype(np.float32)
    normalizations = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in normalizations]
    for layer in normalizations:
        layer.momentum = 0.0
    if normalizations:
        model(image, training=True)
    for layer, momentum in zip(normalizations, momenta, strict=True):
        layer.momentum = momentum
        layer.moving_variance.assign(layer.moving_variance + LEAST_VARIANCE)
    _scale_last(model, image, random)
    return model


def _weight(random: np.random.Generator, name: str, shape: tuple[int, ...]) -> Any:
    if name == "gamma":
        return random.uniform(0.7, 1.3, shape)
    if len(shape) < 2:
        return random.normal(0, 0.1, shape)
    fan_in = prod(shape[:2]) if name == "depthwise_kernel" else prod(shape[:-1])
    return random.normal(0, np.sqrt(2 / fan_in), shape)


def _scale_last(model: Any, image: Any, random: np.random.Generator) -> None:
    """The last kernel scaled so that the logits of `image` deviate by LOGIT_DEVIATION."""
    import keras

    last = next(layer for layer in reversed(model.layers) if layer.weights)
    features = keras.Model(model.input, last.input)(image, training=False)
    deviation = float(np.sqrt(np.mean(np.square(np.asarray(features)), dtype=np.float64)))
    kernel = last.kernel
    scale = LOGIT_DEVIATION / (deviation * np.sqrt(prod(kernel.shape[:-1])))
    kernel.assign(random.normal(0, scale, tuple(kernel.shape)))


def _builder(name: str) -> Any:
    def build() -> Any:
        return lively(name)

    build.__name__ = name
    build.__doc__ = f"keras.applications.{name}."
    build.options = ()  # type: ignore[attr-defined]
    return build


globals().update({name: _builder(name) for name in NAMES})

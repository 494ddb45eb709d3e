"""Seeded initial weights under which a network behaves like a trained one: every layer matters, no output is flat.

Keras' own start (BatchNorm as the identity, zero biases, a softmax near 1/3) would hide what a faulty conversion does
to statistics, biases and class order.
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING

import numpy as np

from keronyx.types import Array
from keronyx.zoo import scenes

if TYPE_CHECKING:
    import keras

SCENES = 2
"""Number of road scenes that BatchNorm's statistics and the scale of the logits are taken from."""
LOGIT_DEVIATION = 2.0
"""Standard deviation of each class's logit over those scenes; the largest probability is then about 0.75."""


def initialise(model: keras.Model, seed: int) -> None:
    """Give a network of the zoo its initial weights, in place.

    Kernels are He normal (He et al. 2015, arXiv 1502.01852), the rest random around its usual value; BatchNorm's
    moving statistics are those of a batch of road scenes, and the layer `logits` is scaled so that each class's logit
    has mean 0 and standard deviation LOGIT_DEVIATION over it. Before that, a weight depends on the seed, its layer's
    name and its shape only, not on the order in which layers were made.
    """
    for layer in model.layers:
        if layer.weights:
            layer.set_weights([_initial(layer, weight, seed) for weight in layer.weights])
    images, _ = scenes.batch(SCENES, model.input.shape[1], model.input.shape[2], seed)
    # One image at a time: eagerly, every activation lives until the call ends, 1.3 GiB an image in the full U-Net.
    singles = np.split(images, SCENES)
    _record_statistics(model, singles)
    _scale_logits(model, singles)


def _initial(layer: keras.layers.Layer, weight: keras.Variable, seed: int) -> Array:
    """One weight as float32, chosen by what Keras calls it."""
    shape, kind = tuple(weight.shape), weight.name
    rng = np.random.default_rng([seed, zlib.crc32(f"{layer.name}/{kind}".encode())])
    if kind == "kernel":
        return rng.standard_normal(shape, np.float32) * np.float32(math.sqrt(2 / _fan_in(layer, shape)))
    if kind in ("bias", "beta"):
        return rng.standard_normal(shape, np.float32) * np.float32(0.1)
    if kind == "gamma":
        return rng.uniform(0.7, 1.3, shape).astype(np.float32)
    if kind == "alpha":
        return rng.uniform(0.1, 0.4, shape).astype(np.float32)
    # BatchNorm's moving statistics: replaced as soon as the scenes have been through.
    return np.full(shape, 1.0 if kind == "moving_variance" else 0.0, np.float32)


def _fan_in(layer: keras.layers.Layer, shape: tuple[int, ...]) -> float:
    """Inputs that each output sums over. A transposed kernel is (kh, kw, out, in) and its stride spreads it out."""
    if type(layer).__name__ == "Conv2DTranspose":
        return float(shape[0] * shape[1] * shape[3] / math.prod(layer.strides))
    return math.prod(shape[:-1])


def _record_statistics(model: keras.Model, images: list[Array]) -> None:
    """Make BatchNorm's moving statistics the mean of those of each image; nothing is dropped meanwhile."""
    normalisations = [layer for layer in model.layers if type(layer).__name__ == "BatchNormalization"]
    dropouts = [layer for layer in model.layers if type(layer).__name__ == "SpatialDropout2D"]
    momenta = [layer.momentum for layer in normalisations]
    rates = [layer.rate for layer in dropouts]
    for layer in dropouts:
        layer.rate = 0.0
    for i, image in enumerate(images):
        for layer in normalisations:
            layer.momentum = i / (i + 1)
        model(image, training=True)
    for layer, momentum in zip(normalisations, momenta, strict=True):
        layer.momentum = momentum
    for layer, rate in zip(dropouts, rates, strict=True):
        layer.rate = rate


def _scale_logits(model: keras.Model, images: list[Array]) -> None:
    """Rescale the last layer so that each class's logit has mean 0 and deviation LOGIT_DEVIATION over the images."""
    import keras

    layer = model.get_layer("logits")
    to_logits = keras.Model(model.input, layer.output)
    logits = np.concatenate([keras.ops.convert_to_numpy(to_logits(image)) for image in images]).astype(np.float64)
    mean, deviation = logits.mean((0, 1, 2)), logits.std((0, 1, 2))
    # A network of very few filters can have a dead class; it keeps its scale.
    scale = LOGIT_DEVIATION / np.where(deviation > 1e-3, deviation, LOGIT_DEVIATION)
    kernel, bias = layer.get_weights()
    classes_last = type(layer).__name__ != "Conv2DTranspose"
    by_class = scale if classes_last else scale[:, None]
    layer.set_weights([(kernel * by_class).astype(kernel.dtype), ((bias - mean) * scale).astype(bias.dtype)])

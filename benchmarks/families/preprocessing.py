"""Preprocessing and augmentation layers inside the model."""

from __future__ import annotations

from typing import Any

from benchmarks.families.building import network
from benchmarks.families.convolutions import _stack

WORDS = ["alpha", "beta", "gamma", "delta"]


def _of(dtype: str, layer: Any, shape: tuple[int, ...] = (4,)) -> Any:
    from keras import Input, Model

    x = Input(shape, dtype=dtype, name="x")
    return Model(x, layer(x))


@network()
def rescaling_and_crop() -> Any:
    from keras import layers

    return _stack(
        (16, 18, 3), layers.CenterCrop(12, 10), layers.Rescaling([0.1, 0.2, 0.3], offset=-1), layers.Conv2D(2, 3)
    )


@network()
def uint8_resizing() -> Any:
    """Pixels become floats before they are resized, as in `predict`: called eagerly Keras would round them."""
    from keras import Input, Model, layers

    image = Input((8, 9, 3), dtype="uint8", name="image")
    return Model(image, layers.Resizing(6, 6)(image))


@network()
def augmentation() -> Any:
    """Random layers are the identity at inference."""
    from keras import layers

    return _stack(
        (16, 16, 3),
        layers.RandomFlip(),
        layers.RandomRotation(0.1),
        layers.RandomZoom(0.1),
        layers.RandomTranslation(0.1, 0.1),
        layers.RandomContrast(0.2),
        layers.RandomBrightness(0.2),
        layers.GaussianNoise(0.1),
        layers.Conv2D(4, 3),
        layers.SpatialDropout2D(0.2),
    )


@network()
def random_crop() -> Any:
    """Which crops the centre at inference."""
    from keras import layers

    return _stack((16, 20, 3), layers.RandomCrop(12, 12), layers.Conv2D(2, 3))


@network()
def discretization() -> Any:
    from keras import layers

    return _of("float32", layers.Discretization(bin_boundaries=[-1.0, 0.0, 0.5, 1.5]))


@network()
def discretization_one_hot() -> Any:
    from keras import layers

    return _of("float32", layers.Discretization(bin_boundaries=[-0.5, 0.5], output_mode="one_hot"), (1,))


@network()
def category_encoding() -> Any:
    from keras import layers

    return _of("int32", layers.CategoryEncoding(num_tokens=8, output_mode="multi_hot"))


@network()
def category_counts() -> Any:
    from keras import layers

    return _of("int32", layers.CategoryEncoding(num_tokens=8, output_mode="count"))


@network()
def integer_lookup() -> Any:
    from keras import layers

    return _of("int64", layers.IntegerLookup(vocabulary=[1, 3, 5, 6]))


@network()
def integer_lookup_one_hot() -> Any:
    from keras import layers

    return _of("int64", layers.IntegerLookup(vocabulary=[1, 3, 5], num_oov_indices=2, output_mode="one_hot"), (1,))


@network()
def hashing_of_integers() -> Any:
    from keras import layers

    return _of("int64", layers.Hashing(num_bins=10))


@network()
def string_lookup() -> Any:
    from keras import layers

    return _of("string", layers.StringLookup(vocabulary=WORDS))


@network()
def hashing_of_strings() -> Any:
    from keras import layers

    return _of("string", layers.Hashing(num_bins=7))


@network()
def text_vectorization() -> Any:
    from keras import layers

    return _of("string", layers.TextVectorization(vocabulary=WORDS, output_sequence_length=5), (1,))


@network()
def mel_spectrogram() -> Any:
    from keras import layers

    return _stack((2048,), layers.MelSpectrogram(fft_length=256, sequence_stride=128, num_mel_bins=16))


@network()
def table_of_features() -> Any:
    """A structured-data model: numbers normalised, ids embedded."""
    import numpy as np
    from keras import Input, Model, layers

    numbers, city = Input((3,), name="numbers"), Input((1,), dtype="int64", name="city")
    normalised = layers.Normalization(mean=np.array([1.0, 2.0, 3.0]), variance=np.array([1.0, 4.0, 2.0]))(numbers)
    looked_up = layers.IntegerLookup(vocabulary=[2, 4, 6, 7])(city)
    embedded = layers.Flatten()(layers.Embedding(6, 4)(looked_up))
    return Model([numbers, city], layers.Dense(1)(layers.Concatenate()([normalised, embedded])))

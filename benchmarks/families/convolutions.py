"""Convolutions in one, two and three dimensions: grouped, depthwise, separable, dilated, transposed."""

from __future__ import annotations

from typing import Any

from benchmarks.families.building import network


def _stack(shape: tuple[int | None, ...], *made: Any) -> Any:
    from keras import Input, Model

    x = y = Input(shape, name="x")
    for layer in made:
        y = layer(y)
    return Model(x, y)


@network()
def conv1d() -> Any:
    from keras import layers

    return _stack(
        (32, 4), layers.Conv1D(8, 5, padding="same", activation="relu"), layers.MaxPooling1D(), layers.Conv1D(6, 3)
    )


@network()
def conv1d_causal() -> Any:
    from keras import layers

    return _stack(
        (32, 4), layers.Conv1D(8, 3, padding="causal", dilation_rate=2), layers.Conv1D(4, 2, padding="causal")
    )


@network()
def conv1d_dilated() -> Any:
    """The stack of a WaveNet or a genomics network, fixed length."""
    from keras import layers

    return _stack(
        (64, 4), *(layers.Conv1D(8, 3, padding="same", dilation_rate=2**i, activation="relu") for i in range(4))
    )


@network()
def conv1d_dilated_dynamic() -> Any:
    """The same with a length left open."""
    from keras import layers

    return _stack(
        (None, 4), *(layers.Conv1D(8, 3, padding="same", dilation_rate=2**i, activation="relu") for i in range(4))
    )


@network()
def conv1d_transposed() -> Any:
    from keras import layers

    return _stack((16, 4), layers.Conv1D(8, 3, strides=2), layers.Conv1DTranspose(4, 4, strides=2, padding="same"))


@network()
def conv1d_depthwise() -> Any:
    from keras import layers

    return _stack((32, 6), layers.DepthwiseConv1D(3, depth_multiplier=2), layers.SeparableConv1D(8, 3))


@network()
def conv1d_grouped() -> Any:
    from keras import layers

    return _stack((32, 8), layers.Conv1D(16, 3, groups=4), layers.ReLU())


@network()
def conv2d() -> Any:
    from keras import layers

    return _stack(
        (17, 19, 3),
        layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2D(6, (1, 3)),
        layers.Conv2D(6, (3, 1), use_bias=False),
    )


@network()
def conv2d_grouped() -> Any:
    from keras import layers

    return _stack((16, 16, 4), layers.Conv2D(8, 3, groups=2, padding="same"), layers.Conv2D(8, 3, groups=8, strides=2))


@network()
def conv2d_depthwise() -> Any:
    from keras import layers

    return _stack(
        (16, 16, 4),
        layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2),
        layers.BatchNormalization(),
        layers.DepthwiseConv2D(5, strides=2),
    )


@network()
def conv2d_separable() -> Any:
    from keras import layers

    return _stack((16, 16, 3), layers.SeparableConv2D(8, 3, padding="same"), layers.SeparableConv2D(6, 3, strides=2))


@network()
def conv2d_dilated() -> Any:
    from keras import layers

    return _stack(
        (24, 20, 3),
        layers.Conv2D(8, 3, padding="same", dilation_rate=2, activation="relu"),
        layers.Conv2D(8, 3, dilation_rate=(3, 2)),
        layers.DepthwiseConv2D(3, padding="same", dilation_rate=2),
    )


@network()
def conv2d_dilated_dynamic() -> Any:
    """Height and width left open."""
    from keras import layers

    return _stack(
        (None, None, 3), *(layers.Conv2D(8, 3, padding="same", dilation_rate=2**i, activation="relu") for i in range(3))
    )


@network()
def conv2d_transposed() -> Any:
    from keras import layers

    return _stack(
        (8, 9, 4),
        layers.Conv2DTranspose(6, 3, strides=2, padding="same"),
        layers.BatchNormalization(),
        layers.Conv2DTranspose(4, 2, strides=2),
        layers.Conv2DTranspose(3, 3, strides=2, padding="same", output_padding=0),
    )


@network()
def conv2d_channels_first() -> Any:
    """What a model ported from another framework looks like; TensorFlow itself runs it on a GPU only."""
    from keras import layers

    return _stack(
        (3, 12, 12),
        layers.Permute((2, 3, 1)),
        layers.Conv2D(8, 3, padding="same"),
        layers.Permute((3, 1, 2)),
        layers.GlobalAveragePooling2D(data_format="channels_first"),
    )


@network()
def conv3d() -> Any:
    from keras import layers

    return _stack(
        (8, 8, 8, 2),
        layers.Conv3D(4, 3, padding="same", activation="relu"),
        layers.MaxPooling3D(),
        layers.Conv3D(4, 2, strides=2),
        layers.GlobalAveragePooling3D(),
    )


@network()
def conv3d_transposed() -> Any:
    from keras import layers

    return _stack(
        (4, 4, 4, 2), layers.Conv3DTranspose(4, 3, strides=2, padding="same"), layers.Conv3D(2, 3, padding="same")
    )


@network()
def spectral_normalization() -> Any:
    from keras import layers

    return _stack((10, 10, 3), layers.SpectralNormalization(layers.Conv2D(6, 3)), layers.LeakyReLU())

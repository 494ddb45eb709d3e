"""ENet: A Deep Neural Network Architecture for Real-Time Semantic Segmentation (Paszke et al., arXiv 1606.02147)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keronyx.zoo.unpooling import max_pool_2x2, max_unpool_2x2, named

if TYPE_CHECKING:
    import keras


STAGE: tuple[int, ...] = (1, 2, 0, 4, 1, 8, 0, 16)
"""Dilation of each bottleneck of stages 2 and 3; 0 means an asymmetric 5x1 + 1x5 convolution (the paper's table 1)."""


def enet(image_size: tuple[int, int], width: int) -> keras.Model:
    """ENet with un-pooling by the encoder's indices and PReLU slopes shared over height and width.

    Args:
        image_size: height and width in pixels, multiples of 8.
        width: filters at 1/4 resolution; a quarter of it at 1/2, twice at 1/8. A multiple of 16.

    Returns:
        A model from `image` (N, H, W, 3) float32 to `probabilities` (N, H, W, 3) float32.
    """
    import keras
    from keras import layers

    image = layers.Input((*image_size, 3), name="image")
    x = layers.Concatenate(name="initial_concat")(
        [_conv(image, "initial_conv", width // 4 - 3, 3, strides=2), layers.MaxPooling2D(2, name="initial_pool")(image)]
    )
    x = _activate(layers.BatchNormalization(name="initial_bn")(x), "initial", decoder=False)

    x, half_mask = _down(x, "bottleneck1_0", width, dropout=0.01)
    for i in range(1, 5):
        x = _bottleneck(x, f"bottleneck1_{i}", dropout=0.01)
    x, quarter_mask = _down(x, "bottleneck2_0", 2 * width, dropout=0.1)
    for stage in (2, 3):
        for i, dilation in enumerate(STAGE, 1):
            x = _bottleneck(x, f"bottleneck{stage}_{i}", dilation)

    x = _up(x, "bottleneck4_0", width, quarter_mask)
    for i in (1, 2):
        x = _bottleneck(x, f"bottleneck4_{i}", decoder=True)
    x = _up(x, "bottleneck5_0", width // 4, half_mask)
    x = _bottleneck(x, "bottleneck5_1", decoder=True)
    x = layers.Conv2DTranspose(3, 2, strides=2, padding="same", name="logits")(x)
    probabilities = layers.Softmax(name="probabilities")(x)
    return keras.Model(image, probabilities, name="enet")


def _bottleneck(
    x: keras.KerasTensor, name: str, dilation: int = 1, *, dropout: float = 0.1, decoder: bool = False
) -> keras.KerasTensor:
    """1x1 to a quarter, 3x3 (dilated, or 5x1 + 1x5 where `dilation` is 0), 1x1 back, added to the input."""
    filters = x.shape[-1]
    y = _normalise(_conv(x, f"{name}_reduce", filters // 4, 1), f"{name}_reduce", decoder)
    y = _normalise(_middle(y, name, dilation), f"{name}_middle", decoder)
    return _expand_and_add(y, x, name, filters, dropout, decoder)


def _down(x: keras.KerasTensor, name: str, filters: int, dropout: float) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """A bottleneck of half the resolution; also returns where the maxima of its max-pooling were."""
    from keras import ops

    y = _normalise(_conv(x, f"{name}_reduce", filters // 4, 2, strides=2), f"{name}_reduce", decoder=False)
    y = _normalise(_middle(y, name, 1), f"{name}_middle", decoder=False)
    skip, mask = max_pool_2x2(x, f"{name}_skip")
    zeros = filters - x.shape[-1]
    skip = named(ops.pad(skip, ((0, 0), (0, 0), (0, 0), (0, zeros))), f"{name}_skip_pad")
    return _expand_and_add(y, skip, name, filters, dropout, decoder=False), mask


def _up(x: keras.KerasTensor, name: str, filters: int, mask: keras.KerasTensor) -> keras.KerasTensor:
    """A bottleneck of twice the resolution, in the decoder."""
    from keras import layers

    skip = layers.BatchNormalization(name=f"{name}_skip_bn")(_conv(x, f"{name}_skip_conv", filters, 1))
    skip = max_unpool_2x2(skip, mask, f"{name}_skip")
    y = _normalise(_conv(x, f"{name}_reduce", filters // 4, 1), f"{name}_reduce", decoder=True)
    transposed = layers.Conv2DTranspose(
        filters // 4, 3, strides=2, padding="same", use_bias=False, name=f"{name}_middle_transposed"
    )
    y = _normalise(transposed(y), f"{name}_middle", decoder=True)
    return _expand_and_add(y, skip, name, filters, dropout=0.1, decoder=True)


def _middle(y: keras.KerasTensor, name: str, dilation: int) -> keras.KerasTensor:
    filters = y.shape[-1]
    if dilation == 0:
        y = _conv(y, f"{name}_middle_vertical", filters, (5, 1))
        return _conv(y, f"{name}_middle_horizontal", filters, (1, 5))
    return _conv(y, f"{name}_middle", filters, 3, dilation=dilation)


def _expand_and_add(
    y: keras.KerasTensor, skip: keras.KerasTensor, name: str, filters: int, dropout: float, decoder: bool
) -> keras.KerasTensor:
    from keras import layers

    y = layers.BatchNormalization(name=f"{name}_expand_bn")(_conv(y, f"{name}_expand", filters, 1))
    y = layers.SpatialDropout2D(dropout, seed=0, name=f"{name}_dropout")(y)
    return _activate(layers.Add(name=f"{name}_add")([skip, y]), name, decoder)


def _normalise(x: keras.KerasTensor, name: str, decoder: bool) -> keras.KerasTensor:
    from keras import layers

    return _activate(layers.BatchNormalization(name=f"{name}_bn")(x), name, decoder)


def _activate(x: keras.KerasTensor, name: str, decoder: bool) -> keras.KerasTensor:
    """PReLU in the encoder, ReLU in the decoder, as the paper has it."""
    from keras import layers

    layer = layers.ReLU(name=f"{name}_relu") if decoder else layers.PReLU(shared_axes=[1, 2], name=f"{name}_prelu")
    return layer(x)


def _conv(
    x: keras.KerasTensor, name: str, filters: int, kernel: int | tuple[int, int], *, strides: int = 1, dilation: int = 1
) -> keras.KerasTensor:
    from keras import layers

    return layers.Conv2D(
        filters, kernel, strides=strides, dilation_rate=dilation, padding="same", use_bias=False, name=name
    )(x)

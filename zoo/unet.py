"""The three U-Nets of the 2018 Lyft Perception Challenge entry: plain, spatially separable, dilated."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

LEVELS = 4


def unet(
    image_size: tuple[int, int], width: int, *, spatial: bool = False, dilated: bool = False, name: str = "unet"
) -> keras.Model:
    """A U-Net with four levels, nearest-neighbour upsampling and no channel halving before the concatenation.

    Args:
        image_size: height and width in pixels, multiples of 16.
        width: filters of the first level; doubled at each level down.
        spatial: in the four levels down, each 3x3 convolution becomes a 3x1 and a 1x3 one; the bottom keeps its 3x3.
        dilated: the second convolution of every block but the head has dilation 2.
        name: of the model.

    Returns:
        A model from `image` (N, H, W, 3) float32 to `probabilities` (N, H, W, 3) float32.
    """
    import keras
    from keras import layers

    image = layers.Input((*image_size, 3), name="image")
    dilation = 2 if dilated else 1
    x = image
    skips = []
    for level in range(1, LEVELS + 1):
        x = _block(x, f"down{level}", width << (level - 1), dilation, spatial)
        skips.append(x)
        x = layers.MaxPooling2D(2, name=f"down{level}_pool")(x)
    x = _block(x, "bottom", width << LEVELS, dilation, spatial=False)
    for level in range(LEVELS, 0, -1):
        # The last step up is called head: it has no dilation, and its filters feed the classifier.
        block = "head" if level == 1 else f"up{level}"
        x = layers.UpSampling2D(2, interpolation="nearest", name=f"{block}_upsample")(x)
        x = layers.Concatenate(name=f"{block}_concat")([skips[level - 1], x])
        x = _block(x, block, width << (level - 1), 1 if level == 1 else dilation, spatial=False)
    x = layers.Conv2D(3, 3, padding="same", name="logits")(x)
    probabilities = layers.Softmax(name="probabilities")(x)
    return keras.Model(image, probabilities, name=name)


def _block(x: keras.KerasTensor, name: str, filters: int, dilation: int, spatial: bool) -> keras.KerasTensor:
    """Two times convolution, BatchNorm, ReLU; only the second convolution is dilated."""
    from keras import layers

    for i, rate in ((1, 1), (2, dilation)):
        if spatial:
            x = layers.Conv2D(filters, (3, 1), padding="same", dilation_rate=rate, name=f"{name}_conv{i}_vertical")(x)
            x = layers.Conv2D(filters, (1, 3), padding="same", dilation_rate=rate, name=f"{name}_conv{i}_horizontal")(x)
        else:
            x = layers.Conv2D(filters, 3, padding="same", dilation_rate=rate, name=f"{name}_conv{i}")(x)
        x = layers.BatchNormalization(name=f"{name}_bn{i}")(x)
        x = layers.ReLU(name=f"{name}_relu{i}")(x)
    return x

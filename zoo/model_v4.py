"""model-v4: the ENet-like network of the 2018 Lyft Perception Challenge entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


MIDDLE: tuple[int, ...] = (1, 2, 0, 4, 1, 8, 0)
"""Dilation of each residual block in one pass at 1/8 resolution; 0 means an asymmetric 5x1 + 1x5 block."""
REUSED = (3, 5, 7)
"""Positions (from 1) at which the second pass re-uses the layers of the first."""


def model_v4(image_size: tuple[int, int], width: int, *, per_pixel: bool, name: str = "model-v4") -> keras.Model:
    """model-v4 as trained (`per_pixel`, one PReLU slope per pixel) or with slopes shared over height and width.

    Args:
        image_size: height and width in pixels, multiples of 8.
        width: filters at 1/4 resolution; half of it at 1/2, twice at 1/8. An even number from 8.
        per_pixel: PReLU slopes of shape (H, W, C) instead of (1, 1, C).
        name: of the model.

    Returns:
        A model from `image` (N, H, W, 3) float32 to `probabilities` (N, H, W, 3) float32.
    """
    import keras
    from keras import layers

    net = _Blocks(per_pixel)
    image = layers.Input((*image_size, 3), name="image")
    half = layers.Concatenate(name="initial_concat")(
        [net.conv(image, "initial", width // 2 - 3, 3, strides=2), layers.MaxPooling2D(2, name="initial_pool")(image)]
    )
    quarter = net.down(half, "down1", width, dropout=0.01)
    for i in range(1, 5):
        quarter = net.residual(f"residual1_{i}", width, 1, dropout=0.01)(quarter)
    x = net.down(quarter, "down2", 2 * width, dropout=0.1)
    first_pass = [net.residual(f"pass1_{i}", 2 * width, dilation) for i, dilation in enumerate(MIDDLE, 1)]
    second_pass = [
        first_pass[i - 1] if i in REUSED else net.residual(f"pass2_{i}", 2 * width, dilation)
        for i, dilation in enumerate(MIDDLE, 1)
    ]
    for block in (*first_pass, *second_pass):
        x = block(x)
    x = net.up(x, quarter, "up1", width)
    x = net.up(x, half, "up2", width // 2)
    x = net.transposed_pair(x, "up3", width // 2)
    x = layers.Concatenate(name="head_concat")([x, image])
    x = layers.Conv2D(width // 2, 3, padding="same", activation="relu", name="head_conv")(x)
    x = layers.Conv2D(3, 3, padding="same", name="logits")(x)
    probabilities = layers.Softmax(name="probabilities")(x)
    return keras.Model(image, probabilities, name=name)


@dataclass(frozen=True)
class _Blocks:
    """The building blocks, which differ between the two forms of the network only in their PReLU."""

    per_pixel: bool

    def prelu(self, name: str) -> keras.layers.Layer:
        from keras import layers

        return layers.PReLU(shared_axes=None if self.per_pixel else [1, 2], name=name)

    def conv(self, x: keras.KerasTensor, name: str, filters: int, kernel: int, strides: int = 1) -> keras.KerasTensor:
        """Convolution with bias, BatchNorm, ReLU."""
        from keras import layers

        x = layers.Conv2D(filters, kernel, strides=strides, padding="same", name=f"{name}_conv")(x)
        x = layers.BatchNormalization(name=f"{name}_bn")(x)
        return layers.ReLU(name=f"{name}_relu")(x)

    def down(self, x: keras.KerasTensor, name: str, filters: int, dropout: float) -> keras.KerasTensor:
        """Halve the resolution: strided convolution beside max-pooling, merged by a 1x1 convolution."""
        from keras import layers

        branch = self.conv(x, name, filters, 3, strides=2)
        branch = layers.SpatialDropout2D(dropout, seed=0, name=f"{name}_dropout")(branch)
        pooled = layers.MaxPooling2D(2, name=f"{name}_pool")(x)
        x = layers.Concatenate(name=f"{name}_concat")([branch, pooled])
        return self.conv(x, f"{name}_merge", filters, 1)

    def residual(
        self, name: str, filters: int, dilation: int, dropout: float = 0.1
    ) -> Callable[[keras.KerasTensor], keras.KerasTensor]:
        """A residual block, made once and callable more than once with the same layers. Dilation 0: asymmetric."""
        from keras import layers

        kernels = [((5, 1), "_vertical"), ((1, 5), "_horizontal")] if dilation == 0 else [((3, 3), "")]
        branch = []
        for kernel, suffix in kernels:
            rate = max(1, dilation)
            branch += [
                layers.Conv2D(filters, kernel, padding="same", dilation_rate=rate, name=f"{name}_conv{suffix}"),
                layers.BatchNormalization(name=f"{name}_bn{suffix}"),
                layers.ReLU(name=f"{name}_relu{suffix}"),
            ]
        branch.append(layers.SpatialDropout2D(dropout, seed=0, name=f"{name}_dropout"))
        add = layers.Add(name=f"{name}_add")
        prelu = self.prelu(f"{name}_prelu")

        def block(x: keras.KerasTensor) -> keras.KerasTensor:
            y = x
            for layer in branch:
                y = layer(y)
            return prelu(add([x, y]))

        return block

    def up(self, x: keras.KerasTensor, skip: keras.KerasTensor, name: str, filters: int) -> keras.KerasTensor:
        """Double the resolution, merge with the encoder's features by a 1x1 convolution, one residual block."""
        from keras import layers

        x = self.transposed_pair(x, name, filters)
        x = layers.Concatenate(name=f"{name}_concat")([x, skip])
        x = self.conv(x, f"{name}_merge", filters, 1)
        return self.residual(f"{name}_residual", filters, 1)(x)

    def transposed_pair(self, x: keras.KerasTensor, name: str, filters: int) -> keras.KerasTensor:
        """Two parallel stride-2 transposed convolutions, summed; dropout on the second."""
        from keras import layers

        branches = []
        for i in (1, 2):
            y = layers.Conv2DTranspose(filters, 3, strides=2, padding="same", name=f"{name}_transposed{i}")(x)
            y = layers.BatchNormalization(name=f"{name}_bn{i}")(y)
            branches.append(self.prelu(f"{name}_prelu{i}")(y))
        branches[1] = layers.SpatialDropout2D(0.1, seed=0, name=f"{name}_dropout2")(branches[1])
        return self.prelu(f"{name}_prelu")(layers.Add(name=f"{name}_add")(branches))

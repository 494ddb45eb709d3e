"""Pooling and un-pooling, padding and cropping, up-sampling and resizing."""

from __future__ import annotations

from typing import Any

from benchmarks.families.building import network
from benchmarks.families.convolutions import _stack


@network()
def pooling_2d() -> Any:
    from keras import layers

    return _stack(
        (15, 17, 3),
        layers.MaxPooling2D(3, strides=2, padding="same"),
        layers.AveragePooling2D(2, strides=1, padding="same"),
        layers.AveragePooling2D(2),
        layers.GlobalMaxPooling2D(),
    )


@network()
def pooling_1d_and_3d() -> Any:
    from keras import Input, Model, layers

    x, y = Input((20, 3), name="sequence"), Input((6, 6, 6, 2), name="volume")
    a = layers.GlobalAveragePooling1D()(layers.AveragePooling1D(3, padding="same")(layers.MaxPooling1D()(x)))
    b = layers.GlobalMaxPooling3D()(layers.AveragePooling3D(2)(y))
    return Model([x, y], [a, b])


@network()
def pooling_adaptive() -> Any:
    from keras import layers

    return _stack((13, 11, 3), layers.AdaptiveAveragePooling2D((5, 4)), layers.AdaptiveMaxPooling2D(2))


@network()
def zero_padding_before_max_pooling() -> Any:
    """On negative values: padding with zeros and padding with minus infinity differ."""
    from keras import Input, Model, layers

    x = Input((9, 9, 3), name="image")
    y = layers.ReLU(negative_slope=1.0)(layers.Rescaling(-0.1, offset=-3.0)(layers.ReLU()(x)))
    return Model(x, layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(1)(y)))


@network()
def padding_and_cropping() -> Any:
    from keras import Input, Model, layers

    x, y = Input((9, 8, 3), name="image"), Input((12, 2), name="sequence")
    a = layers.Cropping2D(((1, 2), (0, 3)))(layers.ZeroPadding2D(((2, 0), (1, 3)))(x))
    b = layers.Cropping1D((1, 2))(layers.ZeroPadding1D((0, 4))(y))
    return Model([x, y], [layers.Conv2D(2, 2)(a), b])


@network()
def padding_3d() -> Any:
    from keras import layers

    return _stack((4, 5, 4, 2), layers.ZeroPadding3D(1), layers.Cropping3D((1, 0, 1)), layers.UpSampling3D(2))


@network()
def max_unpooling() -> Any:
    """Pooling that keeps where the maxima were, and values put back there."""
    from keras import Input, Model, layers

    from keronyx.zoo.unpooling import max_pool_2x2, max_unpool_2x2

    x = Input((12, 12, 3), name="image")
    y, masks = max_pool_2x2(layers.Conv2D(4, 3, padding="same")(x), "down")
    return Model(x, layers.Conv2D(2, 3)(max_unpool_2x2(layers.Conv2D(4, 1)(y), masks, "up")))


@network()
def upsampling_nearest() -> Any:
    from keras import layers

    return _stack((8, 8, 3), layers.UpSampling2D(2), layers.Conv2D(4, 3, padding="same"), layers.UpSampling2D((3, 2)))


@network()
def upsampling_bilinear() -> Any:
    from keras import layers

    return _stack((8, 8, 3), layers.UpSampling2D(2, interpolation="bilinear"), layers.Conv2D(4, 3, padding="same"))


@network()
def upsampling_bicubic() -> Any:
    from keras import layers

    return _stack((8, 8, 3), layers.UpSampling2D(2, interpolation="bicubic"))


@network()
def upsampling_1d() -> Any:
    from keras import layers

    return _stack((8, 3), layers.UpSampling1D(3), layers.Conv1D(2, 3))


@network()
def upsampling_nearest_dynamic() -> Any:
    """Height and width left open."""
    from keras import layers

    return _stack((None, None, 3), layers.Conv2D(4, 3, padding="same"), layers.UpSampling2D(2))


@network()
def upsampling_bilinear_dynamic() -> Any:
    """Height and width left open."""
    from keras import layers

    return _stack(
        (None, None, 3), layers.Conv2D(4, 3, padding="same"), layers.UpSampling2D(2, interpolation="bilinear")
    )


@network("--image-size", "24x32")
def segmentation_of_any_size() -> Any:
    """Trained at any size, exported at one; ends in a mask of classes."""
    from keras import Input, Model, layers, ops

    x = Input((None, None, 3), name="image")
    y = layers.MaxPooling2D()(layers.Conv2D(8, 3, padding="same", activation="relu")(x))
    y = layers.UpSampling2D(2, interpolation="bilinear")(layers.Conv2D(8, 3, padding="same")(y))
    return Model(x, ops.argmax(layers.Conv2D(4, 1)(y), axis=-1))


def _resized(height: int, width: int, **options: Any) -> Any:
    from keras import layers

    return _stack((16, 20, 3), layers.Resizing(height, width, **options))


@network()
def resizing_bilinear() -> Any:
    return _resized(11, 30)


@network()
def resizing_nearest() -> Any:
    return _resized(32, 10, interpolation="nearest")


@network()
def resizing_bicubic() -> Any:
    return _resized(24, 13, interpolation="bicubic")


@network()
def resizing_antialias() -> Any:
    return _resized(7, 9, antialias=True)


@network()
def resizing_lanczos() -> Any:
    return _resized(24, 25, interpolation="lanczos3")


@network()
def resizing_area_crop() -> Any:
    return _resized(8, 8, crop_to_aspect_ratio=True)

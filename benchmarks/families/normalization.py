"""Normalization layers."""

from __future__ import annotations

from typing import Any

from benchmarks.families.building import network
from benchmarks.families.convolutions import _stack


@network()
def batch_normalization() -> Any:
    """Before, after and without a convolution."""
    from keras import layers

    return _stack(
        (12, 12, 3),
        layers.BatchNormalization(),
        layers.Conv2D(6, 3),
        layers.BatchNormalization(scale=False),
        layers.ReLU(),
        layers.BatchNormalization(center=False, epsilon=1e-5),
    )


@network()
def batch_normalization_axis_1() -> Any:
    from keras import layers

    return _stack((4, 6, 6), layers.BatchNormalization(axis=1), layers.Flatten(), layers.BatchNormalization())


@network()
def layer_normalization() -> Any:
    from keras import layers

    return _stack((7, 12), layers.LayerNormalization(), layers.LayerNormalization(axis=[1, 2]), layers.Dense(3))


@network()
def group_normalization() -> Any:
    from keras import layers

    return _stack((8, 8, 12), layers.GroupNormalization(groups=4), layers.Conv2D(6, 3), layers.GroupNormalization(-1))


@network()
def rms_normalization() -> Any:
    from keras import layers

    return _stack((7, 12), layers.RMSNormalization(), layers.Dense(6), layers.UnitNormalization())


@network()
def adapted_constants() -> Any:
    """Normalization whose mean and variance were given, or learned from data."""
    import numpy as np
    from keras import Input, Model, layers

    adapted = layers.Normalization()
    adapted.adapt(np.random.default_rng(0).normal(3, 2, (50, 6)).astype(np.float32))
    x, y = Input((6,), name="table"), Input((8, 8, 3), name="image")
    given = layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.2, 0.3, 0.1])
    return Model([x, y], [layers.Dense(2)(adapted(x)), layers.Conv2D(2, 3)(given(y))])


@network()
def normalization_inverted() -> Any:
    from keras import layers

    return _stack((5,), layers.Dense(3), layers.Normalization(mean=2.0, variance=4.0, invert=True))

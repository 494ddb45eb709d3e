"""What the passes make of Keras layers, through the whole conversion."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def operators(converted: Any) -> Counter[str]:
    import onnx

    return Counter(node.op_type for node in onnx.load(converted[0]).graph.node)


@pytest.mark.parametrize("shared", [(1, 2), None], ids=["slopes by channel", "slopes by pixel"])
@pytest.mark.parametrize("batch", [1, None], ids=["batch 1", "open batch"])
def test_a_network_of_prelus_is_transposed_at_its_ends_only(shared, batch, to_onnx):
    import keras
    from keras import layers

    x = keras.Input((16, 12, 3), name="x")
    y = layers.PReLU(shared_axes=shared)(layers.Conv2D(8, 3, padding="same")(x))
    z = layers.PReLU(shared_axes=shared)(layers.Conv2D(8, 3, padding="same", dilation_rate=2)(y))
    z = layers.PReLU(shared_axes=shared)(layers.Add()([y, z]))
    found = operators(to_onnx(keras.Model(x, layers.Conv2D(4, 1)(z)), batch))
    assert found["Transpose"] == 2 and not found["Neg"]
    assert found["Mul"] == found["Max"] + found["Min"] == 3


def test_zeros_around_an_image_count_under_max_pooling(to_onnx):
    # to_onnx compares with ONNX Runtime's own passes on, which get this wrong
    import keras
    from keras import layers

    x = keras.Input((9, 9, 3), name="x")
    y = layers.Lambda(lambda t: -t * t - 1.0)(x)
    y = layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(1)(y))
    found = operators(to_onnx(keras.Model(x, layers.Conv2D(4, 1)(y))))
    assert not found["Pad"] and found["Max"] == 1


def test_a_layer_called_twice_is_folded_in_both_places(to_onnx):
    import keras
    from keras import layers

    x = keras.Input((8, 8, 4), name="x")
    conv, bn = layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization()
    y = bn(conv(layers.ReLU()(bn(conv(x)))))
    found = operators(to_onnx(keras.Model(x, y)))
    assert found["Conv"] == 2 and not found["BatchNormalization"] and not found["Mul"]


def test_un_pooling_takes_ten_operators_all_in_the_layout_of_the_convolutions(to_onnx):
    import keras
    from keras import layers

    from keronyx.zoo.unpooling import max_pool_2x2, max_unpool_2x2

    x = keras.Input((8, 6, 4), name="x")
    pooled, mask = max_pool_2x2(layers.Conv2D(4, 3, padding="same")(x), "pool")
    y = max_unpool_2x2(layers.Conv2D(4, 3, padding="same")(pooled), mask, "unpool")
    found = operators(to_onnx(keras.Model(x, layers.Conv2D(4, 1)(y))))
    rest = {"Conv": 3, "Transpose": 2, "MaxPool": 1}
    assert found - Counter(rest) == Counter(Resize=3, Equal=2, Cast=2, Mul=2, MaxPool=1)

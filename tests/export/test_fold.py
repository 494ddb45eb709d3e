"""Folding BatchNormalization changes no answer, and nothing of the user's model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from keronyx.export.fold import fold_batchnorm

pytestmark = pytest.mark.slow


def _pair(shape: tuple[int, ...], conv: Callable[[], Any], **norm: Any) -> Any:
    import keras

    x = keras.Input(shape)
    return keras.Model(x, keras.layers.BatchNormalization(**norm)(conv()(x)))


def _conv(filters: int = 3, **options: Any) -> Any:
    import keras

    return keras.layers.Conv2D(filters, 3, padding="same", **options)


def _inner(name: str) -> Any:
    import keras

    x = keras.Input((6, 6, 3))
    return keras.Model(x, keras.layers.BatchNormalization()(_conv()(x)), name=name)


def _layers() -> Any:
    from keras import layers

    return layers


IMAGE = (6, 6, 3)
FOLDED: dict[str, Callable[[], Any]] = {
    "Conv2D": lambda: _pair(IMAGE, _conv),
    "without bias": lambda: _pair(IMAGE, lambda: _conv(use_bias=False), epsilon=0.1),
    "BN without scale": lambda: _pair(IMAGE, _conv, scale=False),
    "BN without center": lambda: _pair(IMAGE, _conv, center=False),
    "Conv1D": lambda: _pair((6, 3), lambda: _layers().Conv1D(4, 3)),
    "Conv3D": lambda: _pair((4, 4, 4, 2), lambda: _layers().Conv3D(3, 3)),
    "depthwise": lambda: _pair(IMAGE, lambda: _layers().DepthwiseConv2D(3, depth_multiplier=2)),
    "transposed": lambda: _pair(IMAGE, lambda: _layers().Conv2DTranspose(5, 3, strides=2)),
    "grouped": lambda: _pair((6, 6, 4), lambda: _layers().Conv2D(6, 3, groups=2)),
}
KEPT: dict[str, Callable[[], Any]] = {
    "activation": lambda: _pair(IMAGE, lambda: _conv(activation="relu")),
    "separable": lambda: _pair(IMAGE, lambda: _layers().SeparableConv2D(4, 3)),
    "another axis": lambda: _pair((6, 6, 6), lambda: _conv(6), axis=1),
    "another precision": lambda: _pair(IMAGE, lambda: _conv(dtype="mixed_float16"), dtype="mixed_float16"),
}


def _same(model: Any, folded: Any) -> None:
    import keras

    inputs = [np.random.default_rng(2).normal(size=(2, *t.shape[1:])).astype(t.dtype) for t in model.inputs]
    given = inputs if len(inputs) > 1 else inputs[0]
    expected, found = (keras.tree.flatten(m(given, training=False)) for m in (model, folded))
    for wanted, got in zip(expected, found, strict=True):
        scale = np.abs(np.asarray(wanted)).max()
        np.testing.assert_allclose(np.asarray(got), np.asarray(wanted), atol=2e-6 * scale)


def _batchnorms(model: Any) -> int:
    return sum(type(layer).__name__ == "BatchNormalization" for layer in model._flatten_layers())


def _check(model: Any) -> int:
    """Fold: answers and weights stay as they were. How many BatchNorms were folded."""
    before = model.get_weights()
    folded, count = fold_batchnorm(model)
    assert count == _batchnorms(model) - _batchnorms(folded)
    _same(model, folded)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert fold_batchnorm(model)[1] == count  # a second converter gets the same
    return count


@pytest.fixture
def check(randomised: Callable[[Any], Any]) -> Callable[[Any], int]:
    return lambda model: _check(randomised(model))


@pytest.mark.parametrize("name", FOLDED)
def test_a_convolution_takes_its_batchnorm_in(name: str, check: Any) -> None:
    assert check(FOLDED[name]()) == 1


@pytest.mark.parametrize("name", KEPT)
def test_a_batchnorm_that_does_not_fit_stays(name: str, check: Any) -> None:
    model = KEPT[name]()
    assert check(model) == 0
    assert fold_batchnorm(model)[0] is model


def test_a_convolution_that_is_also_an_output_stays(check: Any) -> None:
    import keras

    x = keras.Input(IMAGE)
    y = _conv()(x)
    assert check(keras.Model(x, [keras.layers.BatchNormalization()(y), y])) == 0


def test_a_convolution_with_a_second_reader_stays(check: Any) -> None:
    import keras

    x = keras.Input(IMAGE)
    y = _conv()(x)
    readers = [keras.layers.BatchNormalization()(y), keras.layers.ReLU()(y)]
    assert check(keras.Model(x, readers)) == 0
    assert check(keras.Model(x, readers[::-1])) == 0


def test_layers_called_twice_stay(check: Any) -> None:
    import keras

    x, conv, norm = keras.Input(IMAGE), _conv(), keras.layers.BatchNormalization()
    assert check(keras.Model(x, keras.layers.BatchNormalization()(conv(conv(x))))) == 0
    assert check(keras.Model(x, norm(_conv()(norm(_conv()(x)))))) == 0


def test_a_batchnorm_that_would_divide_by_zero_stays(randomised: Any) -> None:
    model = _pair(IMAGE, _conv, epsilon=0.0)
    randomised(model)
    model.layers[-1].moving_variance.assign(np.zeros(3, "float32"))
    assert fold_batchnorm(model)[1] == 0


def test_a_layer_also_called_in_another_model_is_folded_in_this_one(check: Any) -> None:
    import keras

    x, conv = keras.Input(IMAGE), _conv()
    model = keras.Model(x, keras.layers.BatchNormalization()(conv(x)))
    conv(keras.Input(IMAGE))
    assert check(model) == 1


def test_nested_models_are_folded_inside(check: Any) -> None:
    import keras

    x = keras.Input(IMAGE)
    y = keras.layers.BatchNormalization()(_conv()(x))
    inner = _inner("inner")
    sequence = keras.Sequential([keras.Input(IMAGE), _conv(), keras.layers.BatchNormalization()])
    assert check(keras.Model(x, keras.layers.ReLU()(sequence(inner(inner(y)))))) == 3


def test_a_sequential_model_is_folded(check: Any) -> None:
    import keras

    assert (
        check(keras.Sequential([keras.Input(IMAGE), _conv(), keras.layers.BatchNormalization(), keras.layers.ReLU()]))
        == 1
    )


def test_operations_between_layers_are_kept(check: Any) -> None:
    import keras

    x = keras.Input((6, 6, 4))
    y = keras.layers.BatchNormalization()(_conv(4)(x))
    highest = keras.ops.equal(y[:, ::2, ::2, :], keras.layers.MaxPooling2D(2)(y))
    padded = keras.ops.pad(keras.ops.cast(highest, "float32"), ((0, 0), (0, 0), (0, 0), (0, 2)))
    assert check(keras.Model(x, [padded + 1.5, keras.ops.relu(y)])) == 1


def test_layers_of_the_users_own_are_shared_not_rebuilt(check: Any) -> None:
    import keras

    class Scaled(keras.layers.Layer):  # type: ignore[misc]
        """Cannot be built from its configuration."""

        def __init__(self, factor: float, lookup: dict[str, float]) -> None:
            super().__init__()
            self.factor = factor * lookup["one"]

        def call(self, x: Any) -> Any:
            return x * self.factor

    x = keras.Input(IMAGE)
    y = keras.layers.BatchNormalization()(_conv()(x))
    scaled = Scaled(3.0, {"one": 1.0})
    model = keras.Model(x, keras.layers.Lambda(lambda t: t + 1)(scaled(y)))
    assert check(model) == 1
    folded, _ = fold_batchnorm(model)
    assert any(layer is scaled for layer in folded.layers)


def test_a_compiled_model_and_several_inputs_and_outputs_are_folded(check: Any) -> None:
    import keras

    a, b = keras.Input(IMAGE, name="zeta"), keras.Input(IMAGE, name="alpha")
    y = keras.layers.BatchNormalization()(_conv()(a + b))
    model = keras.Model([a, b], [y, keras.layers.GlobalAveragePooling2D()(b)])
    model.compile(loss=lambda true, predicted: predicted)
    assert check(model) == 1


def test_a_subclassed_model_is_left_alone() -> None:
    import keras

    class Doubled(keras.Model):  # type: ignore[misc]
        """Functional, but its call does more than its graph."""

        def call(self, *args: Any, **kwargs: Any) -> Any:
            return super().call(*args, **kwargs) * 2

    x = keras.Input(IMAGE)
    model = Doubled(x, keras.layers.BatchNormalization()(_conv()(x)))
    assert fold_batchnorm(model) == (model, 0)


def test_the_model_still_saves_as_before(tmp_path: Any, check: Any) -> None:
    import keras

    model = keras.Model((x := keras.Input(IMAGE)), keras.layers.ReLU()(keras.layers.BatchNormalization()(_conv()(x))))
    assert check(model) == 1
    model.save(tmp_path / "saved.keras")
    _same(model, keras.saving.load_model(tmp_path / "saved.keras"))

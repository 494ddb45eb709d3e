"""BatchNormalization is folded while a model is traced, and the model is as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow

IMAGE = (6, 6, 4)


def _layers() -> Any:
    from keras import layers

    return layers


def _pair(shape: tuple[int, ...], conv: Any, **norm: Any) -> Any:
    import keras

    x = keras.Input(shape)
    return keras.Model(x, keras.layers.BatchNormalization(**norm)(conv(x)))


def _conv(filters: int = 3, **options: Any) -> Any:
    return _layers().Conv2D(filters, 3, padding="same", **options)


FOLDED: dict[str, Callable[[], Any]] = {
    "Conv2D": lambda: _pair(IMAGE, _conv()),
    "without bias": lambda: _pair(IMAGE, _conv(use_bias=False), epsilon=0.1),
    "large enough to be lifted": lambda: _pair(IMAGE, _layers().Conv2D(128, 6)),
    "Conv1D": lambda: _pair((6, 3), _layers().Conv1D(4, 3, padding="causal")),
    "Conv3D": lambda: _pair((4, 4, 4, 2), _layers().Conv3D(3, 3, use_bias=False)),
    "depthwise": lambda: _pair(IMAGE, _layers().DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)),
    "transposed": lambda: _pair(IMAGE, _layers().Conv2DTranspose(5, 3, strides=2, use_bias=False)),
    "grouped": lambda: _pair(IMAGE, _conv(6, groups=2)),
}


def _folded(convert: Any, model: Any) -> int:
    """Convert; Keras' answers are compared by the fixture. How many BatchNorms were folded."""
    _, _, evidence = convert(model)
    assert not any("call" in vars(layer) for layer in model._flatten_layers())
    return sum(int(said.split()[0]) for said in evidence if said.endswith(" BatchNorm folded"))


@pytest.mark.parametrize("name", FOLDED)
def test_a_convolution_takes_its_batchnorm_in(name: str, to_onnx: Any) -> None:
    import onnx

    assert _folded(to_onnx, FOLDED[name]()) == 1
    operators = {node.op_type for node in onnx.load("model.onnx").graph.node}
    assert not {"BatchNormalization", "Mul"} & set(operators)


def test_a_batchnorm_called_by_keyword_is_folded(to_onnx: Any) -> None:
    import keras

    x = keras.Input(IMAGE)
    y = keras.layers.BatchNormalization()(inputs=_conv()(inputs=x))
    assert _folded(to_onnx, keras.Model(x, keras.layers.ReLU()(y))) == 1


def test_nothing_is_built_again(to_onnx: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    model = _pair(IMAGE, _conv())

    def refused(*_: Any, **__: Any) -> Any:
        raise AssertionError("a layer was built")

    monkeypatch.setattr(keras.layers.Conv2D, "__init__", refused)
    assert _folded(to_onnx, model) == 1


def test_weights_are_as_they_were(to_onnx: Any, randomised: Any) -> None:
    model = randomised(_pair(IMAGE, _conv()))
    before = model.get_weights()
    assert _folded(to_onnx, model) == 1
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_nested_models_are_folded_whoever_calls_them(to_onnx: Any) -> None:
    import keras

    x, y = keras.Input(IMAGE), keras.Input(IMAGE)
    inner = keras.Model(y, keras.layers.BatchNormalization()(_conv(4)(y)))
    sequence = keras.Sequential([keras.Input(IMAGE), _conv(4), keras.layers.BatchNormalization(), keras.layers.ReLU()])
    assert _folded(to_onnx, keras.Model(x, sequence(inner(inner(x))))) == 2


def test_a_convolution_another_layer_calls_too_is_not_folded(to_onnx: Any) -> None:
    import keras

    conv = _conv(4)

    class Again(keras.layers.Layer):  # type: ignore[misc]
        """Calls a layer of the model's, which the model's graph does not show."""

        def call(self, x: Any) -> Any:
            return conv(x)

    x = keras.Input(IMAGE)
    model = keras.Model(x, Again()(keras.layers.BatchNormalization()(conv(x))))
    assert _folded(to_onnx, model) == 0


def test_a_batchnorm_another_layer_calls_too_is_not_folded(to_onnx: Any) -> None:
    import keras

    norm = keras.layers.BatchNormalization()

    class Again(keras.layers.Layer):  # type: ignore[misc]
        """Calls a layer of the model's, which the model's graph does not show."""

        def call(self, x: Any) -> Any:
            return norm(x)

    x = keras.Input(IMAGE)
    model = keras.Model(x, Again()(keras.layers.ReLU()(norm(_conv(4)(x)))))
    assert _folded(to_onnx, model) == 0


def test_a_kernel_another_layer_reads_is_its_own_there(to_onnx: Any) -> None:
    import keras

    conv = _conv(4)

    class Tied(keras.layers.Layer):  # type: ignore[misc]
        """Works with the weights of another layer."""

        def call(self, x: Any) -> Any:
            return keras.ops.conv(x, conv.kernel, padding="same")

    x = keras.Input(IMAGE)
    assert _folded(to_onnx, keras.Model(x, Tied()(keras.layers.BatchNormalization()(conv(x))))) == 1


def test_a_trace_that_fails_leaves_the_layers_alone(randomised: Any) -> None:
    from keronyx.export.folding import all_pairs, folded

    model = randomised(_pair(IMAGE, _conv()))
    x = np.ones((1, *IMAGE), "float32")
    expected = np.asarray(model(x))
    with pytest.raises(ZeroDivisionError), folded(all_pairs(model)):
        _ = 1 / 0
    np.testing.assert_array_equal(np.asarray(model(x)), expected)
    assert not any("call" in vars(layer) for layer in model.layers)

"""Operators tf2onnx does not know, or converts wrongly: each model gives Keras' answers as ONNX."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow

IMAGE = (6, 7, 4)
SEQUENCE = (9, 4)


def _model(compute: Callable[..., Any], *shapes: tuple[int, ...], dtype: str = "float32") -> Any:
    """A functional model of one expression."""
    import keras

    inputs = [keras.Input(shape, name=f"x{i}", dtype=dtype) for i, shape in enumerate(shapes)]
    return keras.Model(inputs, compute(*inputs))


def _operators(path: Path) -> Counter[str]:
    import onnx

    return Counter(node.op_type for node in onnx.load(path).graph.node)


def _answers(model: Any, inputs: Any, comparison: Any, tmp_path: Path) -> tuple[list[Any], list[Any]]:
    """Keras' and ONNX Runtime's, for inputs of the test's own."""
    from keronyx.export import onnx, signature

    spec = signature.of_keras(model, "tiny", "tiny", len(inputs), None)
    onnx.convert(model, spec, tmp_path / "model.onnx")
    return comparison.keras_answers(model, [inputs]), comparison.run_onnx(tmp_path / "model.onnx", spec, [inputs])


@pytest.mark.parametrize("batch", [1, None])
def test_the_exact_gelu_is_converted_in_the_form_onnx_runtime_fuses(to_onnx: Any, batch: int | None) -> None:
    import keras
    import onnxruntime

    path, *_ = to_onnx(_model(lambda x: keras.ops.gelu(x * 3, approximate=False), IMAGE), batch)
    assert _operators(path)["Erf"] == 1
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path.with_name("optimised.onnx"))
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    assert _operators(path.with_name("optimised.onnx"))["Gelu"] == 1


@pytest.mark.parametrize("name", ["expm1", "log1p", "celu"])
def test_functions_exact_near_zero_stay_so(name: str, comparison: Any, tmp_path: Path) -> None:
    import keras

    x = np.array([[-0.99, -1e-3, -1e-6, -1e-9, 0, 1e-9, 1e-6, 1e-3, 0.5, 3, 80]], "float32")
    model = _model(getattr(keras.ops, name), x.shape[1:])
    (expected,), (found,) = _answers(model, x, comparison, tmp_path)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_log1p_at_its_limits(comparison: Any, tmp_path: Path) -> None:
    import keras

    x = np.array([[-2, -1, -0.0, 1e9, 3e38, np.inf, np.nan]], "float32")
    (expected,), (found,) = _answers(_model(keras.ops.log1p, (7,)), x, comparison, tmp_path)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_erfc_itself_is_converted(comparison: Any, tmp_path: Path) -> None:
    import keras
    import tensorflow as tf

    class Erfc(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return tf.math.erfc(x)

    x = np.linspace(-2, 2, 9, dtype="float32")[None]
    (expected,), (found,) = _answers(_model(Erfc(), (9,)), x, comparison, tmp_path)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize(("axis", "keepdims"), [(-1, False), (1, True), (None, False)])
def test_the_place_of_an_extreme_is_converted(name: str, axis: int | None, keepdims: bool, to_onnx: Any) -> None:
    import keras

    path, spec, _ = to_onnx(
        _model(lambda x: getattr(keras.ops, name)(x, axis=axis, keepdims=keepdims), IMAGE), None if axis else 1
    )
    assert spec.outputs[0].dtype == "int32"
    assert _operators(path)["ArgMax" if name == "argmax" else "ArgMin"] == 1


def test_argmax_ranks_minus_zero_below_zero_as_keras_does(comparison: Any, tmp_path: Path) -> None:
    import keras

    model = _model(lambda x: [keras.ops.argmax(x, -1), keras.ops.argmin(x, -1)], (3,))
    x = np.array([[-0.0, 0.0, -1], [0.0, -0.0, 1], [-np.inf, np.inf, 0]], "float32")
    expected, found = _answers(model, x, comparison, tmp_path)
    assert [list(a) for a in found] == [list(a) for a in expected] == [[1, 2, 1], [2, 1, 0]]


@pytest.mark.parametrize("of", ["softmax", "booleans"])
def test_argmax_of_what_has_no_minus_zero_is_one_operator(of: str, to_onnx: Any) -> None:
    import keras

    front: Any = keras.ops.softmax if of == "softmax" else (lambda x: x > 0)
    path, *_ = to_onnx(_model(lambda x: keras.ops.argmax(front(x), -1), IMAGE), None)
    assert set(_operators(path)) <= {"Softmax", "Greater", "ArgMax", "Cast"}


@pytest.mark.parametrize("kind", ["1D", "2D", "3D"])
@pytest.mark.parametrize("options", [{}, {"strides": 2, "padding": "same"}, {"dilation_rate": 2}])
def test_grouped_convolutions_are_converted(kind: str, options: dict[str, Any], to_onnx: Any) -> None:
    import keras

    shape = (7,) * int(kind[0]) + (4,)
    layer = getattr(keras.layers, f"Conv{kind}")(6, 3, groups=2, **options)
    path, *_ = to_onnx(_model(layer, shape), None)
    assert _operators(path)["Conv"] == (2 if kind == "3D" else 1)


@pytest.mark.parametrize("kind", ["1D", "2D", "3D"])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "strides": 2, "output_padding": 1},
        {"kernel_size": 2, "strides": 3},
        {"kernel_size": 2, "strides": 3, "padding": "same"},
        {"kernel_size": 3, "strides": 2, "output_padding": 1, "padding": "same"},
    ],
    ids=["output_padding", "short kernel", "short kernel, same", "output_padding, same"],
)
def test_transposed_convolutions_longer_than_their_kernel_are_converted(
    kind: str, options: dict[str, Any], to_onnx: Any
) -> None:
    import keras

    layer = getattr(keras.layers, f"Conv{kind}Transpose")(3, **options)
    path, *_ = to_onnx(_model(layer, (4,) * int(kind[0]) + (2,)), None)
    assert set(_operators(path)) <= {"ConvTranspose", "Transpose", "Add", "Squeeze", "Unsqueeze"}


def test_nearest_upsampling_is_one_resize_in_the_layout_of_the_convolutions(to_onnx: Any) -> None:
    import keras
    import onnx

    layers = keras.layers
    path, *_ = to_onnx(
        _model(lambda x: layers.Conv2D(3, 3)(layers.UpSampling2D((2, 3))(layers.Conv2D(4, 3)(x))), IMAGE), None
    )
    assert _operators(path) == {"Conv": 2, "Resize": 1, "Transpose": 2}
    (resize,) = [node for node in onnx.load(path).graph.node if node.op_type == "Resize"]
    said = {a.name: onnx.helper.get_attribute_value(a) for a in resize.attribute}
    assert (said["coordinate_transformation_mode"], said["nearest_mode"]) == (b"asymmetric", b"floor")


@pytest.mark.parametrize("dtype", ["float32", "int32", "float64"])
@pytest.mark.parametrize("kind", ["1D", "2D", "2D first"])
def test_nearest_upsampling_holds_in_other_shapes_and_dtypes(kind: str, dtype: str, to_onnx: Any) -> None:
    import keras

    first = {"data_format": "channels_first"} if kind == "2D first" else {}
    layer = getattr(keras.layers, f"UpSampling{kind[:2]}")(3, dtype=dtype, **first)
    path, *_ = to_onnx(_model(layer, SEQUENCE if kind == "1D" else IMAGE, dtype=dtype), None)
    assert _operators(path)["Resize"] == (dtype != "float64")


def test_where_takes_nothing_from_the_value_not_taken(comparison: Any, tmp_path: Path) -> None:
    import keras

    x = np.array([[-1, 0, 2, np.inf, np.nan]], "float32")
    model = _model(lambda x: keras.ops.where(x > 0, keras.ops.log(x), 0.5), (5,))
    (expected,), (found,) = _answers(model, x, comparison, tmp_path)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert list(found[0][:2]) == [0.5, 0.5]


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "uint32", "int64", "float16", "float64"])
def test_where_of_every_dtype_runs(dtype: str, to_onnx: Any) -> None:
    import keras

    path, *_ = to_onnx(
        _model(lambda x, y: keras.ops.where(keras.ops.cast(x, bool), x, y), (50,), (50,), dtype=dtype), None
    )
    assert _operators(path)["Where"] == (dtype != "bool")


def test_where_with_a_condition_for_rows_broadcasts(to_onnx: Any) -> None:
    import keras
    import tensorflow as tf

    class Rows(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return tf.raw_ops.Select(condition=x[:, 0, 0] > 0, x=x, y=-2 * x)

    path, *_ = to_onnx(_model(Rows(), SEQUENCE), None)
    assert _operators(path)["Where"] == 1


@pytest.mark.parametrize("mode", ["int", "one_hot", "multi_hot", "count"])
def test_discretization_is_converted(mode: str, to_onnx: Any) -> None:
    import keras

    layer = keras.layers.Discretization([-1.0, -0.25, 0.0, 0.7], output_mode=mode)
    _, spec, _ = to_onnx(_model(layer, (12,)), None)
    assert spec.outputs[0].dtype == ("int32" if mode == "int" else "float32")


def test_a_value_on_a_boundary_and_a_nan_fall_where_keras_puts_them(comparison: Any, tmp_path: Path) -> None:
    import keras

    x = np.array([[-2, -1, -0.5, 0, 0.7, 9, np.inf, -np.inf, np.nan]], "float32")
    model = _model(keras.layers.Discretization([-1.0, 0.0, 0.7]), (9,))
    (expected,), (found,) = _answers(model, x, comparison, tmp_path)
    assert list(found[0]) == list(expected[0]) == [0, 1, 1, 2, 3, 3, 3, 0, 3]


@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted_is_converted(side: str, comparison: Any, tmp_path: Path) -> None:
    import keras

    ordered = np.array([-1, 0, 0, 0.5, 2], "float32")
    model = _model(lambda x: keras.ops.searchsorted(ordered, x[0], side=side), (6,))
    x = np.array([[-2, -1, 0, 0.2, 2, 3]], "float32")
    (expected,), (found,) = _answers(model, x, comparison, tmp_path)
    assert list(found) == list(expected)

"""Look-ups, categories, Fourier transforms, division and updates: Keras' answers in ONNX."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keronyx.errors import ExportError

pytestmark = pytest.mark.slow


def _model(compute: Callable[..., Any], *shapes: tuple[int, ...], dtype: str = "float32") -> Any:
    """A functional model of one expression."""
    import keras

    inputs = [keras.Input(shape, name=f"x{i}", dtype=dtype) for i, shape in enumerate(shapes)]
    return keras.Model(inputs, compute(*inputs))


def _operators(path: Path) -> Counter[str]:
    import onnx

    return Counter(node.op_type for node in onnx.load(path).graph.node)


def _answers(model: Any, inputs: list[Any], comparison: Any, tmp_path: Path) -> tuple[list[Any], list[Any]]:
    """Keras' and ONNX Runtime's, for inputs of the test's own."""
    from keronyx.export import onnx, signature

    spec = signature.of_keras(model, "tiny", "tiny", len(inputs[0]), None)
    onnx.convert(model, spec, tmp_path / "model.onnx")
    return comparison.keras_answers(model, inputs), comparison.run_onnx(tmp_path / "model.onnx", spec, inputs)


@pytest.mark.parametrize("vocabulary", [[2, 5, -3], [2, 5, 10**9]], ids=["close", "far apart"])
@pytest.mark.parametrize("options", [{}, {"num_oov_indices": 2}, {"mask_token": 7}], ids=str)
def test_integer_lookup_is_converted(vocabulary: Any, options: Any, comparison: Any, tmp_path: Path) -> None:
    import keras

    model = _model(keras.layers.IntegerLookup(vocabulary=vocabulary, **options), (8,), dtype="int64")
    x = np.array([[2, 5, -3, 10**9, 0, 7, -8, -(10**12)]])
    (expected,), (found,) = _answers(model, [x], comparison, tmp_path)
    assert list(found[0]) == list(expected[0])


def test_integer_lookup_backwards_is_converted(comparison: Any, tmp_path: Path) -> None:
    import keras

    model = _model(keras.layers.IntegerLookup(vocabulary=[20, 50], invert=True), (4,), dtype="int64")
    (expected,), (found,) = _answers(model, [np.array([[0, 1, 2, 9]])], comparison, tmp_path)
    assert list(found[0]) == list(expected[0]) == [-1, 20, 50, -1]


@pytest.mark.parametrize("mode", ["one_hot", "multi_hot", "count", "tf_idf"])
def test_integer_lookup_counts_are_converted(mode: str, to_onnx: Any) -> None:
    import keras

    weights = {"idf_weights": [0.1, 0.2, 0.3]} if mode == "tf_idf" else {}
    layer = keras.layers.IntegerLookup(vocabulary=[2, 0, 7], output_mode=mode, **weights)
    path, *_ = to_onnx(_model(layer, (6,), dtype="int64"), None)
    assert "Loop" not in _operators(path)


@pytest.mark.parametrize("mode", ["one_hot", "multi_hot", "count"])
def test_category_encoding_is_one_hot_and_a_sum(mode: str, to_onnx: Any) -> None:
    import keras

    layer = keras.layers.CategoryEncoding(num_tokens=4, output_mode=mode)
    path, *_ = to_onnx(_model(layer, (6,), dtype="int32"), None)
    assert set(_operators(path)) <= {"Cast", "OneHot", "ReduceMax", "ReduceSum"}


def test_category_encoding_counts_weights(to_onnx: Any) -> None:
    import keras

    x, weights = keras.Input((6,), name="x", dtype="int32"), keras.Input((6,), name="w")
    layer = keras.layers.CategoryEncoding(num_tokens=4, output_mode="count")
    path, *_ = to_onnx(keras.Model([x, weights], layer(x, count_weights=weights)), None)
    assert _operators(path)["OneHot"] == 1


@pytest.mark.parametrize("dtype", ["int32", "int64", "bool", "uint8", "float64"])
@pytest.mark.parametrize("axis", [-1, 1])
def test_one_hot_of_every_dtype_is_converted(dtype: str, axis: int, to_onnx: Any) -> None:
    import keras

    _, spec, _ = to_onnx(_model(lambda x: keras.ops.one_hot(x, 5, axis, dtype), (3, 4), dtype="int32"), None)
    assert spec.outputs[0].dtype == dtype


@pytest.mark.parametrize("length", [None, 9, 4])
def test_the_transform_of_a_real_signal_is_two_products(length: int | None, to_onnx: Any) -> None:
    import keras

    path, *_ = to_onnx(_model(lambda x: list(keras.ops.rfft(x, length)), (6,)), None)
    assert _operators(path)["MatMul"] == 2


def test_the_transform_of_a_complex_signal_is_four_products(to_onnx: Any) -> None:
    import keras

    path, *_ = to_onnx(_model(lambda x, y: list(keras.ops.fft((x, y))), (7,), (7,)), None)
    assert _operators(path)["MatMul"] == 4


@pytest.mark.parametrize("batch", [1, None])
def test_mel_spectrograms_are_converted(batch: int | None, to_onnx: Any) -> None:
    import keras

    layer = keras.layers.MelSpectrogram(fft_length=32, sequence_stride=16, num_mel_bins=8, sampling_rate=1000)
    path, *_ = to_onnx(_model(layer, (128,)), batch)
    assert _operators(path)["MatMul"] == 3


@pytest.mark.parametrize("dtype", ["int32", "int64", "int8", "uint8", "float32"])
def test_floor_division_holds_for_negative_numbers(dtype: str, comparison: Any, tmp_path: Path) -> None:
    import keras

    x, y = np.array([[-7, 7, -7, 7, 6, -6]]).astype(dtype), np.array([[3, -3, -3, 3, 3, 3]]).astype(dtype)
    model = _model(lambda x, y: [keras.ops.mod(x, y), keras.ops.floor_divide(x, y)], (6,), (6,), dtype=dtype)
    expected, found = _answers(model, [x, y], comparison, tmp_path)
    assert [list(a[0]) for a in found] == [list(a[0]) for a in expected]


def test_the_remainder_of_a_float_near_a_multiple_is_that_of_tensorflow(comparison: Any, tmp_path: Path) -> None:
    import keras

    x = (np.arange(-60, 60) * np.float32(0.1))[None].astype("float32")
    (expected,), (found,) = _answers(_model(lambda x: keras.ops.mod(x, 0.3), (120,)), [x], comparison, tmp_path)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("start", [1, 3])
def test_an_update_that_would_not_fit_is_moved_in_as_xla_does(start: int, comparison: Any, tmp_path: Path) -> None:
    import keras

    model = _model(lambda x, y: keras.ops.slice_update(x, (0, start, 1), y), (4, 3), (2, 2))
    inputs = [np.zeros((1, 4, 3), "float32"), np.arange(1, 5, dtype="float32").reshape(1, 2, 2)]
    (expected,), (found,) = _answers(model, inputs, comparison, tmp_path)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shape", [(3, 6), (2, 3, 6)])
@pytest.mark.parametrize("batch", [1, None])
def test_a_dense_layer_on_more_dimensions_is_one_matmul(shape: Any, batch: int | None, to_onnx: Any) -> None:
    import keras

    path, *_ = to_onnx(_model(keras.layers.Dense(5), shape), batch)
    assert _operators(path) == {"MatMul": 1, "Add": 1}


@pytest.mark.parametrize(
    ("layer", "operator"),
    [("Hashing", "StringToHashBucketFast"), ("fft2", "FFT2D"), ("inv", "MatrixInverse"), ("irfft", "IRFFT")],
)
def test_what_onnx_cannot_say_is_refused_by_operator_and_layer(layer: str, operator: str, tmp_path: Path) -> None:
    import keras

    from keronyx.export import onnx, signature

    compute: dict[str, Callable[[Any], Any]] = {
        "Hashing": keras.layers.Hashing(5, name="hashing"),
        "fft2": lambda x: keras.ops.fft2((x, x))[0],
        "inv": keras.ops.inv,
        "irfft": lambda x: keras.ops.irfft((x, x)),
    }
    model = _model(compute[layer], (4, 4), dtype="int64" if layer == "Hashing" else "float32")
    spec = signature.of_keras(model, "tiny", "tiny", 1, None)
    with pytest.raises(ExportError, match=rf"{operator}.*\(layer {layer.lower()}\)") as refused:
        onnx.convert(model, spec, tmp_path / "model.onnx")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("kind", "operator"), [("grouped convolution", "Conv"), ("argmax", "ArgMax"), ("gelu", "Erf")])
def test_a_saved_model_of_what_keras_compiles_or_reads_bits_for_is_converted(
    kind: str, operator: str, comparison: Any, tmp_path: Path
) -> None:
    import keras
    import tensorflow as tf

    from keronyx.export import onnx, signature

    compute: dict[str, Callable[[Any], Any]] = {
        "grouped convolution": keras.layers.Conv1D(6, 3, groups=2),
        "argmax": lambda x: keras.ops.argmax(x, -1),
        "gelu": lambda x: keras.ops.gelu(x, approximate=False),
    }
    _model(compute[kind], (6, 4)).export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    spec = signature.of_saved_model(loaded, "tiny", "tiny", "identity", 2, None)
    inputs = comparison.feeds(spec.inputs, 2)
    inputs[0][0, 0] = [-0.0, 0.0, -1, -1]
    onnx.convert(loaded, spec, tmp_path / "model.onnx")
    expected = [np.asarray(t) for t in signature.trace_saved_model(loaded, spec.inputs)(tf.constant(inputs[0]))]
    comparison.assert_same(expected, comparison.run_onnx(tmp_path / "model.onnx", spec, inputs))
    assert _operators(tmp_path / "model.onnx")[operator] == 1


def test_what_tensorflow_cannot_trace_is_refused_by_layer_in_one_line() -> None:
    import keras

    from keronyx.export import signature

    model = _model(lambda x: keras.ops.unfold(x, 2), (3, 6, 6))
    with pytest.raises(ExportError, match=r"cannot trace this model: .*Unfold\.call\(\)") as refused:
        signature.of_keras(model, "tiny", "tiny", None, None)
    assert "\n" not in str(refused.value)
    assert refused.value.remedy == "a fixed batch (--batch 1) may help"


@pytest.mark.parametrize(
    ("shape", "batch", "remedy"),
    [
        ((3,), 1, ""),
        ((None, 3), 1, "fixed sizes (--shape) may help"),
        ((None, 3), None, "a fixed batch (--batch 1) and fixed sizes (--shape) may help"),
    ],
)
def test_nothing_is_advised_that_cannot_help(shape: tuple[int | None, ...], batch: int | None, remedy: str) -> None:
    import keras

    from keronyx.export import signature

    class Never(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            raise ValueError("never")

        def compute_output_spec(self, x: Any) -> Any:
            return keras.KerasTensor(x.shape, x.dtype)

    x = keras.Input(shape)
    with pytest.raises(ExportError, match="cannot trace this model") as refused:
        signature.of_keras(keras.Model(x, Never()(x)), "tiny", "tiny", batch, None, leave_open=True)
    assert refused.value.remedy == remedy


def test_an_output_of_unknown_rank_is_refused_by_name() -> None:
    import keras
    import tensorflow as tf

    from keronyx.export import signature

    class Shapeless(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return tf.reshape(x, tf.random.uniform([tf.cast(x[0, 0], tf.int32)], 1, 2, tf.int32))

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    with pytest.raises(ExportError, match="dimensions the output 'odd' has"):
        signature.of_keras(_model(Shapeless(name="odd"), (4,)), "tiny", "tiny", 1, None)

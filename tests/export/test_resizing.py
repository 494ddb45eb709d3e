"""Resizing gives TensorFlow's pixels, in sizes and methods tf2onnx gets wrong or refuses."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from keronyx.errors import ExportError

pytestmark = pytest.mark.slow


def _resizing(shape: tuple[int | None, ...], size: tuple[int, int], **options: Any) -> Any:
    import keras

    x = keras.Input(shape, name="x")
    return keras.Model(x, keras.layers.Resizing(*size, **options)(x))


def _operators(path: Path) -> Counter[str]:
    import onnx

    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.parametrize("method", ["bicubic", "area", "lanczos3", "lanczos5"])
@pytest.mark.parametrize("size", [(3, 9), (12, 5), (12, 16)])
def test_methods_onnx_does_not_have_are_two_matrices(method: str, size: tuple[int, int], to_onnx: Any) -> None:
    path, *_ = to_onnx(_resizing((6, 8, 3), size, interpolation=method), None)
    assert _operators(path) == {"MatMul": 2, "Transpose": 2}


@pytest.mark.parametrize("method", ["bilinear", "bicubic", "lanczos3"])
@pytest.mark.parametrize("size", [(3, 4), (5, 12)])
def test_antialiasing_is_converted(method: str, size: tuple[int, int], to_onnx: Any) -> None:
    path, *_ = to_onnx(_resizing((7, 9, 3), size, interpolation=method, antialias=True), None)
    assert _operators(path)["MatMul"] == 2


@pytest.mark.parametrize("method", ["bilinear", "nearest"])
@pytest.mark.parametrize(("old", "new"), [(11, 13), (7, 31), (6, 37), (14, 23)])
def test_sizes_whose_scale_is_no_float32_lose_no_row_and_no_pixel(
    method: str, old: int, new: int, to_onnx: Any
) -> None:
    _, spec, _ = to_onnx(_resizing((old, old, 2), (new, new), interpolation=method))
    assert spec.outputs[0].shape == (1, new, new, 2)


def test_nearest_by_whole_factors_needs_no_half_pixels(to_onnx: Any) -> None:
    import onnx

    path, *_ = to_onnx(_resizing((5, 6, 3), (10, 18), interpolation="nearest"), None)
    (resize,) = [node for node in onnx.load(path).graph.node if node.op_type == "Resize"]
    said = {a.name: onnx.helper.get_attribute_value(a) for a in resize.attribute}
    assert (said["coordinate_transformation_mode"], said["nearest_mode"]) == (b"asymmetric", b"floor")


@pytest.mark.parametrize("aspect", ["crop_to_aspect_ratio", "pad_to_aspect_ratio"])
@pytest.mark.parametrize("size", [(12, 5), (5, 12), (7, 7)])
def test_the_aspect_ratio_is_kept_with_fixed_boxes(aspect: str, size: tuple[int, int], to_onnx: Any) -> None:
    path, *_ = to_onnx(_resizing((6, 9, 3), size, fill_value=0.5, **{aspect: True}), None)
    assert set(_operators(path)) <= {"Slice", "Pad", "Resize", "Transpose"}


def test_images_with_channels_first_and_single_ones_are_resized(to_onnx: Any) -> None:
    import keras

    x = keras.Input((3, 6, 8), name="x")
    first = keras.ops.image.resize(x, (4, 11), "lanczos3", data_format="channels_first")
    single = keras.ops.image.resize(x[0], (4, 11), "bicubic", antialias=True, data_format="channels_first")
    path, *_ = to_onnx(keras.Model(x, [first, single]))
    assert _operators(path)["MatMul"] == 4


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
def test_upsampling_with_open_height_and_width_is_converted(method: str, comparison: Any, tmp_path: Path) -> None:
    import keras
    import numpy as np

    from keronyx.export import onnx, signature
    from keronyx.export.dims import Shape

    x = keras.Input((None, None, 3), name="x")
    model = keras.Model(x, keras.layers.UpSampling2D((2, 3), interpolation=method)(x))
    asked = {"x": Shape(("batch", "height", "width", 3), None)}
    spec = signature.of_keras(model, "tiny", "tiny", None, None, asked=asked)
    onnx.convert(model, spec, tmp_path / "model.onnx")
    inputs = [np.random.default_rng(0).normal(size=(2, 5, 7, 3)).astype("float32")]
    found = comparison.run_onnx(tmp_path / "model.onnx", spec, inputs)
    comparison.assert_same(comparison.keras_answers(model, inputs), found)


@pytest.mark.parametrize(("method", "operator"), [("lanczos3", "ScaleAndTranslate"), ("area", "ResizeArea")])
def test_methods_without_a_matrix_are_refused_by_layer_and_operator(method: str, operator: str, tmp_path: Path) -> None:
    from keronyx.export import onnx, signature
    from keronyx.export.dims import Shape

    model = _resizing((None, None, 3), (4, 4), interpolation=method, name="shrink")
    asked = {"x": Shape((1, "height", "width", 3), None)}
    spec = signature.of_keras(model, "tiny", "tiny", None, None, asked=asked)
    with pytest.raises(ExportError, match=rf"{operator} \(layer shrink\)"):
        onnx.convert(model, spec, tmp_path / "model.onnx")


@pytest.mark.parametrize("size", [(24, 24), (37, 13)])
def test_nearest_of_open_sizes_gives_tensorflows_pixels_at_every_size(size: tuple[int, int], to_onnx: Any) -> None:
    import numpy as np
    import onnxruntime

    model = _resizing((None, None, 3), size, interpolation="nearest")
    from keronyx.export import onnx, signature

    spec = signature.of_keras(model, "tiny", "tiny", None, None, leave_open=True)
    path = Path("open.onnx").resolve()
    onnx.convert(model, spec, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    wrong = []
    for height, width in [(h, h * 2 // 3 + 1) for h in range(5, 230, 7)] + [(80, 80), (112, 224), (160, 96)]:
        image = np.random.default_rng(height).random((1, height, width, 3), np.float32)
        if not np.array_equal(session.run(None, {"x": image})[0], np.asarray(model(image))):
            wrong.append((height, width))
    assert not wrong


OPEN_SIZES = [(5, 9), (9, 5), (24, 24), (31, 13), (80, 112), (1, 7)]


def _assert_exact_at_open_sizes(model: Any, comparison: Any, relative: float = 1e-5) -> None:
    import numpy as np

    from keronyx.export import onnx, signature

    spec = signature.of_keras(model, "tiny", "tiny", None, None, leave_open=True)
    path = Path("open.onnx").resolve()
    onnx.convert(model, spec, path)
    for height, width in OPEN_SIZES:
        images = [np.random.default_rng(height).random((2, height, width, 3), np.float32)]
        found = comparison.run_onnx(path, spec, images)
        comparison.assert_same(comparison.keras_answers(model, images), found, relative)


@pytest.mark.parametrize("size", [(24, 24), (37, 13), (1, 3)])
def test_bicubic_of_open_sizes_has_tensorflows_weights(size: tuple[int, int], comparison: Any) -> None:
    _assert_exact_at_open_sizes(_resizing((None, None, 3), size, interpolation="bicubic"), comparison)
    assert not _operators(Path("open.onnx")).keys() & {"Resize", "ResizeBicubic"}


def test_bicubic_upsampling_of_open_sizes_has_tensorflows_weights(comparison: Any) -> None:
    import keras

    x = keras.Input((None, None, 3), name="x")
    _assert_exact_at_open_sizes(
        keras.Model(x, keras.layers.UpSampling2D((3, 2), interpolation="bicubic")(x)), comparison
    )


@pytest.mark.parametrize("options", [{}, {"half_pixel_centers": True}, {"align_corners": True}])
def test_bicubic_of_tensorflow_1_keeps_its_own_rules(options: dict[str, bool], comparison: Any) -> None:
    import keras
    import tensorflow as tf

    class Old(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return tf.raw_ops.ResizeBicubic(images=x, size=[17, 1], **options)

        def compute_output_spec(self, x: Any) -> Any:
            return keras.KerasTensor((x.shape[0], 17, 1, x.shape[3]))

    x = keras.Input((None, None, 3), name="x")
    _assert_exact_at_open_sizes(keras.Model(x, Old()(x)), comparison)


@pytest.mark.parametrize("aspect", ["crop_to_aspect_ratio", "pad_to_aspect_ratio"])
@pytest.mark.parametrize("size", [(12, 5), (7, 7)])
@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
def test_the_aspect_ratio_of_open_sizes_is_kept(
    aspect: str, size: tuple[int, int], method: str, comparison: Any
) -> None:
    options: dict[str, Any] = {"interpolation": method, "fill_value": 0.5, aspect: True}
    _assert_exact_at_open_sizes(_resizing((None, None, 3), size, **options), comparison)
    assert "If" not in _operators(Path("open.onnx"))


def _cropping(shape: tuple[int | None, ...], **options: Any) -> Any:
    import keras

    x = keras.Input(shape, name="x", dtype=options.get("dtype"))
    y = keras.layers.CenterCrop(8, 9, **options)(x)
    return keras.Model(x, keras.layers.Rescaling(0.5, 1)(y))


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("shape", [(None, None, 3), (5, None, 3), (None, 21, 3), (3, None, None)])
def test_images_of_open_sizes_are_cropped_or_resized_like_keras(
    shape: tuple[int | None, ...], dtype: str, comparison: Any
) -> None:
    import numpy as np

    from keronyx.export import onnx, signature

    options = {"data_format": "channels_first"} if shape[0] == 3 else {}
    model = _cropping(shape, dtype=dtype, **options)
    spec = signature.of_keras(model, "tiny", "tiny", None, None, leave_open=True)
    path = Path("open.onnx").resolve()
    onnx.convert(model, spec, path)
    for height, width in [
        (8, 9),
        (11, 14),
        (11, 13),
        (8, 20),
        (5, 3),
        (2, 3),
        (5, 30),
        (30, 5),
        (7, 9),
        (9, 8),
        (1, 1),
    ]:
        rest = iter((height, width))
        sizes = [known or next(rest) for known in shape]
        images = [(np.random.default_rng(height).random((2, *sizes)) * 255).astype(dtype)]
        found = comparison.run_onnx(path, spec, images)
        comparison.assert_same(comparison.keras_answers(model, images), found)
    assert "If" not in _operators(path)


def test_images_of_known_sizes_are_cropped_by_one_slice(to_onnx: Any) -> None:
    path, *_ = to_onnx(_cropping((12, 10, 3)), None)
    assert _operators(path)["Slice"] == 1 and not _operators(path).keys() & {"Resize", "Shape"}

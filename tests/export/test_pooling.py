"""Pooling with 'same' padding is exact whatever the window, the step and the size of the image."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow

WINDOWS: dict[str, tuple[Any, Any]] = {
    "one pixel": (1, 2),
    "one of four": (1, 4),
    "two of three": (2, 3),
    "three of four": (3, 4),
    "two of five": (2, 5),
    "unlike axes": ((1, 2, 3), (2, 4, 1)),
    "overlapping, one pixel, skipping": ((3, 1, 2), (2, 1, 3)),
    "no step is longer": ((3, 2, 2), (2, 2, 1)),
}


def _pooling(kind: str, rank: int, window: str, sizes: tuple[int | None, ...], dtype: str = "float32") -> Any:
    import keras

    size, step = (one[:rank] if isinstance(one, tuple) else one for one in WINDOWS[window])
    x = keras.Input((*sizes[:rank], 2), name="x", dtype=dtype)
    pooling = getattr(keras.layers, f"{kind}Pooling{rank}D")
    return keras.Model(x, pooling(size, strides=step, padding="same", dtype=dtype)(x))


def _converted(model: Any, path: Path) -> Any:
    from keronyx.export import onnx, signature

    spec = signature.of_keras(model, "tiny", "tiny", None, None, leave_open=True)
    onnx.convert(model, spec, path)
    return spec


def _assert_exact(model: Any, spec: Any, path: Path, sizes: tuple[int, ...], comparison: Any) -> None:
    drawn = np.random.default_rng(0).normal(size=(2, *sizes, 2)) * 9 - 30  # zeros around it would be the largest
    images = [drawn.astype(spec.inputs[0].dtype)]
    comparison.assert_same(comparison.keras_answers(model, images), comparison.run_onnx(path, spec, images))


@pytest.mark.parametrize("kind", ["Max", "Average"])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("window", WINDOWS)
def test_same_pooling_of_open_sizes_is_exact_at_every_size(
    window: str, rank: int, kind: str, comparison: Any, tmp_path: Path
) -> None:
    model = _pooling(kind, rank, window, (None, None, None))
    spec = _converted(model, tmp_path / "model.onnx")
    for size in range(1, 10):
        _assert_exact(model, spec, tmp_path / "model.onnx", tuple(range(size, size + rank)), comparison)


@pytest.mark.parametrize("kind", ["Max", "Average"])
@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("window", WINDOWS)
def test_same_pooling_of_known_sizes_is_exact_without_arithmetic(
    window: str, rank: int, kind: str, comparison: Any, tmp_path: Path
) -> None:
    import onnx

    for sizes in ((5, 6, 7), (8, 9, 11), (4, 4, 4)):
        model = _pooling(kind, rank, window, sizes)
        spec = _converted(model, tmp_path / "model.onnx")
        _assert_exact(model, spec, tmp_path / "model.onnx", sizes[:rank], comparison)
        made = Counter(node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node)
        assert set(made) <= {"Transpose", "Reshape", "Slice", f"{kind}Pool"}


@pytest.mark.parametrize("window", ["one pixel", "two of three"])
def test_integers_of_open_sizes_are_pooled(window: str, comparison: Any, tmp_path: Path) -> None:
    model = _pooling("Max", 2, window, (None, None), "int32")
    spec = _converted(model, tmp_path / "model.onnx")
    for size in (3, 4, 5):
        _assert_exact(model, spec, tmp_path / "model.onnx", (size, size + 1), comparison)


def test_pooling_of_one_pixel_of_open_sizes_needs_no_arithmetic(comparison: Any, tmp_path: Path) -> None:
    import onnx

    model = _pooling("Max", 2, "one pixel", (None, None))
    _converted(model, tmp_path / "model.onnx")
    assert [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node] == [
        "Transpose",
        "MaxPool",
        "Transpose",
    ]


def test_nodes_of_computed_pads_carry_their_layer(comparison: Any, tmp_path: Path) -> None:
    import onnx

    model = _pooling("Average", 2, "two of three", (None, None))
    _converted(model, tmp_path / "model.onnx")
    nodes = onnx.load(tmp_path / "model.onnx").graph.node
    layers = {entry.value for node in nodes for entry in node.metadata_props if entry.key == "keronyx.layer"}
    assert layers == {model.layers[1].name} and all(node.metadata_props for node in nodes)


@pytest.mark.parametrize("kind", ["Max", "Average"])
def test_same_pooling_behind_zeros_of_open_sizes_is_exact(kind: str, comparison: Any, tmp_path: Path) -> None:
    import keras
    from keras import layers

    x = keras.Input((None, None, 2), name="x")
    y = layers.ZeroPadding2D(((1, 0), (2, 1)))(layers.Conv2D(2, 1)(x))
    y = getattr(layers, f"{kind}Pooling2D")(3, strides=4, padding="same")(y)
    model = comparison.randomise(keras.Model(x, layers.Conv2D(2, 1)(y)))
    spec = _converted(model, tmp_path / "model.onnx")
    for size in (4, 7, 9, 10):
        _assert_exact(model, spec, tmp_path / "model.onnx", (size, size + 1), comparison)

"""What the tests of export share: real, tiny Keras models and a comparison of numbers, which the product leaves to
`profile`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

from keronyx.types import Array, ModelSpec, TensorSpec


def randomise(model: Any) -> Any:
    """Weights under which no layer is the identity; BatchNorm's variance stays positive."""
    random = np.random.default_rng(0)
    for variable in model.variables:
        if variable.dtype not in ("float16", "float32", "float64"):
            continue
        drawn = random.uniform(0.5, 2, variable.shape) if "variance" in variable.name else None
        offset = 1 if variable.name == "gamma" else 0
        variable.assign(random.normal(0, 0.3, variable.shape) + offset if drawn is None else drawn)
    return model


def feeds(tensors: Sequence[TensorSpec], batch: int) -> list[Array]:
    random = np.random.default_rng(1)
    arrays: list[Array] = []
    for tensor in tensors:
        shape = [size or batch for size in tensor.shape]
        kind = np.dtype(tensor.dtype).kind
        drawn = random.normal(size=shape) if kind == "f" else random.integers(0, 2 if kind == "b" else 4, shape)
        arrays.append(drawn.astype(tensor.dtype))
    return arrays


def keras_answers(model: Any, inputs: Sequence[Array]) -> list[Array]:
    import keras
    import tensorflow as tf

    tensors = [tf.constant(array) for array in inputs]
    structured = (
        tensors[0] if isinstance(model, keras.Sequential) else keras.tree.pack_sequence_as(model.input, tensors)
    )
    return [np.asarray(tensor) for tensor in keras.tree.flatten(model(structured, training=False))]


def assert_same(expected: Sequence[Array], found: Sequence[Array], relative: float = 1e-5) -> None:
    """Shapes, dtypes, and the largest error within `relative` of the largest value."""
    assert [(a.shape, a.dtype) for a in expected] == [(np.shape(a), np.asarray(a).dtype) for a in found]
    for wanted, got in zip(expected, found, strict=True):
        scale = np.abs(wanted.astype(np.float64)).max()
        assert scale > 0, "an output of zeros proves nothing"
        assert np.abs(wanted.astype(np.float64) - got.astype(np.float64)).max() <= relative * scale


def run_onnx(path: Path, spec: ModelSpec, inputs: Sequence[Array]) -> list[Array]:
    """What ONNX Runtime answers by name, after checking that the file's own signature is the spec's."""
    import onnx
    import onnxruntime

    from keronyx.export.onnx import read_signature

    onnx.checker.check_model(str(path), full_check=True)
    assert read_signature(onnx.load(path)) == (spec.inputs, spec.outputs)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == [tensor.name for tensor in spec.inputs]
    assert [value.name for value in session.get_outputs()] == [tensor.name for tensor in spec.outputs]
    names = [tensor.name for tensor in spec.outputs]
    return list(session.run(names, {t.name: a for t, a in zip(spec.inputs, inputs, strict=True)}))


@pytest.fixture
def randomised() -> Callable[[Any], Any]:
    """Fills a model's weights (`randomise`) and returns it."""
    return randomise


@pytest.fixture
def comparison() -> SimpleNamespace:
    """The functions above, for tests that convert by themselves."""
    return SimpleNamespace(
        randomise=randomise, feeds=feeds, keras_answers=keras_answers, assert_same=assert_same, run_onnx=run_onnx
    )


Converted = tuple[Path, ModelSpec, tuple[str, ...]]


@pytest.fixture
def to_onnx(tmp_path: Path) -> Callable[..., Converted]:
    """Convert a model, and fail unless ONNX Runtime gives Keras' answers under Keras' names."""

    def convert(model: Any, batch: int | None = 1, relative: float = 1e-5, calls: int = 3) -> Converted:
        from keronyx.export import onnx, signature

        randomise(model)
        spec = signature.of_keras(model, "tiny", "tiny", batch, None)
        inputs = feeds(spec.inputs, batch or calls)
        expected = keras_answers(model, inputs)
        path = tmp_path / "model.onnx"
        evidence = onnx.convert(model, spec, path)
        assert_same(expected, run_onnx(path, spec, inputs), relative)
        return path, spec, evidence

    return convert


@pytest.fixture(autouse=True)
def in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports without -o, and modules looked for in the current folder, stay in the test's own."""
    monkeypatch.chdir(tmp_path)

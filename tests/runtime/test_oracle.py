"""The oracle evaluates the Keras model itself in float64, and says what it is where that cannot be."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keronyx.accuracy import GROWTH, judge
from keronyx.parity import Answers
from keronyx.runtime import oracle
from keronyx.runtime.tf_eager import TensorFlowEager
from keronyx.types import ModelSpec, SessionRequest, TensorSpec, Verdict

pytestmark = pytest.mark.slow

INPUT, OUTPUT = TensorSpec("x", (1, 6), "float32"), TensorSpec("y", (1, 4), "float32")


@pytest.fixture(autouse=True)
def threads_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow's threads can be set only before its first tensor, which other tests have made."""
    monkeypatch.setattr(TensorFlowEager, "start", lambda *_: None)


def request(path: Path, inputs: Any = (INPUT,), outputs: Any = (OUTPUT,)) -> SessionRequest:
    return SessionRequest(str(path), ModelSpec("m", "m", inputs, outputs, 0, ""), "cpu", 2)


def dense(dtype: str = "float32") -> Any:
    import keras

    keras.utils.set_random_seed(3)
    x = keras.Input((6,), name="x", dtype=dtype if dtype == "float64" else "float32")
    hidden = keras.layers.Dense(32, activation="relu", dtype=dtype)(x)
    return keras.Model(x, keras.layers.Dense(4, name="y", dtype=dtype)(hidden))


def asked(
    model: Any, folder: Path, precision: str = "float32", count: int = 3, no_float64: str = "", **terms: Any
) -> dict[str, Any]:
    """What the process answers, its files read; called here, without a process."""
    path = folder / "model.keras"
    if hasattr(model, "get_config"):
        model.save(path)
    else:
        path = model
    made = request(path, **terms)
    files = []
    random = np.random.default_rng(0)
    for i, spec in enumerate(made.spec.inputs):
        files.append(str(folder / f"input-{i}.npy"))
        np.save(files[-1], random.normal(0, 1, (count, *spec.shape)).astype(spec.dtype))
    oracle.open_model({"request": asdict(made)})
    order = {"inputs": files, "count": count, "precision": precision, "folder": str(folder), "no_float64": no_float64}
    said = oracle.answer(order)

    def read(paths: Any) -> Any:
        return np.load(paths) if isinstance(paths, str) else [read(one) for one in paths]

    return {key: value if isinstance(value, str) else read(value) for key, value in said.items()}


def rms(errors: Any) -> float:
    return float(np.sqrt(np.mean(np.concatenate([np.asarray(e, np.float64).reshape(-1) for e in errors]) ** 2)))


def test_the_oracle_is_the_model_in_float64_and_keras_is_off_by_rounding(tmp_path: Path) -> None:
    model = dense()
    found = asked(model, tmp_path)
    w1, b1, w2, b2 = (np.asarray(w, np.float64) for w in model.get_weights())
    inputs = np.load(tmp_path / "input-0.npy").astype(np.float64)
    for x, (answer,) in zip(inputs, found["oracle"], strict=True):
        assert answer.dtype == np.float64
        np.testing.assert_allclose(answer, np.maximum(x @ w1 + b1, 0) @ w2 + b2, rtol=1e-13)
    own = rms([a[0] - b[0] for a, b in zip(found["keras"], found["oracle"], strict=True)])
    assert 1e-9 < own < 1e-6
    moved = [rms([a[0] - b[0] for a, b in zip(one, found["oracle"], strict=True)]) for one in found["moved"]]
    shaken = rms([a[0] - b[0] for a, b in zip(found["shaken"], found["oracle"], strict=True)])
    assert len(moved) == oracle.MOVED[1] and 0.3 * own < np.median(moved) < 10 * own
    assert 0.2 * GROWTH < shaken / np.median(moved) < 5 * GROWTH
    assert found["name"] == "float64 oracle" and found["yardstick"] == "Keras float32's own error"


def test_the_model_is_as_it_was_afterwards(tmp_path: Path) -> None:
    first, again = asked(dense(), tmp_path), None
    again = oracle._State.call(np.load(tmp_path / "input-0.npy")[0])
    np.testing.assert_array_equal(np.asarray(again[0]), first["keras"][0][0])


@pytest.mark.parametrize(("precision", "coarsest"), [("mixed_float16", 3e-2), ("mixed_bfloat16", 3e-1)])
def test_a_mixed_precision_model_has_the_same_oracle_and_a_larger_error_of_its_own(
    precision: str, coarsest: float, tmp_path: Path
) -> None:
    output = TensorSpec("y", (1, 4), "float16" if precision == "mixed_float16" else "float32")
    found = asked(dense(precision), tmp_path, outputs=(output,))
    errors = [np.asarray(a[0], np.float64) - b[0] for a, b in zip(found["keras"], found["oracle"], strict=True)]
    assert found["oracle"][0][0].dtype == np.float64 and 1e-5 < rms(errors) < coarsest
    assert found["yardstick"] == f"Keras {precision.removeprefix('mixed_')}'s own error"


def test_a_float64_model_is_its_own_oracle_and_rows_may_compute_in_float32(tmp_path: Path) -> None:
    terms = {"inputs": (TensorSpec("x", (1, 6), "float64"),), "outputs": (TensorSpec("y", (1, 4), "float64"),)}
    found = asked(dense("float64"), tmp_path, **terms)
    np.testing.assert_allclose(found["keras"][0][0], found["oracle"][0][0], rtol=1e-14)
    moved = rms([a[0] - b[0] for a, b in zip(found["moved"][0], found["oracle"], strict=True)])
    assert 1e-9 < moved < 1e-5


def test_rows_in_a_coarser_precision_get_its_rounding_as_the_yardstick(tmp_path: Path) -> None:
    found = asked(dense(), tmp_path, precision="tf32")
    moved = rms([a[0] - b[0] for a, b in zip(found["moved"][0], found["oracle"], strict=True)])
    assert 1e-5 < moved < 1e-2 and found["yardstick"] == "tf32 rounding"


def test_a_model_that_cannot_be_evaluated_in_float64_says_why(tmp_path: Path) -> None:
    import keras
    import tensorflow as tf

    @keras.saving.register_keras_serializable("test_oracle")
    class OnlyFloat32(keras.layers.Layer):  # type: ignore[misc,unused-ignore]
        def call(self, x: Any) -> Any:
            return tf.raw_ops.AddV2(x=x, y=tf.ones((), tf.float32))

    x = keras.Input((6,), name="x")
    model = keras.Model(x, keras.layers.Dense(4, name="y")(OnlyFloat32()(x)))
    found = asked(model, tmp_path)
    assert found["oracle"] == [] and "no float64 oracle" in found["name"] and "AddV2" in found["name"]
    assert len(found["keras"]) == 3


def test_a_model_whose_output_stays_in_float32_has_no_oracle(tmp_path: Path) -> None:
    import keras

    @keras.saving.register_keras_serializable("test_oracle")
    class Casts(keras.layers.Layer):  # type: ignore[misc,unused-ignore]
        def call(self, x: Any) -> Any:
            return keras.ops.cast(x, "float32")

    x = keras.Input((6,), name="x")
    found = asked(keras.Model(x, Casts(name="y")(keras.layers.Dense(4)(x))), tmp_path)
    assert found["oracle"] == [] and "an output stays float32" in found["name"]


def test_a_model_too_large_for_float64_is_judged_by_keras_own_answers_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oracle, "available_memory_mib", lambda: -1e9)
    found = asked(dense(), tmp_path)
    assert found["oracle"] == [] and "no float64 oracle: it would take" in found["name"]
    assert len(found["moved"]) == oracle.MOVED[1]


def test_float64_can_be_left_out(tmp_path: Path) -> None:
    found = asked(dense(), tmp_path, no_float64="it ran out of memory")
    assert found["oracle"] == [] and found["name"] == "Keras float32 (no float64 oracle: it ran out of memory)"


def test_a_saved_model_is_judged_by_its_own_answers_moved_by_rounding(tmp_path: Path) -> None:
    import tensorflow as tf

    class Module(tf.Module):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.w = tf.Variable(np.random.default_rng(0).normal(0, 1, (6, 4)).astype(np.float32))

        @tf.function(input_signature=[tf.TensorSpec((1, 6), tf.float32, name="x")])  # type: ignore[untyped-decorator,unused-ignore]
        def __call__(self, x: Any) -> Any:
            return {"y": x @ self.w}

    module = Module()
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"serving_default": module.__call__})
    found = asked(tmp_path / "saved", tmp_path)
    assert found["oracle"] == [] and "a SavedModel" in found["name"]
    moved = rms([a[0] - b[0] for a, b in zip(found["moved"][0], found["keras"], strict=True)])
    assert 1e-9 < moved < 1e-6


def test_through_its_process_a_correct_row_passes_and_a_wrong_one_does_not(tmp_path: Path) -> None:
    model = dense()
    model.save(tmp_path / "model.keras")
    inputs = np.random.default_rng(0).normal(0, 1, (3, 1, 6)).astype(np.float32)
    np.save(tmp_path / "input.npy", inputs)
    asked_of = oracle.Oracle(request(tmp_path / "model.keras"), 60.0)
    try:
        asked_of.open()
        truth = asked_of.truth([tmp_path / "input.npy"], 3, "float32", tmp_path)
    finally:
        asked_of.close()
    right = [[np.asarray(model(x, training=False))] for x in inputs]
    assert judge(Answers((OUTPUT,), right), truth, (OUTPUT,)).verdict is Verdict.PASS
    wrong = [[x[0] * np.float32(1.0001)] for x in right]
    assert judge(Answers((OUTPUT,), wrong), truth, (OUTPUT,)).verdict is Verdict.FAIL

"""Models that remember: recurrent layers start every call anew, and it is said; other state is refused by its layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keronyx.errors import ExportError
from keronyx.export import child, frozen, litert, signature, source, state

pytestmark = pytest.mark.slow


def _stateful() -> Any:
    """Stateful layers at the top, nested and in both directions."""
    import keras
    from keras import layers

    x = keras.Input((5, 3), batch_size=2, name="x")
    kept = layers.LSTM(4, stateful=True, return_sequences=True, name="keeps")
    inner = keras.Sequential([keras.Input((5, 3), batch_size=2), kept])
    return keras.Model(x, layers.Bidirectional(layers.GRU(4, stateful=True), name="both")(inner(x)))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN", "ConvLSTM1D"])
def test_stateful_layers_start_every_call_from_nothing(kind: str, to_onnx: Any, comparison: Any) -> None:
    import keras

    x = keras.Input((5, 6, 3) if kind == "ConvLSTM1D" else (5, 3), batch_size=2, name="x")
    options: Any = {"kernel_size": 3} if kind == "ConvLSTM1D" else {}
    model = keras.Model(x, getattr(keras.layers, kind)(4, stateful=True, **options)(x))
    assert state.made_stateless(model)
    path, spec, _ = to_onnx(model, 2)
    inputs = comparison.feeds(spec.inputs, 2)
    twice = [comparison.run_onnx(path, spec, inputs)[0] for _ in range(2)]
    assert np.array_equal(*twice)
    assert np.array_equal(*(comparison.keras_answers(model, inputs)[0] for _ in range(2)))


def test_the_user_is_told_of_every_layer_and_the_saved_model_keeps_no_state(tmp_path: Path, comparison: Any) -> None:
    import keras

    model = comparison.randomise(_stateful())
    model.save(tmp_path / "stateful.keras")
    made = {"source": asdict(source.identify(str(tmp_path / "stateful.keras"))), "batch": 2, "image_size": None}
    child.load(made)
    answer = child.write({"kind": "keras", "path": str(tmp_path / "saved.keras")})
    said = " ".join(answer["artifact"]["evidence"])
    assert said.startswith("every call starts from the initial state")
    assert all(name in said for name in ("keeps", "both"))
    inputs = [np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")]
    (expected,) = comparison.keras_answers(model, inputs)  # its first call
    saved = keras.saving.load_model(tmp_path / "saved.keras")
    for _ in range(2):
        np.testing.assert_allclose(comparison.keras_answers(saved, inputs)[0], expected, atol=1e-6)


def test_a_model_without_state_is_left_alone() -> None:
    import keras

    x = keras.Input((5, 3), name="x")
    model = keras.Model(x, keras.layers.LSTM(4)(x))
    assert state.made_stateless(model) == []


def _dropping() -> Any:
    import keras
    from keras import layers

    x = keras.Input((5, 3), name="x")
    cells = [layers.LSTMCell(4, dropout=0.2), layers.GRUCell(3, recurrent_dropout=0.1)]
    y = layers.RNN(cells, return_sequences=True)(x)
    y = layers.LSTM(4, dropout=0.2, recurrent_dropout=0.2, return_sequences=True)(y)
    return keras.Model(x, layers.Bidirectional(layers.SimpleRNN(4, dropout=0.3, recurrent_dropout=0.2))(y))


AUGMENTATION: dict[str, dict[str, Any]] = {
    "RandomFlip": {},
    "RandomRotation": {"factor": 0.2},
    "RandomZoom": {"height_factor": 0.2},
    "RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1},
    "RandomBrightness": {"factor": 0.2},
    "RandomContrast": {"factor": 0.2},
    "RandomHue": {"factor": 0.2},
    "RandomGrayscale": {},
    "RandomSharpness": {"factor": 0.2},
    "RandomColorDegeneration": {"factor": 0.2},
    "RandomPosterization": {"factor": 4},
    "RandomErasing": {},
    "RandomShear": {"x_factor": 0.1, "y_factor": 0.1},
    "MixUp": {},
    "CutMix": {},
    "RandAugment": {},
    "AugMix": {},
    "Dropout": {"rate": 0.3},
    "SpatialDropout2D": {"rate": 0.3},
    "GaussianNoise": {"stddev": 0.3},
    "AlphaDropout": {"rate": 0.3},
}


@pytest.mark.parametrize("name", AUGMENTATION)
def test_augmentation_is_not_there_at_inference(name: str, to_onnx: Any) -> None:
    import keras
    import onnx

    x = keras.Input((6, 6, 3), name="x")
    layer = getattr(keras.layers, name)(**AUGMENTATION[name])
    path, *_ = to_onnx(keras.Model(x, keras.layers.Conv2D(2, 3)(layer(x))), None)
    assert {node.op_type for node in onnx.load(path).graph.node} <= {"Transpose", "Conv"}


def test_generators_that_reach_no_output_may_count(to_onnx: Any, tmp_path: Path, comparison: Any) -> None:
    """Layers that drop in training draw numbers at inference too."""
    import tensorflow as tf

    model = _dropping()
    _, spec, _ = to_onnx(model, 2)
    frozen.convert(model, spec, tmp_path / "model.pb")
    litert.convert(model, spec, tmp_path / "model.tflite")
    inputs = comparison.feeds(spec.inputs, 2)
    answer = tf.lite.Interpreter(str(tmp_path / "model.tflite")).get_signature_runner()(x=inputs[0])
    comparison.assert_same(comparison.keras_answers(model, inputs), list(answer.values()))


def _random() -> Any:
    import keras

    class Noise(keras.layers.Layer):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.seed = keras.random.SeedGenerator(1)

        def call(self, x: Any) -> Any:
            return x + keras.random.uniform(keras.ops.shape(x), seed=self.seed)

    return Noise(name="noisy")


def _counting() -> Any:
    import keras

    class Counter(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

        def call(self, x: Any) -> Any:
            self.count.assign(self.count + 1)
            return x * self.count

    return Counter(name="counter")


def _training() -> Any:
    import keras

    class Training(keras.layers.Layer):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.norm = keras.layers.BatchNormalization(name="still_training")

        def build(self, shape: Any) -> None:
            self.norm.build(shape)

        def call(self, x: Any) -> Any:
            return self.norm(x, training=True)

    return Training()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_random, "layer noisy is random at inference"),
        (_counting, "layer counter changes the model on every call"),
        (_training, "layer still_training changes the model on every call"),
    ],
)
def test_other_state_is_refused_by_the_name_of_its_layer(make: Callable[[], Any], said: str) -> None:
    import keras

    x = keras.Input((4,), name="x")
    inner = keras.Sequential([keras.Input((4,)), make()])
    with pytest.raises(ExportError, match=said):
        signature.of_keras(keras.Model(x, inner(x)), "tiny", "tiny", 1, None)

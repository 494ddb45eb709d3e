"""Recurrent layers: one ONNX node each wherever ONNX has their maths, Keras' answers everywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow

STEPS, FEATURES, UNITS = 5, 3, 4


def _model(make: Callable[[], Any], steps: int | None = STEPS) -> Any:
    import keras

    x = keras.Input((steps, FEATURES), name="x")
    return keras.Model(x, make()(x))


def _operators(path: Path) -> Counter[str]:
    """Those of loops' bodies included."""
    import onnx

    from keronyx.export.onnx import _nodes

    return Counter(node.op_type for node in _nodes(onnx.load(path).graph))


def _answers(model: Any, inputs: list[Any], comparison: Any, tmp_path: Path, batch: int | None = None) -> Any:
    """Of Keras and ONNX Runtime to inputs of the test's own; and the file. Dimensions the model leaves open stay so."""
    from keronyx.export import onnx, signature

    comparison.randomise(model)
    spec = signature.of_keras(model, "tiny", "tiny", batch, None, leave_open=True)
    path = tmp_path / "model.onnx"
    onnx.convert(model, spec, path)
    return comparison.keras_answers(model, inputs), comparison.run_onnx(path, spec, inputs), path


def _lstm(**options: Any) -> Callable[[], Any]:
    return lambda: _layers().LSTM(UNITS, **options)


def _gru(**options: Any) -> Callable[[], Any]:
    return lambda: _layers().GRU(UNITS, **options)


def _simple(**options: Any) -> Callable[[], Any]:
    return lambda: _layers().SimpleRNN(UNITS, **options)


def _layers() -> Any:
    from keras import layers

    return layers


ONE_NODE = {
    "LSTM": _lstm(),
    "LSTM with sequences and states": _lstm(return_sequences=True, return_state=True),
    "LSTM backwards": _lstm(return_sequences=True, return_state=True, go_backwards=True),
    "LSTM without bias": _lstm(use_bias=False),
    "LSTM unrolled": _lstm(unroll=True, return_sequences=True),
    "LSTM of other activations": _lstm(activation="softsign", recurrent_activation="hard_sigmoid"),
    "GRU": _gru(return_sequences=True, return_state=True),
    "GRU resetting before": _gru(reset_after=False, return_sequences=True),
    "GRU without bias": _gru(use_bias=False),
    "GRU resetting before, without bias": _gru(use_bias=False, reset_after=False),
    "GRU backwards": _gru(go_backwards=True),
    "SimpleRNN": _simple(return_sequences=True),
    "SimpleRNN of relu": _simple(activation="relu", return_state=True),
    "SimpleRNN of no activation": _simple(activation=None),
    "SimpleRNN of softplus": _simple(activation="softplus"),
}


@pytest.mark.parametrize("batch", [1, None], ids=["batch 1", "dynamic batch"])
@pytest.mark.parametrize("name", ONE_NODE)
def test_a_recurrent_layer_is_one_node(name: str, batch: int | None, to_onnx: Any) -> None:
    path, *_ = to_onnx(_model(ONE_NODE[name]), batch)
    operators = _operators(path)
    assert operators["LSTM"] + operators["GRU"] + operators["RNN"] == 1
    assert not operators["Loop"] and sum(operators.values()) <= 7


@pytest.mark.parametrize("merge", ["concat", "sum", "mul", "ave", None])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_each_direction_is_one_node(kind: str, merge: str | None, to_onnx: Any) -> None:
    layer = getattr(_layers(), kind)(UNITS, return_sequences=True, return_state=True)
    path, *_ = to_onnx(_model(lambda: _layers().Bidirectional(layer, merge_mode=merge)), None)
    operators = _operators(path)
    assert operators[kind.removeprefix("Simple")] == 2 and not operators["Loop"]


def test_directions_of_different_kinds_are_a_node_each(to_onnx: Any) -> None:
    def make() -> Any:
        backwards = _layers().GRU(3, go_backwards=True, return_sequences=True)
        return _layers().Bidirectional(_layers().LSTM(4, return_sequences=True), backward_layer=backwards)

    path, *_ = to_onnx(_model(make))
    operators = _operators(path)
    assert operators["LSTM"] == operators["GRU"] == 1
    assert not operators["Slice"]  # turned back by Keras what was turned for it


def test_stacked_cells_are_a_node_each(to_onnx: Any) -> None:
    def make() -> Any:
        cells = [_layers().LSTMCell(4), _layers().GRUCell(3), _layers().SimpleRNNCell(2)]
        return _layers().RNN(cells, return_sequences=True, return_state=True)

    path, *_ = to_onnx(_model(make), None)
    operators = _operators(path)
    assert operators["LSTM"] == operators["GRU"] == operators["RNN"] == 1 and not operators["Loop"]


@pytest.mark.parametrize("dynamic", [False, True], ids=["fixed length", "open length"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "encoder and decoder"])
def test_states_may_be_inputs(kind: str, dynamic: bool, comparison: Any, tmp_path: Path) -> None:
    import keras
    from keras import layers

    steps = None if dynamic else STEPS
    x, h, c = keras.Input((steps, FEATURES), name="x"), keras.Input((4,), name="h"), keras.Input((4,), name="c")
    options: dict[str, Any] = {"return_sequences": True, "return_state": True}
    if kind == "LSTM":
        inputs = [x, h, c]
        outputs = layers.LSTM(4, **options)(x, initial_state=[h, c])
    elif kind == "GRU":
        inputs = [x, h]
        outputs = layers.GRU(4, **options)(x, initial_state=h)
    else:
        inputs = [x, keras.Input((steps, 2), name="y")]
        _, *states = layers.LSTM(4, return_state=True)(x)
        outputs = layers.LSTM(4, return_sequences=True)(inputs[1], initial_state=states)
    random = np.random.default_rng(0)
    shapes = [(2, *(size or 7 for size in tensor.shape[1:])) for tensor in inputs]
    feeds = [random.normal(size=shape).astype("float32") for shape in shapes]
    expected, found, path = _answers(keras.Model(inputs, outputs), feeds, comparison, tmp_path)
    comparison.assert_same(expected, found)
    assert not _operators(path)["Loop"]


MASKS = np.array([[1, 1, 1, 0, 0], [0, 1, 0, 0, 1], [0, 0, 1, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], "float32")
"""Right-padded, with holes, left-padded, without a mask, and all masked."""

MASKED = {
    "LSTM": _lstm(return_sequences=True, return_state=True),
    "LSTM, last output": _lstm(),
    "LSTM with zeros where masked": _lstm(return_sequences=True, zero_output_for_mask=True),
    "LSTM with zeros, last output": _lstm(zero_output_for_mask=True),
    "LSTM backwards": _lstm(return_sequences=True, return_state=True, go_backwards=True),
    "GRU": _gru(return_sequences=True, return_state=True),
    "SimpleRNN": _simple(),
    "both directions": lambda: _layers().Bidirectional(_layers().LSTM(4, return_sequences=True)),
    "stacked cells": lambda: _layers().RNN([_layers().LSTMCell(4), _layers().GRUCell(3)], return_sequences=True),
}


@pytest.mark.parametrize("length", [STEPS, None], ids=["fixed length", "open length"])
@pytest.mark.parametrize("name", MASKED)
def test_masked_steps_keep_the_state(name: str, length: int | None, comparison: Any, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(5, 5, FEATURES)).astype("float32") * MASKS[..., None]
    import keras

    inputs = keras.Input((length, FEATURES), name="x")
    model = keras.Model(inputs, MASKED[name]()(keras.layers.Masking()(inputs)))
    expected, found, path = _answers(model, [x], comparison, tmp_path)
    comparison.assert_same(expected, found)
    assert not _operators(path)["Loop"]


def test_where_all_is_masked_the_first_state_stays(comparison: Any, tmp_path: Path) -> None:
    import keras

    x, h = keras.Input((STEPS, FEATURES), name="x"), keras.Input((UNITS,), name="h")
    layer = keras.layers.GRU(UNITS, return_sequences=True, return_state=True)
    model = keras.Model([x, h], layer(x, initial_state=h, mask=keras.ops.any(x != 0, -1)))
    random = np.random.default_rng(0)
    feeds = [random.normal(size=(5, 5, FEATURES)) * MASKS[..., None], random.normal(size=(5, UNITS))]
    expected, found, _ = _answers(model, [a.astype("float32") for a in feeds], comparison, tmp_path)
    comparison.assert_same(expected, found)
    assert np.array_equal(found[1][-1], feeds[1][-1].astype("float32"))


def test_masks_of_an_embedding_pass_through_layers(to_onnx: Any) -> None:
    import keras
    from keras import layers

    words = keras.Input((6,), dtype="int32", name="words")
    y = layers.LSTM(4, return_sequences=True)(layers.Embedding(9, 3, mask_zero=True)(words))
    path, *_ = to_onnx(keras.Model(words, layers.Dense(2)(layers.GRU(3)(y))), None)
    assert not _operators(path)["Loop"]


def _own_cell() -> Any:
    import keras

    class Sine(keras.layers.Layer):
        """A cell ONNX has no operator for."""

        state_size = UNITS

        def build(self, shape: Any) -> None:
            self.w = self.add_weight(shape=(shape[-1], UNITS))
            self.r = self.add_weight(shape=(UNITS, UNITS))

        def call(self, x: Any, states: Any) -> Any:
            h = keras.ops.sin(x @ self.w + states[0] @ self.r)
            return h, [h]

    return Sine()


OTHERS = {
    "a cell of the user's own": lambda: _layers().RNN(_own_cell(), return_sequences=True),
    "an activation ONNX Runtime has not": lambda: _layers().LSTM(UNITS, activation="silu"),
}


@pytest.mark.parametrize("batch", [1, None], ids=["batch 1", "dynamic batch"])
@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
@pytest.mark.parametrize("name", OTHERS)
def test_what_onnx_has_no_operator_for_stays_a_loop(name: str, masked: bool, batch: int | None, to_onnx: Any) -> None:
    import keras

    x = keras.Input((STEPS, FEATURES), name="x")
    y = keras.layers.Masking(mask_value=0.5)(x) if masked else x
    path, *_ = to_onnx(keras.Model(x, OTHERS[name]()(y)), batch)
    assert _operators(path)["Loop"]


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolutional_lstms_stay_loops(rank: int, to_onnx: Any) -> None:
    import keras

    x = keras.Input((3, *[5] * rank, 2), name="x")
    layer = getattr(keras.layers, f"ConvLSTM{rank}D")(3, 3, padding="same", return_sequences=True)
    path, *_ = to_onnx(keras.Model(x, layer(x)), None)
    assert _operators(path)["Loop"] == 1

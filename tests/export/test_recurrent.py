"""Recurrent layers become one LSTM, GRU or RNN operator, exactly."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow


def operators(path: Path) -> Counter[str]:
    import onnx

    return Counter(node.op_type for node in onnx.load(path).graph.node)


def sequence_model(*layers: Any, steps: int | None = 6) -> Any:
    import keras

    x = keras.Input((steps, 3))
    y = x
    for layer in layers:
        y = layer(y)
    return keras.Model(x, y)


CASES = {
    "lstm": ("LSTM", "LSTM", {}),
    "lstm that returns every step": ("LSTM", "LSTM", {"return_sequences": True}),
    "lstm backwards": ("LSTM", "LSTM", {"return_sequences": True, "go_backwards": True}),
    "lstm without bias, with relu": ("LSTM", "LSTM", {"use_bias": False, "activation": "relu"}),
    "lstm unrolled": ("LSTM", "LSTM", {"unroll": True}),
    "gru": ("GRU", "GRU", {}),
    "gru that returns every step": ("GRU", "GRU", {"return_sequences": True}),
    "gru resetting before the product": ("GRU", "GRU", {"reset_after": False}),
    "gru of other activations": ("GRU", "GRU", {"activation": "sigmoid", "recurrent_activation": "tanh"}),
    "gru without bias": ("GRU", "GRU", {"use_bias": False}),
    "simple": ("SimpleRNN", "RNN", {"return_sequences": True}),
    "simple with relu": ("SimpleRNN", "RNN", {"activation": "relu", "go_backwards": True}),
}


@pytest.mark.parametrize("batch", [1, None])
@pytest.mark.parametrize("case", CASES)
def test_a_recurrent_layer_is_one_operator(to_onnx: Any, case: str, batch: int | None) -> None:
    import keras

    layer, operator, options = CASES[case]
    path, *_ = to_onnx(sequence_model(getattr(keras.layers, layer)(5, **options)), batch)
    found = operators(path)
    assert found[operator] == 1 and not found["Loop"]
    assert not found["Expand"]  # a first state of zeros is left out


def test_states_go_from_one_layer_to_the_next(to_onnx: Any) -> None:
    import keras

    x = keras.Input((4, 3))
    every, h, c = keras.layers.LSTM(5, return_sequences=True, return_state=True)(x)
    last = keras.layers.GRU(5)(every, initial_state=h)
    model = keras.Model(x, [keras.layers.LSTM(5)(x, initial_state=[h, c]), last])
    path, *_ = to_onnx(model, None)
    assert operators(path)["LSTM"] == 2 and operators(path)["GRU"] == 1


@pytest.mark.parametrize("merge", ["concat", "sum", None])
def test_a_bidirectional_layer_is_two_operators(to_onnx: Any, merge: str | None) -> None:
    import keras

    both = keras.layers.Bidirectional(keras.layers.GRU(4, return_sequences=True), merge_mode=merge)
    path, *_ = to_onnx(sequence_model(both))
    found = operators(path)
    assert found["GRU"] == 2 and not found["Slice"]  # the layer turns back the steps that went backwards


@pytest.mark.parametrize("batch", [2, None])
@pytest.mark.parametrize("axes", [(1,), (-1,), (0, 2), (0, 1, 2)])
def test_turning_axes_round_is_one_slice(to_onnx: Any, axes: tuple[int, ...], batch: int | None) -> None:
    import keras

    x = keras.Input((4, 3))
    path, *_ = to_onnx(keras.Model(x, keras.ops.flip(x, axes) * 2), batch)
    assert operators(path) == {"Slice": 1, "Mul": 1}


def test_turning_different_axes_stays_two_slices(to_onnx: Any) -> None:
    import keras

    x = keras.Input((4, 3))
    path, *_ = to_onnx(keras.Model(x, keras.ops.flip(keras.ops.flip(x, 1), 2)))
    assert operators(path)["Slice"] == 2


def test_a_cell_in_a_plain_rnn_layer_is_one_operator(to_onnx: Any) -> None:
    import keras

    path, *_ = to_onnx(sequence_model(keras.layers.RNN(keras.layers.LSTMCell(5))))
    assert operators(path)["LSTM"] == 1


@pytest.mark.parametrize("options", [{"activation": "silu"}, {"recurrent_activation": "exponential"}])
def test_activations_onnx_has_not_stay_a_loop(to_onnx: Any, options: dict[str, str]) -> None:
    import keras

    path, *_ = to_onnx(sequence_model(keras.layers.GRU(4, **options)))
    assert operators(path)["Loop"] == 1


def test_a_mask_keeps_the_state(comparison: Any, tmp_path: Path) -> None:
    import keras

    from keronyx.export import onnx, signature

    x = keras.Input((6, 3))
    masked = keras.layers.Masking()(x)
    model = comparison.randomise(keras.Model(x, keras.layers.GRU(4)(masked)))
    spec = signature.of_keras(model, "tiny", "tiny", 2, None)
    inputs = comparison.feeds(spec.inputs, 2)
    inputs[0][0, :2] = inputs[0][1, 4:] = 0
    onnx.convert(model, spec, tmp_path / "model.onnx")
    found = comparison.run_onnx(tmp_path / "model.onnx", spec, inputs)
    comparison.assert_same(comparison.keras_answers(model, inputs), found)
    assert np.abs(found[0]).max() > 0


def test_a_cell_of_the_users_own_stays_a_loop(to_onnx: Any) -> None:
    import keras

    class Doubled(keras.layers.GRUCell):
        def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
            return super().call(inputs * 2, states, training)

    path, *_ = to_onnx(sequence_model(keras.layers.RNN(Doubled(4))))
    assert not operators(path)["GRU"]

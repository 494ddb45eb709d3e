"""Recurrent layers, and layers applied to every step."""

from __future__ import annotations

from typing import Any

from benchmarks.families.building import network
from benchmarks.families.convolutions import _stack


@network()
def lstm() -> Any:
    from keras import layers

    return _stack((12, 5), layers.LSTM(8, return_sequences=True), layers.LSTM(6), layers.Dense(3))


@network()
def gru() -> Any:
    from keras import layers

    return _stack((12, 5), layers.GRU(8, return_sequences=True), layers.GRU(6, reset_after=False), layers.Dense(3))


@network()
def simple_rnn() -> Any:
    from keras import layers

    return _stack((10, 4), layers.SimpleRNN(6, return_sequences=True), layers.SimpleRNN(4, activation="relu"))


@network()
def bidirectional() -> Any:
    from keras import layers

    return _stack(
        (10, 4),
        layers.Bidirectional(layers.LSTM(5, return_sequences=True)),
        layers.Bidirectional(layers.GRU(4), merge_mode="sum"),
    )


@network()
def backwards_and_unrolled() -> Any:
    from keras import layers

    return _stack((8, 4), layers.GRU(5, go_backwards=True, return_sequences=True), layers.LSTM(4, unroll=True))


@network()
def states_returned() -> Any:
    """An encoder whose state starts a decoder."""
    from keras import Input, Model, layers

    source, target = Input((9, 4), name="source"), Input((7, 4), name="target")
    _, h, c = layers.LSTM(6, return_state=True)(source)
    decoded = layers.LSTM(6, return_sequences=True)(target, initial_state=[h, c])
    return Model([source, target], layers.Dense(5, activation="softmax")(decoded))


@network()
def masked_lstm() -> Any:
    from keras import layers

    return _stack((10,), layers.Embedding(20, 6, mask_zero=True), layers.LSTM(8), layers.Dense(2))


@network()
def masked_bidirectional_gru() -> Any:
    from keras import layers

    return _stack(
        (10, 4), layers.Masking(0.0), layers.Bidirectional(layers.GRU(5, return_sequences=True)), layers.Dense(2)
    )


@network("--batch", "2")
def stateful_lstm() -> Any:
    """Fixed batch; its state lives on from call to call."""
    from keras import Input, Model, layers

    x = Input(batch_shape=(2, 6, 3), name="x")
    return Model(x, layers.Dense(2)(layers.LSTM(5, stateful=True, name="memory")(x)))


@network()
def open_length_lstm() -> Any:
    from keras import layers

    return _stack((None, 5), layers.LSTM(8, return_sequences=True), layers.GRU(4))


@network("--batch", "dynamic")
def dynamic_batch_gru() -> Any:
    from keras import layers

    return _stack((9, 5), layers.GRU(8, return_sequences=True), layers.LSTM(4))


@network()
def conv_lstm_2d() -> Any:
    from keras import layers

    return _stack((4, 8, 8, 2), layers.ConvLSTM2D(4, 3, padding="same", return_sequences=True), layers.ConvLSTM2D(3, 3))


@network()
def conv_lstm_1d() -> Any:
    from keras import layers

    return _stack((5, 12, 3), layers.ConvLSTM1D(4, 3, padding="same"))


@network()
def custom_cell() -> Any:
    from keras import layers

    cells = [layers.LSTMCell(5), layers.GRUCell(4)]
    return _stack((8, 3), layers.RNN(layers.StackedRNNCells(cells), return_sequences=True))


@network()
def time_distributed() -> Any:
    from keras import layers

    return _stack(
        (6, 10, 10, 3),
        layers.TimeDistributed(layers.Conv2D(4, 3, activation="relu")),
        layers.TimeDistributed(layers.GlobalAveragePooling2D()),
        layers.TimeDistributed(layers.Dense(5)),
        layers.LSTM(4),
    )


@network()
def time_distributed_open_length() -> Any:
    from keras import layers

    return _stack((None, 12), layers.TimeDistributed(layers.Dense(8, activation="relu")), layers.GRU(4))


@network()
def time_distributed_model() -> Any:
    from keras import Input, Sequential, layers

    inner = Sequential([Input((8, 8, 1)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Flatten()])
    return _stack((5, 8, 8, 1), layers.TimeDistributed(inner), layers.Conv1D(4, 3, padding="same"))

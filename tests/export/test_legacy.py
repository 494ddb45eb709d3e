"""Files as Keras 1 and 2 wrote them load, and answer what those Kerases answered.

No old Keras can be installed beside Keras 3: the files are written here by hand in the old layouts, and the answers
come from numpy or from layers of today with the same weights.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from keronyx.errors import KeronyxError, UsageError
from keronyx.export import source as sources
from keronyx.export.source import identify
from keronyx.types import Array

pytestmark = pytest.mark.slow

Weights = Mapping[str, Sequence[tuple[str, Array]]]
RANDOM = np.random.default_rng(0)


def draw(*shape: int) -> Array:
    return RANDOM.normal(0, 0.5, shape).astype("float32")


def write_h5(
    path: Path, config: Any, weights: Weights, version: str | None = "2.2.4", backend: str = "tensorflow"
) -> Path:
    """The layout of Keras 1.0 to TensorFlow 2.15: attributes, a group a layer, weights listed by name.

    Args:
        config: None writes weights alone, at the root.
        version: None leaves it out, as Keras 1 did.
    """
    import h5py

    with h5py.File(path, "w") as file:
        root = file
        if config is not None:
            file.attrs["model_config"] = json.dumps(config).encode()
            root = file.create_group("model_weights")
        for place in {file, root}:
            if version is not None:
                place.attrs["keras_version"] = version.encode()
                place.attrs["backend"] = backend.encode()
        root.attrs["layer_names"] = [name.encode() for name in weights]
        for name, arrays in weights.items():
            group = root.create_group(name)
            group.attrs["weight_names"] = [weight.encode() for weight, _ in arrays]
            for weight, array in arrays:
                group.create_dataset(weight, data=array)
    return path


def load(path: Path, **options: Any) -> Any:
    return sources.load(identify(str(path), **options))


def answer(model: Any, *inputs: Array) -> Array:
    return np.asarray(model(list(inputs) if len(inputs) > 1 else inputs[0], training=False))


def refused(path: Path, message: str, **options: Any) -> KeronyxError:
    with pytest.raises(KeronyxError, match=message) as error:
        load(path, **options)
    assert "\n" not in error.value.message + error.value.remedy
    return error.value


def layer(kind: str, name: str, inbound: Any = (), **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name, **config}, "name": name, "inbound_nodes": inbound}


def functional(layers: list[Any], inputs: list[str], outputs: list[Any], kind: str = "Model") -> dict[str, Any]:
    ends = [[out, 0, 0] if isinstance(out, str) else out for out in outputs]
    inner = {"name": "model_1", "layers": layers, "input_layers": [[i, 0, 0] for i in inputs], "output_layers": ends}
    return {"class_name": kind, "config": inner}


DENSE = {"activation": "linear", "use_bias": True, "trainable": True}
GLOROT = {"class_name": "VarianceScaling", "config": {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform"}}


def dense(name: str, units: int, inbound: Any = (), **more: Any) -> dict[str, Any]:
    return layer(
        "Dense", name, inbound, units=units, kernel_initializer=GLOROT, kernel_regularizer=None, **DENSE | more
    )


def old_input(name: str, *shape: int | None, **more: Any) -> dict[str, Any]:
    return layer("InputLayer", name, batch_input_shape=[None, *shape], dtype="float32", sparse=False, **more)


# --- Keras 2 ----------------------------------------------------------------------------------------------------------


def conv_net(path: Path, version: str = "2.0.6", backend: str = "tensorflow") -> tuple[Path, list[Array]]:
    """A Sequential whose configuration is a list, with `batch_input_shape` in its first layer."""
    import keras

    kernel, bias = draw(3, 3, 2, 4), draw(4)
    moments = [draw(4), draw(4), draw(4), np.abs(draw(4)) + 0.5]
    config = {
        "class_name": "Sequential",
        "config": [
            {"class_name": "Conv2D", "config": {
                "name": "conv2d_1", "trainable": True, "batch_input_shape": [None, 6, 5, 2], "dtype": "float32",
                "filters": 4, "kernel_size": [3, 3], "strides": [1, 1], "padding": "same",
                "data_format": "channels_last", "dilation_rate": [1, 1], "activation": "relu", "use_bias": True,
                "kernel_initializer": {"class_name": "VarianceScaling", "config": {"distribution": "normal"}},
                "bias_initializer": {"class_name": "Zeros", "config": {}}, "kernel_regularizer": None,
                "activity_regularizer": None, "kernel_constraint": None}},
            {"class_name": "BatchNormalization", "config": {
                "name": "batch_normalization_1", "trainable": True, "axis": [-1], "momentum": 0.99, "epsilon": 0.001,
                "center": True, "scale": True, "beta_initializer": {"class_name": "Zeros", "config": {}},
                "moving_mean_initializer": {"class_name": "Zeros", "config": {}}}},
        ],
    }  # fmt: skip
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    weights = {
        "conv2d_1": [("conv2d_1/kernel:0", kernel), ("conv2d_1/bias:0", bias)],
        "batch_normalization_1": [(f"batch_normalization_1/{n}:0", a) for n, a in zip(names, moments, strict=True)],
    }
    assert keras.__version__.startswith("3")
    return write_h5(path, config, weights, version, backend), [kernel, bias, *moments]


def conv_net_of_today(weights: list[Array]) -> Any:
    import keras

    layers = [keras.layers.Conv2D(4, 3, padding="same", activation="relu"), keras.layers.BatchNormalization()]
    model = keras.Sequential([keras.Input((6, 5, 2)), *layers])
    model.set_weights(weights)
    return model


def test_a_sequential_whose_configuration_is_a_list_loads(tmp_path: Path) -> None:
    path, weights = conv_net(tmp_path / "old.h5")
    x = draw(2, 6, 5, 2)
    loaded = load(path)
    np.testing.assert_allclose(answer(loaded, x), answer(conv_net_of_today(weights), x), rtol=1e-5, atol=1e-6)
    assert [tuple(tensor.shape) for tensor in loaded.inputs] == [(None, 6, 5, 2)]
    assert loaded.inputs[0]._keras_history.operation.name == "conv2d_1_input"


def test_theanos_kernels_are_flipped(tmp_path: Path) -> None:
    path, (kernel, *rest) = conv_net(tmp_path / "theano.h5", backend="theano")
    x = draw(2, 6, 5, 2)
    flipped = conv_net_of_today([kernel[::-1, ::-1], *rest])
    np.testing.assert_allclose(answer(load(path), x), answer(flipped, x), rtol=1e-5, atol=1e-6)


def test_hdf5_under_the_name_keras_loads(tmp_path: Path) -> None:
    path, weights = conv_net(tmp_path / "old.keras")
    x = draw(1, 6, 5, 2)
    np.testing.assert_allclose(answer(load(path), x), answer(conv_net_of_today(weights), x), rtol=1e-5, atol=1e-6)


def test_a_json_file_and_its_weights_load(tmp_path: Path) -> None:
    path, weights = conv_net(tmp_path / "old.h5", "2.2.4")
    import h5py

    with h5py.File(path) as file:
        config = json.loads(file.attrs["model_config"])
    config |= {"keras_version": "2.2.4", "backend": "tensorflow"}
    (tmp_path / "net.json").write_text(json.dumps(config))
    (tmp_path / "twice.json").write_text(json.dumps(json.dumps(config)))
    names = [f"conv2d_1/{n}:0" for n in ("kernel", "bias")]
    moments = [f"batch_normalization_1/{n}:0" for n in ("gamma", "beta", "moving_mean", "moving_variance")]
    alone = {
        "conv2d_1": list(zip(names, weights[:2], strict=True)),
        "batch_normalization_1": list(zip(moments, weights[2:], strict=True)),
    }
    write_h5(tmp_path / "net.weights.h5", None, alone)  # what `save_weights` of Keras 2 wrote, whatever the name
    x = draw(1, 6, 5, 2)
    expected = answer(conv_net_of_today(weights), x)
    for model, filled in (("net.json", "net.weights.h5"), ("net.json", "old.h5"), ("twice.json", "net.weights.h5")):
        loaded = load(tmp_path / model, weights=str(tmp_path / filled))
        np.testing.assert_allclose(answer(loaded, x), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(UsageError, match="without its weights") as error:
        identify(str(tmp_path / "net.json"))
    assert "--weights" in error.value.remedy


def test_a_json_file_of_keras_3_takes_weights_of_keras_3(tmp_path: Path) -> None:
    model = conv_net_of_today([draw(3, 3, 2, 4), *(np.abs(draw(4)) for _ in range(5))])
    (tmp_path / "net.json").write_text(model.to_json())
    model.save_weights(tmp_path / "net.weights.h5")
    (tmp_path / "net.weights.h5").rename(tmp_path / "other.h5")  # the layout counts, not the name
    x = draw(1, 6, 5, 2)
    loaded = load(tmp_path / "net.json", weights=str(tmp_path / "other.h5"))
    np.testing.assert_array_equal(answer(loaded, x), answer(model, x))


def nested(path: Path) -> tuple[Path, dict[str, Array]]:
    """A functional model of TensorFlow 2 with models inside, which were called as number 1 and 2."""
    batch = {"axis": [1], "momentum": 0.99, "epsilon": 0.001, "center": True, "scale": True}
    inside = functional(
        [
            old_input("in_b", 3, ragged=False),
            layer("BatchNormalization", "bn", [[["in_b", 0, 0, {"training": False}]]], trainable=False, **batch),
            dense("d", 3, [[["bn", 0, 0, {}]]], trainable=False),
        ],
        ["in_b"],
        ["d"],
        "Functional",
    )
    inside["config"] |= {"name": "frozen", "trainable": False}
    row = {"class_name": "Sequential", "config": {"name": "row", "layers": [old_input("in_c", 3), dense("e", 3)]}}
    config = functional(
        [
            old_input("x", 3, ragged=False),
            {**inside, "name": "frozen", "inbound_nodes": [[["x", 0, 0, {}]], [["row", 1, 0, {}]]]},
            {**row, "name": "row", "inbound_nodes": [[["x", 0, 0, {}]]]},
            layer("Add", "add", [[["frozen", 1, 0, {}], ["row", 1, 0, {}], ["frozen", 2, 0, {}]]], dtype="float32"),
        ],
        ["x"],
        ["add", ["row", 1, 0], ["frozen", 2, 0]],
        "Functional",
    )
    w = {"d/kernel:0": draw(3, 3), "d/bias:0": draw(3), "bn/gamma:0": draw(3), "bn/beta:0": draw(3)}
    w |= {"bn/moving_mean:0": draw(3), "bn/moving_variance:0": np.abs(draw(3)) + 0.5}
    e = {"e/kernel:0": draw(3, 3), "e/bias:0": draw(3)}
    # Keras 2.2 wrote what could train first, frozen or not; Keras 3 has a frozen model's weights layer by layer.
    order = ["bn/gamma:0", "bn/beta:0", "d/kernel:0", "d/bias:0", "bn/moving_mean:0", "bn/moving_variance:0"]
    weights = {"x": [], "frozen": [(name, w[name]) for name in order], "row": list(e.items()), "add": []}
    return write_h5(path, config, weights, "2.4.0"), w | e


def test_models_inside_models_keep_their_calls_and_their_weights(tmp_path: Path) -> None:
    path, w = nested(tmp_path / "nested.h5")
    x = draw(4, 3)

    def frozen(x: Array) -> Array:
        scale = w["bn/gamma:0"] / np.sqrt(w["bn/moving_variance:0"] + 0.001)
        return ((x - w["bn/moving_mean:0"]) * scale + w["bn/beta:0"]) @ w["d/kernel:0"] + w["d/bias:0"]

    row = x @ w["e/kernel:0"] + w["e/bias:0"]
    expected = [frozen(x) + row + frozen(row), row, frozen(row)]
    for found, wanted in zip(load(path)(x), expected, strict=True):
        np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-4, atol=1e-5)


def test_functions_of_tensorflow_become_operations_of_keras(tmp_path: Path) -> None:
    def op(name: str, function: str, *inbound: Any, kind: str = "TFOpLambda") -> dict[str, Any]:
        return layer(kind, name, [*inbound], trainable=True, dtype="float32", function=function)

    item = {"slice_spec": [{"class_name": "__ellipsis__"}, {"start": 1, "stop": None, "step": None}]}
    config = functional(
        [
            old_input("x", 4),
            op("twice", "math.multiply", ["x", 0, 0, {"y": 2.0, "name": None}]),
            op("minus", "math.subtract", ["_CONSTANT_VALUE", -1, 1.0, {"y": ["twice", 0, 0], "name": None}]),
            op("plus", "__operators__.add", ["minus", 0, 0, {"y": ["x", 0, 0], "name": None}]),
            op("part", "__operators__.getitem", ["plus", 0, 0, item], kind="SlicingOpLambda"),
            op("mean", "math.reduce_mean", ["part", 0, 0, {"axis": 1, "keepdims": True}]),
            op("both", "concat", [["part", 0, 0, {"axis": -1}], ["mean", 0, 0, {}]]),
            op("root", "math.sqrt", ["squares", 0, 0, {"name": None}]),
            op("squares", "math.square", ["both", 0, 0, {}]),
            op("wide", "expand_dims", ["root", 0, 0, {"axis": 1}]),
            op("soft", "nn.softmax", ["wide", 0, 0, {"axis": -1}]),
            layer("AddMetric", "said", [["soft", 0, 0, {}]], aggregation="mean", metric_name="m"),
        ],
        ["x"],
        ["soft"],
        "Functional",
    )
    path = write_h5(tmp_path / "ops.h5", config, {}, "2.7.0")
    x = draw(3, 4)
    part = (1 - 2 * x + x)[..., 1:]
    both = np.abs(np.concatenate([part, part.mean(1, keepdims=True)], -1))[:, None]
    expected = np.exp(both) / np.exp(both).sum(-1, keepdims=True)
    np.testing.assert_allclose(answer(load(path), x), expected, rtol=1e-4, atol=1e-6)


def test_a_function_without_an_equal_names_its_layer(tmp_path: Path) -> None:
    config = functional(
        [
            old_input("x", 4, 4, 1),
            layer("TFOpLambda", "tf.image.resize", [["x", 0, 0, {"size": [2, 2]}]], function="image.resize"),
        ],
        ["x"],
        ["tf.image.resize"],
    )
    path = write_h5(tmp_path / "ops.h5", config, {}, "2.7.0")
    error = refused(path, r"layer 'tf\.image\.resize' calls TensorFlow's image\.resize")
    assert "--substitute-layer tf.image.resize=" in error.remedy
    loaded = load(path, substitute_layer=["tf.image.resize=resizing:2x2"])
    assert loaded.outputs[0].shape == (None, 2, 2, 1)


def test_arguments_that_changed_nothing_are_left_out(tmp_path: Path) -> None:
    old = {
        "kernel_size": [2, 2],
        "padding": "valid",
        "groups": 1,
        "dtype": {"class_name": "Policy", "config": {"name": "float32"}},
    }
    config = functional(
        [
            old_input("x", 3, 3, 2, ragged=False),
            layer("DepthwiseConv2D", "dw", [[["x", 0, 0, {}]]], depth_multiplier=1, activation="linear", **old),
            layer("LeakyReLU", "leak", [[["dw", 0, 0, {}]]], alpha=0.25, dtype="float32"),
        ],
        ["x"],
        ["leak"],
    )
    kernel, bias = draw(2, 2, 2, 1), draw(2)
    weights = {"dw": [("dw/depthwise_kernel:0", kernel), ("dw/bias:0", bias)]}
    loaded = load(write_h5(tmp_path / "dw.h5", config, weights, "2.11.0"))
    x = draw(1, 3, 3, 2)
    total = sum(x[0, i : i + 2, j : j + 2] * kernel[i, j, :, 0] for i in range(2) for j in range(2)) + bias
    np.testing.assert_allclose(answer(loaded, x)[0], np.where(total > 0, total, 0.25 * total), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (layer("GRU", "r", units=2, time_major=True), r"layer 'r' \(GRU\) has time_major=True"),
        (layer("LocallyConnected2D", "r", filters=2), "needs the custom class LocallyConnected2D"),
        (layer("Conv2D", "r", filters=2, kernel_size=[1, 1], data_format="channels_first"), "'r'.* is channels_first"),
        (layer("UpSampling2D", "r", size=[2, 2], interpolation="bilinear"), "'r'.* resizes as TensorFlow 1 did"),
    ],
)
def test_what_keras_3_has_no_equal_of_names_its_layer(made: dict[str, Any], message: str, tmp_path: Path) -> None:
    made["inbound_nodes"] = [[["x", 0, 0, {}]]]
    path = write_h5(tmp_path / "old.h5", functional([old_input("x", 4, 4, 3), made], ["x"], ["r"]), {})
    assert refused(path, message)


def test_a_ragged_input_and_two_layers_of_one_name_are_said(tmp_path: Path) -> None:
    ragged = functional([old_input("x", 4, ragged=True)], ["x"], ["x"])
    assert refused(write_h5(tmp_path / "ragged.h5", ragged, {}), "input 'x' is ragged")
    twice = functional([old_input("x", 4), *(dense("d", 4, [[["x", 0, 0, {}]]]) for _ in range(2))], ["x"], ["d"])
    assert refused(write_h5(tmp_path / "twice.h5", twice, {}), "two layers are called 'd'")


# --- recurrent layers -------------------------------------------------------------------------------------------------


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def hard_sigmoid(x: Array) -> Array:
    """As Keras 1 and 2 had it."""
    return np.clip(0.2 * x + 0.5, 0, 1)


def lstm(x: Array, kernel: Array, recurrent: Array, bias: Array, gate: Any) -> Array:
    """Last state of an LSTM whose gates are i, f, c, o."""
    state = carry = np.zeros((len(x), recurrent.shape[0]), "float32")
    for t in range(x.shape[1]):
        i, f, c, o = np.split(x[:, t] @ kernel + state @ recurrent + bias, 4, axis=-1)
        carry = gate(f) * carry + gate(i) * np.tanh(c)
        state = gate(o) * np.tanh(carry)
    return state


def gru(x: Array, kernel: Array, recurrent: Array, bias: Array, gate: Any) -> Array:
    """Last state of a GRU (z, r, h); two biases mean that the reset gate comes after the product."""
    state = np.zeros((len(x), recurrent.shape[0]), "float32")
    given, fed = (bias, np.zeros_like(bias)) if bias.ndim == 1 else bias
    for t in range(x.shape[1]):
        a, b = x[:, t] @ kernel + given, state @ recurrent + fed
        n = recurrent.shape[0]
        z, r = gate(a[:, :n] + b[:, :n]), gate(a[:, n : 2 * n] + b[:, n : 2 * n])
        inner = r * b[:, 2 * n :] if bias.ndim == 2 else (r * state) @ recurrent[:, 2 * n :]
        state = z * state + (1 - z) * np.tanh(a[:, 2 * n :] + inner)
    return state


def recurrent_file(path: Path, kind: str, weights: list[Array], version: str = "2.1.0", **config: Any) -> Path:
    made = {"class_name": kind, "config": {"name": "r", "units": 2, "batch_input_shape": [None, 5, 3], **config}}
    stored = {"r": [(f"r/weight_{i}:0", array) for i, array in enumerate(weights)]}
    return write_h5(path, {"class_name": "Sequential", "config": [made]}, stored, version)


OLD_RNN = {"activation": "tanh", "recurrent_activation": "hard_sigmoid", "implementation": 0, "unit_forget_bias": True}


def test_hard_sigmoid_is_that_of_keras_2(tmp_path: Path) -> None:
    x, weights = 3 * draw(4, 5, 3), [draw(3, 8), draw(2, 8), draw(8)]
    path = recurrent_file(tmp_path / "lstm.h5", "LSTM", weights, **OLD_RNN)
    np.testing.assert_allclose(answer(load(path), x), lstm(x, *weights, hard_sigmoid), rtol=1e-4, atol=1e-5)
    steep = layer("Activation", "a", activation="hard_sigmoid", batch_input_shape=[None, 4])
    path = write_h5(tmp_path / "steep.h5", {"class_name": "Sequential", "config": [steep]}, {})
    x = 5 * draw(6, 4)
    np.testing.assert_allclose(answer(load(path), x), hard_sigmoid(x), rtol=1e-4, atol=1e-6)


def test_what_was_loaded_is_saved_and_loaded_again_the_same(tmp_path: Path) -> None:
    import keras

    x, weights = 3 * draw(4, 5, 3), [draw(3, 8), draw(2, 8), draw(8)]
    model = load(recurrent_file(tmp_path / "lstm.h5", "LSTM", weights, **OLD_RNN))
    model.save(tmp_path / "new.keras")
    again = keras.saving.load_model(tmp_path / "new.keras", safe_mode=True)
    np.testing.assert_array_equal(answer(again, x), answer(model, x))


def test_a_gru_without_reset_after_resets_before(tmp_path: Path) -> None:
    x, weights = draw(4, 5, 3), [draw(3, 6), draw(2, 6), draw(6)]
    path = recurrent_file(tmp_path / "gru.h5", "GRU", weights, activation="tanh", recurrent_activation="sigmoid")
    np.testing.assert_allclose(answer(load(path), x), gru(x, *weights, sigmoid), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "gates", "reference"), [("CuDNNLSTM", 4, lstm), ("CuDNNGRU", 3, gru)])
def test_weights_of_cudnn_layers_are_turned_into_rows(kind: str, gates: int, reference: Any, tmp_path: Path) -> None:
    """CuDNN keeps a gate's matrix as units x inputs, and two biases; Keras stored that buffer under its own shape."""
    x, kernel, recurrent, bias = draw(4, 5, 3), draw(3, 2 * gates), draw(2, 2 * gates), draw(2, 2 * gates)
    stored, turned = (
        np.hstack([gate.T.ravel().reshape(gate.shape) for gate in np.hsplit(matrix, gates)])
        for matrix in (kernel, recurrent)
    )
    path = recurrent_file(tmp_path / "cudnn.h5", kind, [stored, turned, bias.ravel()], "2.2.4", return_state=False)
    one = bias.sum(0) if gates == 4 else bias
    np.testing.assert_allclose(
        answer(load(path), x), reference(x, kernel, recurrent, one, sigmoid), rtol=1e-4, atol=1e-5
    )


# --- on to ONNX -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["convolutions", "nested", "gates", "cudnn"])
def test_an_old_model_converts(name: str, tmp_path: Path, comparison: SimpleNamespace) -> None:
    from keronyx.export import onnx, signature

    path = tmp_path / "old.h5"
    if name == "convolutions":
        conv_net(path)
    elif name == "nested":
        nested(path)
    elif name == "gates":
        recurrent_file(path, "LSTM", [3 * draw(3, 8), draw(2, 8), draw(8)], **OLD_RNN)
    else:
        recurrent_file(path, "CuDNNGRU", [draw(3, 6), draw(2, 6), draw(12)], "2.2.4")
    model = load(path)
    spec = signature.of_keras(model, "old", "old", 2, None)
    inputs = comparison.feeds(spec.inputs, 2)
    expected = comparison.keras_answers(model, inputs)
    onnx.convert(model, spec, tmp_path / "old.onnx")
    comparison.assert_same(expected, comparison.run_onnx(tmp_path / "old.onnx", spec, inputs))


# --- the archives of TensorFlow 2.12 to 2.15 --------------------------------------------------------------------------


def test_an_archive_of_tensorflow_2_loads(tmp_path: Path) -> None:
    """`.keras` with modules of Keras 2, old connections, and weights under `_layer_checkpoint_dependencies`."""
    import h5py

    kernel, bias = draw(4, 3), draw(3)
    policy = {
        "module": "keras.mixed_precision",
        "class_name": "Policy",
        "config": {"name": "float32"},
        "registered_name": None,
    }
    stock = {"module": "keras.layers", "registered_name": None}
    layers = [
        {**stock, **old_input("x", 4, ragged=False)},
        {**stock, **dense("d", 3, [[["x", 0, 0, {}]]], dtype=policy), "build_config": {"input_shape": [None, 4]}},
    ]
    config = {**functional(layers, ["x"], ["d"], "Functional"), "module": "keras.src.engine.functional"}
    config |= {"registered_name": "Functional", "build_config": {"input_shape": [None, 4]}, "compile_config": None}
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        group = file.create_group("_layer_checkpoint_dependencies/dense/vars")
        group["0"], group["1"] = kernel, bias
        file.create_group("_layer_checkpoint_dependencies/input_layer/vars")
    with zipfile.ZipFile(tmp_path / "old.keras", "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "2.13.1", "date_saved": "2023-09-01@10:00:00"}))
        archive.writestr("config.json", json.dumps(config))
        archive.write(tmp_path / "weights.h5", "model.weights.h5")
    x = draw(2, 4)
    np.testing.assert_allclose(answer(load(tmp_path / "old.keras"), x), x @ kernel + bias, rtol=1e-5, atol=1e-6)


# --- Keras 1 ----------------------------------------------------------------------------------------------------------


def test_a_convolutional_network_of_keras_1_loads(tmp_path: Path) -> None:
    import keras

    conv, pool = {"border_mode": "same", "dim_ordering": "tf"}, {"pool_size": [2, 2], "strides": [2, 2]}
    common = {"init": "glorot_uniform", "W_regularizer": None, "b_regularizer": None, "activity_regularizer": None}
    common |= {"W_constraint": None, "b_constraint": None, "bias": True, "trainable": True, "activation": "relu"}
    config = {
        "class_name": "Sequential",
        "config": [
            {"class_name": "Convolution2D", "config": {
                "name": "convolution2d_1", "nb_filter": 4, "nb_row": 3, "nb_col": 2, "subsample": [1, 1],
                "batch_input_shape": [None, 6, 6, 2], "input_dtype": "float32", **conv, **common}},
            {"class_name": "BatchNormalization", "config": {
                "name": "bn", "mode": 0, "axis": -1, "epsilon": 0.001, "momentum": 0.99, "gamma_regularizer": None}},
            {"class_name": "MaxPooling2D", "config": {
                "name": "pool", "border_mode": "valid", "dim_ordering": "tf", **pool}},
            {"class_name": "Dropout", "config": {"name": "drop", "p": 0.5, "trainable": True}},
            {"class_name": "Flatten", "config": {"name": "flat", "trainable": True}},
            {"class_name": "Dense", "config": {"name": "dense_1", "output_dim": 3, "input_dim": None, **common}},
        ],
    }  # fmt: skip
    w = [draw(3, 2, 2, 4), draw(4), draw(4), draw(4), draw(4), np.abs(draw(4)) + 0.5, draw(36, 3), draw(3)]
    bn = [f"bn_{part}" for part in ("gamma", "beta", "running_mean", "running_std")]  # "std" was the variance
    weights = {
        "convolution2d_1": [("convolution2d_1_W", w[0]), ("convolution2d_1_b", w[1])],
        "bn": list(zip(bn, w[2:6], strict=True)),
        "pool": [],
        "drop": [],
        "flat": [],
        "dense_1": [("dense_1_W", w[6]), ("dense_1_b", w[7])],
    }
    layers = [
        keras.layers.Conv2D(4, (3, 2), padding="same", activation="relu"),
        keras.layers.BatchNormalization(),
        keras.layers.MaxPooling2D(2),
        keras.layers.Flatten(),
        keras.layers.Dense(3, activation="relu"),
    ]
    today = keras.Sequential([keras.Input((6, 6, 2)), *layers])
    today.set_weights(w)
    x = draw(2, 6, 6, 2)
    for version in ("1.2.2", None):
        loaded = load(write_h5(tmp_path / "keras1.h5", config, weights, version))
        np.testing.assert_allclose(answer(loaded, x), answer(today, x), rtol=1e-5, atol=1e-6)
    config["config"][0]["config"]["dim_ordering"] = "th"
    error = refused(write_h5(tmp_path / "th.h5", config, weights, "1.2.2"), "'convolution2d_1'.* is channels_first")
    assert "channels_last" in error.remedy


def test_gates_that_keras_1_stored_one_by_one_are_joined(tmp_path: Path) -> None:
    old = {"output_dim": 2, "inner_activation": "hard_sigmoid", "activation": "tanh", "inner_init": "orthogonal"}
    old |= {"forget_bias_init": "one", "dropout_W": 0.0, "dropout_U": 0.0, "consume_less": "cpu", "input_dim": 3}
    for kind, order, reference in (("LSTM", "icfo", lstm), ("GRU", "zrh", gru)):
        gates = {gate: [draw(3, 2), draw(2, 2), draw(2)] for gate in order}
        today = "ifco" if kind == "LSTM" else order
        joined = [np.concatenate([gates[gate][part] for gate in today], axis=-1) for part in range(3)]
        stored = [(f"r_{part}_{gate}", gates[gate][i]) for gate in order for i, part in enumerate("WUb")]
        config = [{"class_name": kind, "config": {"name": "r", "batch_input_shape": [None, 5, 3], **old}}]
        path = write_h5(tmp_path / "r.h5", {"class_name": "Sequential", "config": config}, {"r": stored}, "1.1.0")
        x = 2 * draw(4, 5, 3)
        np.testing.assert_allclose(answer(load(path), x), reference(x, *joined, hard_sigmoid), rtol=1e-4, atol=1e-5)


def test_a_merge_and_a_text_convolution_of_keras_1_load(tmp_path: Path) -> None:
    table, kernel, bias = draw(7, 3), draw(2, 1, 3, 4), draw(4)
    embedding = {"input_dim": 7, "output_dim": 3, "init": "uniform", "input_length": 5, "dropout": 0.0}
    conv = {"nb_filter": 4, "filter_length": 2, "border_mode": "valid", "subsample_length": 1, "activation": "linear"}
    config = functional(
        [
            layer("InputLayer", "words", batch_input_shape=[None, 5], input_dtype="int32"),
            layer("Embedding", "table", [[["words", 0, 0]]], mask_zero=False, W_regularizer=None, **embedding),
            layer("Convolution1D", "conv", [[["table", 0, 0]]], input_length=None, input_dim=3, **conv),
            layer("GlobalMaxPooling1D", "top", [[["conv", 0, 0]]]),
            layer("GlobalAveragePooling1D", "mean", [[["conv", 0, 0]]]),
            layer("Merge", "joined", [[["top", 0, 0], ["mean", 0, 0]]], mode="concat", concat_axis=1, layers=None),
        ],
        ["words"],
        ["joined"],
    )
    weights = {"table": [("table_W", table)], "conv": [("conv_W", kernel), ("conv_b", bias)]}
    loaded = load(write_h5(tmp_path / "text.h5", config, weights, None))
    x = RANDOM.integers(0, 7, (2, 5)).astype("int32")
    assert loaded.inputs[0].dtype == "int32"
    y = table[x]
    z = y[:, :-1] @ kernel[0, 0] + y[:, 1:] @ kernel[1, 0] + bias
    expected = np.concatenate([z.max(1), z.mean(1)], -1)
    np.testing.assert_allclose(answer(loaded, x), expected, rtol=1e-4, atol=1e-5)
    config["config"]["layers"][-1]["config"]["layers"] = ["a", "b"]
    assert refused(
        write_h5(tmp_path / "branches.h5", config, weights, None), r"layer 'joined' \(Merge\) joins whole models"
    )


# --- weights that do not fit ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel": (3, 5)}, r"layer 'd' takes a kernel of shape \(4, 3\), not \(3, 5\)"),
        ({"names": ["d/kernel:0"]}, "layer 'd' takes 2 weights, not 1"),
        ({"missing": "d/bias:0"}, r"damaged: 'd/bias:0' of layer 'd' is missing"),
        ({"layer": "e"}, r"has weights of 2 layers, the model has 1"),
        ({"group": "d"}, r"damaged: the weights of layer 'd' are missing"),
        ({"root": True}, r"no group model_weights"),
    ],
)
def test_weights_that_do_not_fit_say_where(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    import h5py

    kernel = draw(*change.get("kernel", (4, 3)))
    stored = [("d/kernel:0", kernel), ("d/bias:0", draw(3))][: len(change.get("names", "ab"))]
    weights = {"d": stored} | ({"e": stored} if "layer" in change else {})
    config = functional([old_input("x", 4), dense("d", 3, [[["x", 0, 0, {}]]])], ["x"], ["d"])
    path = write_h5(tmp_path / "old.h5", config, weights)
    with h5py.File(path, "a") as file:
        if "missing" in change:
            del file["model_weights/d"][change["missing"]]
        if "group" in change:
            del file["model_weights/d"]
        if "root" in change:
            file.move("model_weights", "weights")
    assert refused(path, message)

"""Keras -> ONNX: the same numbers under the same names, or one line that says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keronyx.errors import ExportError, UsageError
from keronyx.export import onnx as to_test
from keronyx.export import signature

pytestmark = pytest.mark.slow


def _dense(inputs: Any, units: int = 2, **options: Any) -> Any:
    import keras

    return keras.layers.Dense(units, **options)(inputs)


def _sequential() -> Any:
    import keras
    from keras import layers

    return keras.Sequential(
        [layers.Input((6, 6, 3)), layers.Conv2D(4, 3), layers.ReLU(), layers.Flatten(), layers.Dense(3, "softmax")]
    )


def _integers() -> Any:
    import keras
    from keras import layers

    words = keras.Input((4,), dtype="int32", name="words")
    return keras.Model(words, layers.Flatten()(layers.Embedding(10, 3)(words)))


def _mask() -> Any:
    import keras

    mask = keras.Input((4,), dtype="bool", name="mask")
    return keras.Model(mask, _dense(keras.ops.cast(mask, "float32")))


def _bytes() -> Any:
    import keras
    from keras import layers

    image = keras.Input((4, 4, 3), dtype="uint8", name="image")
    return keras.Model(image, layers.Conv2D(2, 3)(layers.Rescaling(1 / 255)(image)))


def _normalization() -> Any:
    import keras

    x = keras.Input((3,), name="x")
    normalised = keras.layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 4.0, 9.0])(x)
    return keras.Model(x, _dense(normalised))


def _lstm(units: int, features: int) -> Any:
    import keras

    x = keras.Input((5, features), name="x")
    return keras.Model(x, keras.layers.LSTM(units, return_sequences=True)(x))


def _large_kernels() -> Any:
    """Every kind of kernel that is lifted, each above LIFT_BYTES, and PReLU slopes of one a pixel."""
    import keras
    from keras import layers

    x = keras.Input((12, 12, 64), name="x")
    y = layers.PReLU()(layers.Conv2D(128, 3, padding="same")(x))
    y = layers.SeparableConv2D(256, 3)(layers.DepthwiseConv2D(12, padding="same")(y))
    y = layers.Conv2DTranspose(16, 3, strides=2)(y)
    return keras.Model(x, _dense(layers.Flatten()(layers.AveragePooling2D(3)(y)), 64))


def _un_pooling() -> Any:
    import keras
    from keras import layers

    from keronyx.zoo.unpooling import max_pool_2x2, max_unpool_2x2

    x = keras.Input((6, 6, 4), name="x")
    y = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(x))
    pooled, places = max_pool_2x2(y, "pool")
    return keras.Model(x, max_unpool_2x2(layers.Conv2D(4, 3, padding="same")(pooled), places, "unpool"))


MODELS = {
    "sequential": _sequential,
    "integers": _integers,
    "mask": _mask,
    "bytes": _bytes,
    "normalization": _normalization,
    "lstm": lambda: _lstm(4, 3),
    "lstm with kernels large enough to lift": lambda: _lstm(72, 240),
    "large kernels": _large_kernels,
    "un-pooling by operations": _un_pooling,
}


@pytest.mark.parametrize("batch", [1, None], ids=["batch 1", "dynamic batch"])
@pytest.mark.parametrize("name", MODELS)
def test_onnx_gives_keras_answers(name: str, batch: int | None, to_onnx: Any) -> None:
    to_onnx(MODELS[name](), batch)


def test_large_weights_are_lifted_and_small_ones_are_not(to_onnx: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lifted: list[str] = []
    original = to_test._name

    def spy(proto: Any, function: Any, spec: Any, weights: dict[str, Any]) -> Any:
        lifted.extend(str(weight.shape) for weight in weights.values())
        return original(proto, function, spec, weights)

    monkeypatch.setattr(to_test, "_name", spy)
    to_onnx(_large_kernels())
    assert "(3, 3, 64, 128)" in lifted  # the convolution's kernel
    assert "(12, 12, 128)" in lifted  # PReLU's slopes
    assert "(128,)" not in lifted  # a bias: a constant, so that transposes can pass it
    lifted.clear()
    to_onnx(_lstm(72, 240))
    assert not lifted


def test_weights_beyond_what_protobuf_takes_go_round_it(to_onnx: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras
    from keras import layers

    from keronyx.export import lifting

    x = keras.Input((5,), dtype="int32", name="x")
    y = layers.Dense(300, name="wide")(layers.Embedding(900, 80, name="table")(x))
    sizes = []
    original = to_test.fold_constants

    def spy(proto: Any) -> int:
        sizes.append(proto.ByteSize())
        return original(proto)

    monkeypatch.setattr(to_test, "fold_constants", spy)
    monkeypatch.setattr(lifting, "LARGE_BYTES", 90_000)
    to_onnx(keras.Model(x, layers.Conv1D(64, 20, name="conv")(layers.UpSampling1D(4)(y))), None)
    assert 0 < sizes[0] < 90_000


def test_a_large_variable_of_any_name_is_no_constant(to_onnx: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    from keronyx.export import lifting

    class Table(keras.layers.Layer):  # type: ignore[misc]
        def build(self, *_: Any) -> None:
            self.table = self.add_weight(shape=(40, 6), name="table")

        def call(self, x: Any) -> Any:
            return keras.ops.matmul(x, self.table)

    monkeypatch.setattr(lifting, "LIFT_ANY_BYTES", 900)
    monkeypatch.setattr(lifting, "GRAPH_BYTES", 900)
    x = keras.Input((40,), name="x")
    path, *_ = to_onnx(keras.Model(x, Table()(x)))
    assert len(path.read_bytes()) > 40 * 6 * 4


def test_weights_too_large_for_tensorflows_graph_are_refused_by_layer_and_size(
    to_onnx: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keronyx.export import lifting

    monkeypatch.setattr(lifting, "GRAPH_BYTES", 1000)
    with pytest.raises(ExportError, match=r"lstm[_0-9]*/lstm_cell/kernel has 0\.0 GiB: all weights"):
        to_onnx(_lstm(3, 24))


def test_half_precision_keeps_its_dtypes_and_agrees_within_half_precision(to_onnx: Any) -> None:
    import keras
    from keras import layers

    policy = keras.DTypePolicy("mixed_float16")
    x = keras.Input((6, 6, 3), name="x")
    y = layers.BatchNormalization(dtype=policy)(layers.Conv2D(4, 3, dtype=policy)(x))
    _, spec, _ = to_onnx(keras.Model(x, y), relative=2e-3)
    assert [tensor.dtype for tensor in spec.outputs] == ["float16"]


def test_names_order_and_structure_are_those_of_the_model_not_of_the_alphabet(to_onnx: Any) -> None:
    import keras

    zeta, alpha = keras.Input((4,), name="zeta"), keras.Input((3,), name="alpha")
    joined = keras.layers.Concatenate()([zeta, alpha])
    outputs = [_dense(joined, name="why"), _dense(alpha, 3, name="first")]
    _, spec, _ = to_onnx(keras.Model([zeta, alpha], outputs))
    assert [t.name for t in spec.inputs] == ["zeta", "alpha"]
    assert [t.name for t in spec.outputs] == ["why", "first"]


def test_dictionaries_are_named_by_their_keys(to_onnx: Any) -> None:
    import keras

    zeta, alpha = keras.Input((4,), name="zeta"), keras.Input((4,), name="alpha")
    outputs = {"why not: a/b": [_dense(zeta), _dense(alpha)], "first": zeta + alpha}
    _, spec, _ = to_onnx(keras.Model({"zeta": zeta, "alpha": alpha}, outputs))
    assert [t.name for t in spec.inputs] == ["alpha", "zeta"]  # as Keras flattens a dictionary
    assert [t.name for t in spec.outputs] == ["first", "why not: a/b_0", "why not: a/b_1"]


def test_an_unnamed_input_has_the_name_a_saved_model_keeps(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.save(tmp_path / "saved.keras")
    names = signature.input_names(model)
    assert names == signature.input_names(keras.saving.load_model(tmp_path / "saved.keras"))
    assert names[0].startswith("input_layer")


def test_an_output_returned_twice_or_passed_through_gets_a_name_of_its_own(to_onnx: Any) -> None:
    import keras

    x = keras.Input((4,), name="x")
    y = _dense(x, name="y")
    _, spec, _ = to_onnx(keras.Model(x, [y, y, x]))
    assert [t.name for t in spec.outputs] == ["y", "y_1", "x_1"]


def test_numbered_outputs_leave_a_name_that_another_output_has() -> None:
    import keras

    x = keras.Input((4,), name="x")
    y = _dense(x, name="y")
    model = keras.Model(x, [y, y, _dense(x, name="y_1")])
    assert signature.output_names(model) == ["y", "y_2", "y_1"]


def test_names_of_inner_tensors_step_aside(to_onnx: Any) -> None:
    """tf2onnx's own names, and ours for lifted weights, as names of the model's inputs and outputs."""
    import keras

    a, b = keras.Input((64,), name="weight_0"), keras.Input((64,), name="input_0")
    y = _dense(_dense(a + b, 512, name="Identity"), 512, name="input_1")
    _, spec, _ = to_onnx(keras.Model([b, a], [y, _dense(y, 512, name="const_fold_opt__6")]))
    assert [t.name for t in spec.inputs] == ["input_0", "weight_0"]


def test_renaming_reaches_into_loops() -> None:
    from onnx import TensorProto, helper

    def tensor(name: str, kind: int = TensorProto.FLOAT) -> Any:
        return helper.make_tensor_value_info(name, kind, [])

    body = helper.make_graph(
        [helper.make_node("Add", ["carried", "outer"], ["next"]), helper.make_node("Identity", ["go"], ["still"])],
        "body",
        [tensor("i", TensorProto.INT64), tensor("go", TensorProto.BOOL), tensor("carried")],
        [tensor("still", TensorProto.BOOL), tensor("next")],
    )
    loop = helper.make_node("Loop", ["count", "", "start"], ["result"], body=body)
    graph = helper.make_graph([loop], "graph", [tensor("outer"), tensor("start")], [tensor("result")])
    to_test._rename(graph, {"outer": "next", "result": "answer"})
    inner = graph.node[0].attribute[0].g
    assert list(inner.node[0].input) == ["carried", "next"]
    assert inner.node[0].output[0] == inner.output[1].name == "next__inner"
    assert graph.node[0].output[0] == graph.output[0].name == "answer"


def _erfinv(x: Any) -> Any:
    import keras

    return keras.ops.erfinv(x)


def _singular_values(x: Any) -> Any:
    import keras

    return keras.ops.svd(keras.ops.expand_dims(x, 1), compute_uv=False)


@pytest.mark.parametrize(("function", "operator"), [(_erfinv, "Erfinv"), (_singular_values, "Svd")])
def test_what_cannot_be_converted_is_named_and_nothing_is_written(function: Any, operator: str, tmp_path: Path) -> None:
    import keras

    x = keras.Input((4,), name="x")
    model = keras.Model(x, function(x))
    spec = signature.of_keras(model, "tiny", "tiny", 1, None)
    with pytest.raises(ExportError, match=f"no ONNX operator for TensorFlow's {operator}") as error:
        to_test.convert(model, spec, tmp_path / "model.onnx")
    assert "\n" not in error.value.message
    assert not list(tmp_path.iterdir())


def test_a_stateful_model_is_refused() -> None:
    import keras

    x = keras.Input((5, 3), batch_size=1, name="x")
    model = keras.Model(x, keras.layers.LSTM(4, stateful=True)(x))
    with pytest.raises(ExportError, match="changes the model on every call"):
        signature.of_keras(model, "tiny", "tiny", 1, None)


def test_strings_are_refused() -> None:
    import keras

    x = keras.Input((1,), dtype="string", name="words")
    with pytest.raises(ExportError, match="'words' has dtype string"):
        signature.of_keras(keras.Model(x, keras.layers.Hashing(10)(x)), "tiny", "tiny", 1, None)


def test_a_file_that_breaks_the_contract_is_refused(to_onnx: Any) -> None:
    import dataclasses

    import onnx

    path, spec, _ = to_onnx(_sequential())
    proto = onnx.load(path)
    to_test.check(proto, spec)
    renamed = dataclasses.replace(spec, outputs=(dataclasses.replace(spec.outputs[0], name="other"),))
    with pytest.raises(ExportError, match="the model's other"):
        to_test.check(proto, renamed)
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value += 1
    with pytest.raises(ExportError, match="structure gate refuses the ONNX file: the ONNX checker"):
        to_test.check(proto, spec)


def _open_size() -> Any:
    import keras

    image = keras.Input((None, None, 3), name="image")
    return keras.Model(image, keras.layers.Conv2D(2, 3)(image))


def test_open_height_and_width_need_an_image_size() -> None:
    with pytest.raises(UsageError, match="leaves height and width open"):
        signature.of_keras(_open_size(), "tiny", "tiny", 1, None)
    spec = signature.of_keras(_open_size(), "tiny", "tiny", None, (8, 10))
    assert spec.inputs[0].shape == (None, 8, 10, 3)
    assert spec.outputs[0].shape == (None, 6, 8, 2)


def test_an_image_size_the_model_does_not_have_is_refused() -> None:
    with pytest.raises(UsageError, match="tiny takes 6x6, not 8x10"):
        signature.of_keras(_sequential(), "tiny", "tiny", 1, (8, 10))


def test_a_batch_the_model_does_not_have_is_refused_and_its_own_is_kept() -> None:
    import keras

    x = keras.Input((4,), batch_size=3, name="x")
    model = keras.Model(x, _dense(x))
    with pytest.raises(UsageError, match="fixed batch of 3, not 1"):
        signature.of_keras(model, "tiny", "tiny", 1, None)
    assert signature.of_keras(model, "tiny", "tiny", None, None).inputs[0].shape == (3, 4)


def test_the_content_hash_sees_weights_and_configuration() -> None:
    import keras

    def build(activation: str) -> Any:
        keras.utils.set_random_seed(0)
        return keras.Sequential([keras.Input((3,), name="x"), keras.layers.Dense(2, activation, name="d")], name="s")

    model = build("relu")
    before = signature.content_hash(model)
    assert before == signature.content_hash(build("relu")) != signature.content_hash(build("tanh"))
    model.layers[0].bias.assign(np.ones(2, "float32"))
    assert signature.content_hash(model) != before

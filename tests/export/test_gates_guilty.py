"""The layer that goes wrong is found inside models that are layers of others, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from keronyx.errors import ExportError
from keronyx.export import converter, finishing, onnx, signature
from keronyx.export import finish as finish_module
from keronyx.export.dims import NOTHING
from keronyx.export.gates import Refusal, guilty, references

pytestmark = pytest.mark.slow


def _nested(randomised: Any) -> Any:
    """`stem`, then `outer` (a `Sequential` called `inner`, then `tail`), then `outer` once more, then `last`."""
    import keras
    from keras import layers

    inner = keras.Sequential([layers.Conv2D(4, 1, name="first"), layers.Conv2D(4, 1, name="second")], name="inner")
    x = keras.Input((6, 6, 4), name="x")
    outer = keras.Model(x, layers.ReLU(name="tail")(inner(x)), name="outer")
    image = keras.Input((6, 6, 4), name="image")
    y = outer(outer(layers.Conv2D(4, 1, name="stem")(image)))
    return randomised(keras.Model(image, layers.Conv2D(2, 1, name="last")(y)))


def test_layers_inside_models_come_before_the_model_they_are_in(randomised: Any) -> None:
    inside = ["outer/inner/first", "outer/inner/second", "outer/inner", "outer/tail", "outer"]
    assert [name for name, _ in guilty.layers(_nested(randomised))] == ["stem", *inside, *inside, "last"]


def test_what_layers_inside_models_give_is_what_the_model_makes_of_them(randomised: Any, comparison: Any) -> None:
    import keras
    import numpy as np

    model = _nested(randomised)
    found = guilty.layers(model)
    image = np.random.default_rng(0).normal(size=(1, 6, 6, 4)).astype("float32")
    answers = keras.Model(model.input, [tensor for _, tensor in found])(image)
    by_name = dict(zip([name for name, _ in found], answers, strict=True))  # of the second call
    comparison.assert_same([np.asarray(by_name["outer"])], [np.asarray(by_name["outer/tail"])])
    assert np.abs(np.asarray(by_name["outer/inner"]) - np.asarray(by_name["outer/inner/first"])).max() > 0


def test_models_with_several_inputs_are_looked_into(randomised: Any) -> None:
    import keras
    from keras import layers

    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    join = keras.Model({"b": right, "a": left}, {"sum": layers.Add(name="sum")([left, right])}, name="join")
    x = keras.Input((4,), name="x")
    model = keras.Model(x, join({"a": x, "b": layers.Dense(4, name="dense")(x)}))
    assert [name for name, _ in guilty.layers(model)] == ["dense", "join/sum", "join"]


def test_a_model_called_on_what_its_layers_do_not_take_is_named_as_a_whole(randomised: Any) -> None:
    import keras
    from keras import layers

    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="dense")], name="inner")
    x = keras.Input((4, 1), name="x")  # Keras takes the 1 away
    assert [name for name, _ in guilty.layers(keras.Model(x, inner(x)))] == ["inner"]


def test_the_guilty_layer_is_named_with_the_models_it_is_in(
    randomised: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import asdict

    import onnx_ir as ir

    model = _nested(randomised)
    spec = signature.of_keras(model, "tiny", "tiny", 1, None)
    made = references.tried(model, spec, NOTHING)
    real = onnx.converted

    def with_a_fault(*args: Any) -> Any:
        graph, said = real(*args)
        for node in graph.graph:
            if node.op_type == "Conv" and node.metadata_props.get("keronyx.layer", "").endswith("second"):
                kernel = node.inputs[1]
                assert kernel is not None and kernel.const_value is not None
                kernel.const_value = ir.tensor(kernel.const_value.numpy() * 1.02, name=kernel.name)
        return graph, said

    class Stub:
        def ask(self, order: str, timeout_s: float, **asked: Any) -> dict[str, Any]:
            place = made[asked["trial"]], tmp_path, asked["after"], asked["upto"]
            probed, indices = guilty.probe(model, spec, NOTHING, *place)
            return {"spec": asdict(probed), "indices": indices, "names": [guilty.layers(model)[i][0] for i in indices]}

    monkeypatch.setattr(onnx, "converted", with_a_fault)
    monkeypatch.setattr(
        finish_module.Finish, "_ask", lambda self, order, **arguments: getattr(finishing, order)(arguments)
    )
    terms: Any = (Stub(), tmp_path, "model.onnx", spec, 18, 60, lambda _: None)
    error = finish_module.Finish(*terms)._refused(Refusal("numeric", "last is off", trial=1), "float32")
    assert error.message.endswith("(layer outer/inner/second)")


def test_what_cannot_be_converted_in_a_saved_model_is_named_by_its_scope(
    randomised: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras
    import tensorflow as tf

    def fails(*_: Any, **__: Any) -> None:
        raise ValueError("no such thing")

    x = keras.Input((4,), name="x")
    layers = [keras.layers.Dense(3, name="dense"), keras.layers.ReLU(name="act")]
    model = keras.Sequential([x, *layers], name="net")
    model.export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    spec = signature.of_saved_model(loaded, "tiny", "tiny", "id", 1, None)
    graph, _ = onnx.converted(loaded, spec)
    assert {node.metadata_props["keronyx.layer"] for node in graph.graph if node.op_type == "Relu"} == {"net_1/act_1"}
    monkeypatch.setattr(converter, "handlers", lambda: {"Relu": fails})
    with pytest.raises(ExportError, match=r"no such thing \(layer net_1/act_1\)"):
        onnx.converted(loaded, spec)

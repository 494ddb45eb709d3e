"""Subclassed and unbuilt models get inputs: those of their first call, or those asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keronyx.errors import SourceError
from keronyx.export.dims import parse
from keronyx.export.wrap import with_inputs

pytestmark = pytest.mark.slow


def _subclassed(call: Any) -> Any:
    """A model with one layer, `dense`; `call` is its method (Keras reads the arguments' names)."""
    import keras

    def build(self: Any) -> None:
        keras.Model.__init__(self)
        self.dense = keras.layers.Dense(3, name="dense")

    return type("Subclassed", (keras.Model,), {"__init__": build, "call": call})()


CALLS = {
    "a tensor": (lambda self, x: self.dense(x), lambda x: x),
    "a dictionary": (lambda self, x: {"out": self.dense(x["a"]) + x["b"]}, lambda x: {"a": x, "b": x[:, :3]}),
    "a list": (lambda self, x: [self.dense(x[0]), x[1]], lambda x: [x, x[:, :3]]),
}


@pytest.mark.parametrize("what", CALLS)
def test_a_model_that_was_called_once_is_exported_with_those_inputs(what: str, to_onnx: Any) -> None:
    call, arguments = CALLS[what]
    model = _subclassed(call)
    model(arguments(np.ones((2, 4), np.float32)))
    whole = with_inputs(model, {}, "mine")
    _, spec, _ = to_onnx(whole, None)
    assert spec.inputs[0].shape == (None, 4)  # its batch was of that call only


@pytest.mark.parametrize(
    ("call", "shapes"),
    [
        (lambda self, x: self.dense(x), ["x=1x4"]),
        (lambda self, a, b: self.dense(a) + b, ["a=1x4", "b=1x3"]),
        (lambda self, x: self.dense(x["a"]) + x["b"], ["a=1x4", "b=1x3"]),
        (lambda self, x: self.dense(x[0]) + x[1], ["first=1x4", "second=1x3"]),
    ],
    ids=["a tensor", "arguments", "a dictionary", "a list"],
)
def test_a_model_never_called_is_built_with_the_shapes_asked_for(call: Any, shapes: list[str], to_onnx: Any) -> None:
    whole = with_inputs(_subclassed(call), parse(shapes), "mine")
    _, spec, _ = to_onnx(whole)
    assert [tensor.name for tensor in spec.inputs] == [text.partition("=")[0] for text in shapes]


def test_integers_can_be_asked_for(to_onnx: Any) -> None:
    import keras

    words = keras.Sequential([keras.layers.Embedding(10, 3), keras.layers.Flatten(), keras.layers.Dense(2)])
    _, spec, _ = to_onnx(with_inputs(words, parse(["words=1x5:int32"]), "mine"))
    assert spec.inputs[0].dtype == "int32"


def test_what_has_inputs_is_left_as_it_is() -> None:
    import keras

    x = keras.Input((4,))
    model = keras.Model(x, keras.layers.Dense(2)(x))
    assert with_inputs(model, {}, "mine") is model


def test_without_shapes_the_message_says_how_to_give_them() -> None:
    with pytest.raises(SourceError, match="no fixed inputs") as refusal:
        with_inputs(_subclassed(lambda self, x: self.dense(x)), {}, "mine")
    assert "--shape" in str(refusal.value.remedy)


def test_shapes_it_cannot_be_called_on_are_named() -> None:
    model = _subclassed(lambda self, x: self.dense(x) + x)
    with pytest.raises(SourceError, match=r"mine cannot be called on x \(1, 5\)"):
        with_inputs(model, parse(["x=1x5"]), "mine")


def test_open_dimensions_are_named_in_the_file(tmp_path: Path) -> None:
    import keras
    import onnx

    from keronyx.export import onnx as converter
    from keronyx.export import signature

    x = keras.Input((None, None, 3), name="image")
    y = keras.layers.Conv2D(4, 3, padding="same", name="same")(x)
    model = keras.Model(x, [y, keras.layers.MaxPooling2D(name="half")(y)])
    spec = signature.of_keras(model, "m", "m", None, None, leave_open=True)
    converter.convert(model, spec, tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    dims = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in [*proto.graph.input, *proto.graph.output]
    }
    assert dims == {
        "image": ["batch", "height", "width", 3],
        "same": ["batch", "height", "width", 4],
        "half": ["batch", "half_height", "half_width", 4],
    }

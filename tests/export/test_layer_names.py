"""Layers may be called what Keras lets them be called: the file has their names, in its outputs and its labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from keronyx.errors import ExportError
from keronyx.export import signature

pytestmark = pytest.mark.slow


def _labels(path: Path) -> set[str]:
    import onnx

    return {p.value for node in onnx.load(path).graph.node for p in node.metadata_props if p.key == "keronyx.layer"}


@pytest.mark.parametrize("name", ["out put", "a:b", "größe", "_hidden", "(1)", "層", "-", "100%"])
def test_a_layer_of_any_name_is_converted_under_it(name: str, to_onnx: Any) -> None:
    import keras

    x = keras.Input((4,), name=f"{name} in")
    path, spec, _ = to_onnx(keras.Model(x, keras.layers.Dense(3, name=name)(x)))
    assert [t.name for t in spec.outputs] == [name] and [t.name for t in spec.inputs] == [f"{name} in"]
    assert _labels(path) == {name}


def test_models_of_any_name_are_converted_inside_each_other(to_onnx: Any) -> None:
    import keras

    x = keras.Input((6, 6, 3), name="x")
    inner = keras.Sequential([keras.layers.Conv2D(4, 3, name="the conv")], name="small model")
    path, spec, _ = to_onnx(keras.Model(x, keras.layers.ReLU(name="größer 0")(inner(x)), name="big: model"), None)
    assert [t.name for t in spec.outputs] == ["größer 0"]
    assert _labels(path) == {"small model/the conv", "größer 0"}


def test_names_that_are_one_scope_stay_two_labels(to_onnx: Any) -> None:
    import keras
    import onnx

    x = keras.Input((6, 6, 3), name="x")
    y = keras.layers.Conv2D(4, 3, name="a b")(x)
    y = keras.layers.Conv2D(5, 3, name="a:b")(y)
    inner = keras.Sequential([keras.layers.Conv2D(7, 1, name="c")], name="a_b")
    path, *_ = to_onnx(keras.Model(x, keras.layers.Conv2D(6, 1, name="a_b_1")(inner(y))))
    model = onnx.load(path)
    filters = {t.name: t.dims[0] for t in model.graph.initializer if len(t.dims) == 4}
    made = {
        filters[node.input[1]]: p.value
        for node in model.graph.node
        for p in node.metadata_props
        if node.op_type == "Conv"
    }
    assert made == {4: "a b", 5: "a:b", 7: "a_b/c", 6: "a_b_1"}


def test_an_exception_in_a_layer_names_its_path() -> None:
    import keras

    class Fails(keras.layers.Layer):  # type: ignore[misc]
        fails = False

        def call(self, x: Any) -> Any:
            if self.fails:
                raise ValueError("no such thing")
            return x + 1

    y = keras.Input((4,))
    inner = keras.Model(y, Fails(name="second")(keras.layers.Dense(4, name="first")(y)), name="inner")
    x = keras.Input((4,), name="x")
    model = keras.Model(x, keras.layers.Dense(2, name="last")(inner(keras.layers.Dense(4, name="begin")(x))))
    spec = signature.of_keras(model, "tiny", "tiny", 1, None)
    Fails.fails = True
    with pytest.raises(ExportError, match=r"no such thing.* \(layer inner/second\)$"):
        signature.trace(model, spec.inputs)

"""Keras -> frozen TensorFlow graph and LiteRT flatbuffer: Keras' numbers under the spec's names."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keronyx.errors import ExportError
from keronyx.export import frozen, litert, signature

pytestmark = pytest.mark.slow


def _folded() -> Any:
    import keras
    from keras import layers

    x = keras.Input((6, 6, 3), name="x")
    y = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3)(x)))
    return keras.Model(x, layers.Activation("swish")(y))


def _two_by_two() -> Any:
    import keras
    from keras import layers

    zeta, alpha = keras.Input((4,), name="zeta"), keras.Input((3,), name="alpha")
    joined = layers.Concatenate()([zeta, alpha])
    return keras.Model([zeta, alpha], [layers.Dense(2, name="why")(joined), layers.Dense(3, name="first")(alpha), zeta])


def _normalised() -> Any:
    import keras
    from keras import layers

    x = keras.Input((3,), name="x")
    return keras.Model(x, layers.Dense(2)(layers.Normalization(mean=[1.0, 2, 3], variance=[1.0, 4, 9])(x)))


def _sequential() -> Any:
    import keras

    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])


MODELS: dict[str, Callable[[], Any]] = {
    "convolution": _folded,
    "two inputs, three outputs": _two_by_two,
    "captured constants": _normalised,
    "sequential": _sequential,
}


def _run_frozen(path: Path, spec: Any, inputs: list[Any]) -> list[Any]:
    import tensorflow as tf

    graph_def = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    whole = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph_def, name=""), [])
    function = whole.prune(
        [f"input_{i}:0" for i in range(len(spec.inputs))], [f"output_{i}:0" for i in range(len(spec.outputs))]
    )
    return [np.asarray(tensor) for tensor in function(*map(tf.constant, inputs))]


def _run_litert(path: Path, spec: Any, inputs: list[Any]) -> list[Any]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    keys = interpreter.get_signature_list()[signature.SIGNATURE]
    assert set(keys["inputs"]) == {t.name for t in spec.inputs}
    assert set(keys["outputs"]) == {t.name for t in spec.outputs}
    runner = interpreter.get_signature_runner(signature.SIGNATURE)
    answers = runner(**{t.name: a for t, a in zip(spec.inputs, inputs, strict=True)})
    return [answers[t.name] for t in spec.outputs]


@pytest.mark.parametrize("batch", [1, None], ids=["batch 1", "dynamic batch"])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("convert", "run"), [(frozen.convert, _run_frozen), (litert.convert, _run_litert)])
def test_both_give_keras_answers(
    convert: Any, run: Any, name: str, batch: int | None, tmp_path: Path, comparison: Any
) -> None:
    if run is _run_litert:
        pytest.importorskip("ai_edge_litert", reason="the litert extra is not installed")
    model = comparison.randomise(MODELS[name]())
    spec = signature.of_keras(model, "tiny", "tiny", batch, None)
    inputs = comparison.feeds(spec.inputs, batch or 3)
    expected = comparison.keras_answers(model, inputs)
    convert(model, spec, tmp_path / "made")
    comparison.assert_same(expected, run(tmp_path / "made", spec, inputs))
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_freezing_says_how_many_operators_it_left_and_that_convolutions_are_fused(
    tmp_path: Path, randomised: Any
) -> None:
    model = randomised(_folded())  # Grappler drops a bias of zeros, and then fuses nothing
    evidence = frozen.convert(model, signature.of_keras(model, "tiny", "tiny", 1, None), tmp_path / "frozen.pb")
    before, after = map(int, re.findall(r"\d+", evidence[0]))
    assert after < before / 2
    assert evidence[1] == "1 BatchNorm folded"
    assert evidence[2].endswith("-> 1 fused convolutions")


def test_litert_says_which_name_it_cannot_keep(tmp_path: Path) -> None:
    import keras

    x = keras.Input((3,), name="in-put")
    model = keras.Model(x, keras.layers.Dense(2)(x))
    with pytest.raises(ExportError, match="cannot keep the input name 'in-put'"):
        litert.convert(model, signature.of_keras(model, "tiny", "tiny", 1, None), tmp_path / "made")


def test_litert_names_the_operator_it_cannot_convert(tmp_path: Path) -> None:
    import keras

    x = keras.Input((3,), name="x")
    model = keras.Model(x, keras.ops.argmax(x, axis=-1))
    with pytest.raises(ExportError, match=r"refuses this model: tf\.BitwiseAnd is neither"):
        litert.convert(model, signature.of_keras(model, "tiny", "tiny", 1, None), tmp_path / "made")
    assert not list(tmp_path.iterdir())

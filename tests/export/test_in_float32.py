"""Models that compute in bfloat16, or in float64 where ONNX Runtime cannot, are exported in float32, and it is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keronyx.errors import ExportError
from keronyx.export import finish as finish_module
from keronyx.export import finishing, onnx, onnx_files, signature
from keronyx.export.convert import export
from keronyx.export.dims import NOTHING
from keronyx.export.gates import guilty, numeric, references, trials, twin
from keronyx.export.gates.trials import Trial
from keronyx.export.in_float32 import NEVER, SOMETIMES, in_float32
from keronyx.export.source import identify
from keronyx.recast import computed
from keronyx.types import TensorSpec

pytestmark = pytest.mark.slow

BFLOAT16 = frozenset([NEVER])


def _convolutions() -> Any:
    import keras
    from keras import layers

    x = keras.Input((8, 8, 3), name="image")
    y = layers.Conv2D(4, 3, use_bias=False)(x)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    y = layers.GlobalAveragePooling2D()(layers.DepthwiseConv2D(3)(y))
    return keras.Model(x, layers.Dense(3, activation="softmax", dtype="float32", name="classes")(y))


def _sequence() -> Any:
    import keras
    from keras import layers

    x = keras.Input((5, 6), name="x")
    y = layers.MultiHeadAttention(2, 3)(x, x)
    y = layers.LSTM(4, recurrent_initializer="zeros")(layers.LayerNormalization()(layers.Add()([x, y])))
    return keras.Model(x, layers.Dense(3, activation="gelu")(y))


def _sequential() -> Any:
    """Whose Input is made by Keras, in the dtype its first layer computes in."""
    import keras
    from keras import layers

    model = keras.Sequential([layers.Dense(5, activation="relu"), layers.Dense(2)])
    model.build((None, 4))
    return model


def _shared_and_nested() -> Any:
    import keras
    from keras import layers

    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4, activation="tanh")], name="inner")
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    return keras.Model([a, b], {"sum": inner(a) + inner(b), "last": layers.Dense(2, dtype="float32")(inner(a))})


def _own_layers() -> Any:
    """Subclassed, with a cast spelled out in the graph, and a layer that keeps its constants as tensors."""
    import keras
    import tensorflow as tf
    from keras import layers, ops

    class Own(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="own")
            self.first, self.last = layers.Dense(4), layers.Dense(4)

        def call(self, x: Any) -> Any:
            return self.last(ops.cast(ops.tanh(self.first(x)), self.compute_dtype))

    class Scale(layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.factors = ops.cast([0.5, 1.0, 2.0, 3.0], self.compute_dtype)

        def call(self, x: Any) -> Any:
            return tf.multiply(x, self.factors)

    normal = layers.Normalization()
    normal.adapt(np.random.default_rng(0).normal(1, 2, (30, 4)))
    x = keras.Input((4,), name="x")
    y = Own()(ops.cast(Scale()(normal(x)), keras.config.dtype_policy().compute_dtype))
    return keras.Model(x, y)


def _cast() -> Any:
    """A cast of its own between layers of float32."""
    import keras
    from keras import layers, ops

    x = keras.Input((4,), name="x")
    y = ops.cast(layers.Dense(5, activation="tanh", dtype="float32")(x), keras.config.dtype_policy().compute_dtype)
    return keras.Model(x, layers.Dense(3, dtype="float32")(y) + layers.Dense(3)(x))


BUILDERS = [_convolutions, _sequence, _sequential, _shared_and_nested, _own_layers, _cast]


def _under(policy: str, build: Callable[[], Any]) -> Any:
    import keras

    before = keras.config.dtype_policy()
    keras.backend.clear_session()
    keras.config.set_dtype_policy(policy)
    try:
        return _filled(build())
    finally:
        keras.config.set_dtype_policy(before)


def _filled(model: Any) -> Any:
    """Weights that bfloat16 has, all of them but those a layer was adapted to."""
    random = np.random.default_rng(0)
    for variable in model.variables:
        if variable.path.startswith("normalization") or "int" in str(variable.dtype):
            continue
        drawn = random.uniform(0.5, 2, variable.shape) if "variance" in variable.name else None
        values = random.normal(0, 0.4, variable.shape) if drawn is None else drawn
        variable.assign(np.round(values * 64) / 64)
    return model


def _spec(model: Any, batch: int | None = 2) -> Any:
    return signature.of_keras(model, "tiny", "tiny", batch, None)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16"])
@pytest.mark.parametrize("build", BUILDERS)
def test_the_file_answers_like_the_same_model_built_in_float32(
    policy: str, build: Callable[[], Any], tmp_path: Path, comparison: Any
) -> None:
    model, right = _under(policy, build), _under("float32", build)
    spec = _spec(model)
    assert {tensor.dtype for tensor in (*spec.inputs, *spec.outputs)} == {"float32"}
    with in_float32(model, computed(model) & BFLOAT16):
        onnx.convert(model, spec, tmp_path / "model.onnx")
    inputs = comparison.feeds(spec.inputs, 2)
    found = comparison.run_onnx(tmp_path / "model.onnx", spec, inputs)
    coarse = build is _own_layers  # what it was adapted to, it keeps in bfloat16
    comparison.assert_same(comparison.keras_answers(right, inputs), found, 1e-2 if coarse else 1e-5)
    with in_float32(model, BFLOAT16):
        comparison.assert_same(found, comparison.keras_answers(model, inputs))
    own = comparison.keras_answers(model, inputs)
    for a, b in zip(own, found, strict=True):
        assert 1e-5 < np.abs(a.astype("float32") - b).max() / np.abs(b).max() < 0.1


def test_a_recurrent_layer_in_bfloat16_becomes_one_lstm(tmp_path: Path) -> None:
    import onnx as onnx_package

    model = _under("mixed_bfloat16", _sequence)
    with in_float32(model, BFLOAT16):
        onnx.convert(model, _spec(model), tmp_path / "model.onnx")
    operators = [node.op_type for node in onnx_package.load(tmp_path / "model.onnx").graph.node]
    assert operators.count("LSTM") == 1 and "Loop" not in operators and "Scan" not in operators


@pytest.mark.parametrize("build", BUILDERS)
def test_the_model_is_as_it_was_afterwards(build: Callable[[], Any], comparison: Any) -> None:
    model = _under("bfloat16", build)
    spec = _spec(model)
    inputs = comparison.feeds(spec.inputs, 2)

    def state() -> Any:
        config = json.dumps(model.get_config(), default=str, sort_keys=True) if build is not _own_layers else ""
        dtypes = [(v.path, v.dtype, v.numpy().tobytes()) for v in model.variables]
        answers = [(array.dtype.name, array.tobytes()) for array in comparison.keras_answers(model, inputs)]
        return config, dtypes, answers

    before = state()
    with in_float32(model, BFLOAT16):
        assert {v.dtype for v in model.variables if "int" not in str(v.dtype)} == {"float32"}
        assert NEVER not in computed(model)
    assert state() == before
    assert NEVER in computed(model)


@pytest.mark.parametrize("kind", ["tensor", "variable", "list", "tuple", "dict"])
def test_constants_a_layer_keeps_are_cast_wherever_it_keeps_them(kind: str) -> None:
    import keras
    import tensorflow as tf

    class Keeps(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="keeps")
            half = tf.constant([1.5, 2.5], tf.bfloat16)
            kinds = {"tensor": half, "list": [half], "tuple": (1, (half,)), "dict": {"a": [half]}}
            self.kept = tf.Variable(half) if kind == "variable" else kinds[kind]

        def call(self, x: Any) -> Any:
            kept = {"list": lambda k: k[0], "tuple": lambda k: k[1][0], "dict": lambda k: k["a"][0]}
            return x * kept.get(kind, lambda k: k)(self.kept)

    def build() -> Any:
        x = keras.Input((2,), name="x")
        return keras.Model(x, Keeps()(x))

    model = _under("bfloat16", build)
    before = vars(model.get_layer("keeps"))["kept"]
    with in_float32(model, BFLOAT16):
        made = model(np.ones((1, 2), np.float32))
        assert made.dtype == "float32" and np.array_equal(made, [[1.5, 2.5]])
    assert vars(model.get_layer("keeps"))["kept"] is before


def test_a_map_of_policies_is_followed() -> None:
    import keras
    from keras import layers

    policies = keras.dtype_policies.DTypePolicyMap("float32", {"half": keras.DTypePolicy("mixed_bfloat16")})
    x = keras.Input((4,), name="x")
    y = layers.Dense(3, name="whole", dtype=policies)(layers.Dense(3, name="half", dtype=policies)(x))
    model = keras.Model(x, y)
    assert computed(model) >= {NEVER, "float32"}
    with in_float32(model, BFLOAT16):
        assert computed(model) == {"float32"}
        assert str(model.get_layer("half")(np.ones((1, 4))).dtype.name) == "float32"
    assert model.get_layer("half").compute_dtype == NEVER and model.get_layer("whole").compute_dtype == "float32"


def test_a_layers_output_in_bfloat16_can_be_probed(tmp_path: Path) -> None:
    model = _under("mixed_bfloat16", _convolutions)
    spec = _spec(model)
    with in_float32(model, BFLOAT16):
        trial = references.tried(model, spec, NOTHING)[0]
        wanted, chosen = guilty.probe(model, spec, NOTHING, trial, tmp_path, -1, None)
    assert len(chosen) > 5 and {tensor.dtype for tensor in wanted.outputs} == {"float32"}
    session = numeric.open_session(tmp_path / "probe.onnx")
    assert len(numeric.run(session, wanted, trial.inputs)) == len(chosen)


# --- how far float32 is from Keras' own answers


def _amplifying() -> Any:
    import keras

    class Lost(keras.layers.Layer):  # type: ignore[misc]
        """Where bfloat16 loses all that float32 keeps."""

        def call(self, x: Any) -> Any:
            return (x + 4096.0) - 4096.0

    x = keras.Input((6,), name="x")
    return keras.Model(x, Lost(name="lost")(keras.layers.Dense(6, name="dense")(x)))


def test_a_model_whose_answers_are_its_rounding_is_refused() -> None:
    model = _under("mixed_bfloat16", _amplifying)
    spec = _spec(model)
    own = references.tried(model, spec, NOTHING)
    with pytest.raises(ExportError, match="computed in float32 the model does not answer as in bfloat16"):
        twin.answered(model, spec, own, BFLOAT16)


def test_what_rounding_to_bfloat16_explains_is_a_warning() -> None:
    import keras

    def steep() -> Any:
        x = keras.Input((6,), name="x")
        return keras.Model(x, keras.ops.sin(40 * keras.layers.Dense(6)(x)))

    model = _under("mixed_bfloat16", steep)
    spec = _spec(model)
    _, said = twin.answered(model, spec, references.tried(model, spec, NOTHING), BFLOAT16)
    assert said.startswith("warning: in float32 ") and said.endswith("which rounding to bfloat16 explains")
    assert float(said.split()[3]) > 0.1


def test_a_noisy_output_excuses_no_other_one() -> None:
    import keras

    def steep_and_plain() -> Any:
        x = keras.Input((6,), name="x")
        y = keras.layers.Dense(6)(x)
        return keras.Model(x, [keras.ops.sin(15 * y), y])

    model = _under("mixed_bfloat16", steep_and_plain)
    spec = _spec(model)
    own = references.tried(model, spec, NOTHING)
    _, said = twin.answered(model, spec, own, BFLOAT16)
    assert said.startswith("warning: ")
    wrong = [Trial(one.kind, one.inputs, [one.answers[0], one.answers[1] * np.float32(1.2)]) for one in own]
    with pytest.raises(ExportError, match=f"typical error of {spec.outputs[1].name} is"):
        twin.answered(model, spec, wrong, BFLOAT16)


def test_the_reference_of_the_file_is_the_model_in_float32(comparison: Any) -> None:
    model, right = _under("mixed_bfloat16", _convolutions), _under("float32", _convolutions)
    spec = _spec(model)
    own = references.tried(model, spec, NOTHING)
    answered, said = twin.answered(model, spec, own, BFLOAT16)
    for trial, other in zip(answered, own, strict=True):
        comparison.assert_same(comparison.keras_answers(right, trial.inputs), trial.answers)
        assert not np.array_equal(trial.answers[0], other.answers[0])
    assert said.startswith("in float32 ") and 1e-4 < float(said.split()[2]) < 0.1


# --- the whole way

MODULE = """
import keras
from keras import layers

def float64():
    keras.config.set_dtype_policy("float64")
    x = keras.Input((8, 8, 3), dtype="float64", name="image")
    y = layers.Flatten()(layers.Conv2D(4, 3, name="conv")(x))
    return keras.Model(x, layers.Dense(3, name="scores")(y))

def dense64():
    keras.config.set_dtype_policy("float64")
    x = keras.Input((8,), dtype="float64", name="x")
    return keras.Model(x, layers.Dense(3, name="scores")(x))

def mixed():
    keras.config.set_dtype_policy("mixed_bfloat16")
    x = keras.Input((8, 8, 3), name="image")
    return keras.Model(x, layers.Dense(3, name="scores")(layers.Flatten()(layers.Conv2D(4, 3, name="conv")(x))))
"""


@pytest.mark.parametrize(
    ("name", "precision", "dtype", "line"),
    [
        (
            "float64",
            "float64",
            "float64",
            "computes in float32 where Keras computes in float64: ONNX Runtime has no float64 kernel for Conv "
            "(layer conv)",
        ),
        ("dense64", "float64", "float64", ""),
        (
            "mixed",
            "bfloat16",
            "float32",
            "computes in float32 where Keras computes in bfloat16: ONNX Runtime has no bfloat16 kernels on CPU",
        ),
    ],
)
def test_an_export_says_what_it_computes_in_and_keeps_the_dtypes(
    name: str, precision: str, dtype: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_nets.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    made = export(identify(f"own_nets:{name}"), ["onnx"], folder=tmp_path / "out")
    assert not made.failed, made.failed
    assert made.manifest.precision == precision
    assert made.manifest.spec.outputs == (TensorSpec("scores", (1, 3), dtype),)
    artifact = made.manifest.artifact("onnx")
    assert artifact is not None
    said = [one for one in artifact.evidence if one.startswith("computes in")]
    assert said == ([line] if line else [])
    assert not list((tmp_path / "out").glob("*.rejected"))


class _Converter:
    """Stands in for the process with the model: remembers how it was asked to convert."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def ask(self, order: str, timeout_s: float, **terms: Any) -> Any:
        self.asked.append((order, terms["not_in_float64"]))
        kept = not terms["not_in_float64"]
        return {"precision": "float64" if kept else "float32", "float64": kept, "odd_weights": []}


@pytest.mark.parametrize(
    ("gate", "said", "orders"),
    [
        (
            "structure",
            "ONNX Runtime cannot load it: Could not find an implementation for Conv(11) node with name 'a'",
            ["", "ONNX Runtime has no float64 kernel for Conv (layer conv)"],
        ),
        ("structure", "the ONNX checker: float", ["", "in float64 the structure gate refuses the file (layer conv)"]),
        ("contract", "other names", [""]),
    ],
)
def test_only_a_file_that_cannot_be_loaded_in_float64_is_made_in_float32(
    gate: str, said: str, orders: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = {"gate": gate, "said": said, "layer": "conv", "trial": 0}
    answers = [{"refusal": refusal}, {"refusal": {**refusal, "said": "still not"}}]
    monkeypatch.setattr(finish_module.Finish, "_finished", lambda *_: answers.pop(0))
    converter = _Converter()
    spec: Any = None
    finish = finish_module.Finish(converter, tmp_path, "model.onnx", spec, 18, 60, lambda _: None)  # type: ignore[arg-type]
    with pytest.raises(ExportError):
        finish.run()
    assert converter.asked == [("convert", why) for why in orders]


@pytest.mark.parametrize(("factor", "gate"), [(1.0, None), (1 + 1e-4, "numeric")])
def test_a_file_in_float64_is_held_to_more_than_float32(factor: float, gate: str | None, tmp_path: Path) -> None:
    import keras
    import onnx_ir as ir

    def dense() -> Any:
        x = keras.Input((8,), dtype="float64", name="x")
        return keras.Model(x, keras.layers.Dense(3, name="scores")(keras.layers.Dense(5, activation="tanh")(x)))

    model = _under("float64", dense)
    spec = _spec(model)
    graph, _ = onnx.converted(model, spec)
    for value in graph.graph.initializers.values():
        if value.const_value is not None and value.const_value.shape == (5, 3):
            value.const_value = ir.tensor(value.const_value.numpy() * factor, name=value.name)
    onnx_files.save_raw(graph, tmp_path / onnx_files.RAW)
    tried = references.tried(model, spec, NOTHING)
    trials.store(tmp_path / onnx_files.ANSWERS, tried)
    precision = references.precision(model)
    trials.store(tmp_path / onnx_files.ROUNDED, references.rounded(model, spec, tried, precision))
    terms = {"folder": str(tmp_path), "name": "model.onnx", "spec": asdict(spec), "precision": precision}
    refusal = finishing.finish({**terms, "opset": 18, "skip": []})["refusal"]
    assert precision == SOMETIMES and (refusal and refusal["gate"]) == gate


def test_float64_is_told_apart_from_bfloat16() -> None:
    assert SOMETIMES in computed(_under("float64", _sequential))
    assert computed(_under("mixed_float16", _sequential)) == {"float16", "float32"}

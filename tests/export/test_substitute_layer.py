"""A layer that carries code is replaced before anything is built: its code never runs, and the export holds none."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keronyx.errors import KeronyxError, SourceError, UntrustedModelError, UsageError
from keronyx.export import convert
from keronyx.export import source as sources
from keronyx.export.source import Source, identify
from keronyx.export.substitute_layer import BUILTIN, parse

MODULE = """
import keras

def half(x):
    return x / 2

def twice():
    return keras.layers.Rescaling(2.0)

class Thrice(keras.layers.Layer):
    def call(self, x):
        return x * 3

def heavy():
    return keras.layers.Dense(4)

class Dense(keras.layers.Layer):
    def call(self, x):
        return x

def wrong():
    return 42

def fails():
    raise RuntimeError("first\\n\\nsecond")
"""


@pytest.fixture
def module(tmp_path: Path) -> Iterator[str]:
    name = f"substitutes_{abs(hash(tmp_path)) % 10**8}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    sys.path.insert(0, str(tmp_path))
    yield name
    sys.path.remove(str(tmp_path))
    sys.modules.pop(name, None)


def _burns(x: Any) -> Any:
    raise AssertionError("the code in the file ran")


def model(name: str = "scale", nested: bool = False, wrapped: bool = False) -> Any:
    """Dense - Lambda - Dense, the Lambda maybe inside a model or a wrapper. Its code fails when it is called."""
    import keras

    keras.utils.set_random_seed(1)
    shape = (3, 4) if wrapped else (4,)
    code = keras.layers.Lambda(lambda x: _burns(x), name=name, output_shape=(4,))
    x = keras.Input(shape, name="x")
    y = keras.layers.Dense(4, name="first")(x)
    if nested:
        inner = keras.Input(shape)
        code = keras.Model(inner, code(inner), name="inside")
    if wrapped:
        code = keras.layers.TimeDistributed(code, name="each")
    return keras.Model(x, keras.layers.Dense(2, name="last")(code(y)))


def expected(made: Any, x: Any, factor: float) -> Any:
    first, last = made.get_layer("first"), made.get_layer("last")
    return np.asarray(last(factor * first(x)))


def load(path: Path, *substitutes: str, **options: Any) -> Any:
    return sources.load(identify(str(path), substitute_layer=substitutes, **options))


def one_line(error: pytest.ExceptionInfo[KeronyxError]) -> None:
    assert "\n" not in error.value.message + error.value.remedy


# --- what is written on the command line ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["scale", "=identity", "scale=", "scale=nothing", "scale=rescaling:x", "scale=permute:2,2"]
)
@pytest.mark.parametrize("more", ["", "resizing:0x3"])
def test_a_substitute_that_cannot_be_read_is_said(text: str, more: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(f"scale={more}" if more else text)
    one_line(error)
    assert "rescaling:1/255,-0.5" in error.value.remedy or "write it as" in error.value.remedy


def test_every_builtin_accepts_its_own_example() -> None:
    for example in (example for _, _, example in BUILTIN.values()):
        assert parse(f"a=b={example}"[2:]) == ("b", example)


def test_substitutes_count_for_the_identity_and_survive_the_way_to_the_child(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    plain, scaled = identify(str(path)), identify(str(path), substitute_layer=["a=rescaling:2", "b=identity"])
    assert plain.identity != scaled.identity != identify(str(path), substitute_layer=["a=rescaling:3"]).identity
    assert Source(**json.loads(json.dumps(dataclasses.asdict(scaled)))) == scaled


def test_only_files_have_layers_to_replace(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").touch()
    for text in (str(tmp_path), "module:build", "keras.applications:ResNet50"):
        with pytest.raises(UsageError, match=r"--substitute-layer is for \.keras"):
            identify(text, substitute_layer=["a=identity"])


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
@pytest.mark.parametrize("where", [{}, {"nested": True}, {"wrapped": True}])
def test_a_lambda_is_replaced_wherever_it_is(name: str, where: dict[str, bool], tmp_path: Path) -> None:
    made = model(**where)
    made.save(tmp_path / name)
    x = np.random.default_rng(0).normal(size=(2, 3, 4) if "wrapped" in where else (2, 4)).astype("float32")
    loaded = load(tmp_path / name, "scale=rescaling:1/4")
    np.testing.assert_allclose(np.asarray(loaded(x)), expected(made, x, 0.25), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_json_file_too(tmp_path: Path) -> None:
    made = model()
    (tmp_path / "net.json").write_text(made.to_json())
    made.save_weights(tmp_path / "net.weights.h5")
    x = np.ones((1, 4), "float32")
    loaded = load(tmp_path / "net.json", "scale=rescaling:2", weights=str(tmp_path / "net.weights.h5"))
    np.testing.assert_allclose(np.asarray(loaded(x)), expected(made, x, 2.0), rtol=1e-5)


@pytest.mark.slow
def test_several_and_those_of_several_inputs_are_replaced(tmp_path: Path) -> None:
    import keras

    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    product = keras.layers.Lambda(lambda t: t[0] * t[1], name="product", output_shape=(4,))([a, b])
    made = keras.Model([a, b], keras.layers.Lambda(lambda t: t, name="act", output_shape=(4,))(product))
    made.save(tmp_path / "m.keras")
    x, y = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    loaded = load(tmp_path / "m.keras", "product=multiply", "act=relu")
    np.testing.assert_allclose(np.asarray(loaded([x, y])), np.maximum(x * y, 0), rtol=1e-6)
    with pytest.raises(UntrustedModelError, match=r"\(Lambda layer 'act'\)"):
        load(tmp_path / "m.keras", "product=multiply")


@pytest.mark.slow
def test_a_refused_file_says_the_option_and_an_unknown_name_the_names(tmp_path: Path) -> None:
    model().save(tmp_path / "m.keras")
    with pytest.raises(UntrustedModelError, match="Lambda layer 'scale'") as error:
        load(tmp_path / "m.keras")
    assert "--substitute-layer scale=" in error.value.remedy
    with pytest.raises(UsageError, match=r"m\.keras has no layer 'scal'") as unknown:
        load(tmp_path / "m.keras", "scal=identity")
    assert "scale" in unknown.value.remedy
    with pytest.raises(UsageError, match="has no layer 'first' that"):
        load(tmp_path / "m.keras", "first=identity")


@pytest.mark.slow
def test_code_of_the_users_own_needs_trust(module: str, tmp_path: Path) -> None:
    made = model()
    made.save(tmp_path / "m.keras")
    x = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    with pytest.raises(UntrustedModelError, match="runs your code") as error:
        load(tmp_path / "m.keras", f"scale={module}:half")
    one_line(error)
    for name, factor in (("half", 0.5), ("twice", 2.0), ("Thrice", 3.0)):
        loaded = load(tmp_path / "m.keras", f"scale={module}:{name}", trust=True)
        np.testing.assert_allclose(np.asarray(loaded(x)), expected(made, x, factor), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wrong", "gave a int, not a layer"),
        ("fails", "failed: RuntimeError: first second"),
        ("missing", "has no missing"),
        ("heavy", "has weights of its own"),
        ("Dense", "is a Dense, as is 'first' with weights"),
    ],
)
def test_a_callable_that_gives_no_usable_layer_is_said(name: str, message: str, module: str, tmp_path: Path) -> None:
    model().save(tmp_path / "m.keras")
    with pytest.raises(SourceError, match=message) as error:
        load(tmp_path / "m.keras", f"scale={module}:{name}", trust=True)
    one_line(error)


@pytest.mark.slow
def test_the_export_holds_no_code_any_more(tmp_path: Path) -> None:
    import keras

    made = model()
    made.save(tmp_path / "m.keras")
    source = identify(str(tmp_path / "m.keras"), substitute_layer=["scale=rescaling:2,1"])
    exported = convert.export(source, ["onnx"], folder=tmp_path / "out")
    assert not exported.failed
    assert {artifact.kind for artifact in exported.manifest.artifacts} == {"keras", "onnx"}
    again = keras.saving.load_model(tmp_path / "out" / "model.keras", compile=False, safe_mode=True)
    assert type(again.get_layer("scale")).__name__ == "Rescaling"
    completed = convert.complete(tmp_path / "out", ["onnx", "frozen"])  # without --trust
    assert not completed.failed and completed.manifest.artifact("frozen")


def test_every_builtin_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "sources.md").read_text()
    for example in (example for _, _, example in BUILTIN.values()):
        assert f"`{example}`" in page

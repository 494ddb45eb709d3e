"""What the user names becomes a model, or one line that says why not."""

from __future__ import annotations

import dataclasses
import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keronyx.errors import KeronyxError, SourceError, UntrustedModelError, UsageError
from keronyx.export import source as sources
from keronyx.export import stored
from keronyx.export.source import Source, hash_path, identify
from keronyx.unsafe import refuse_unsafe_config

MODULE = """
import sys
import keras

class Twice(keras.layers.Layer):
    def call(self, x):
        return x * 2

objects = {"Twice": Twice}
not_a_dictionary = 3

def build():
    x = keras.Input((4,), name="x")
    return keras.Model(x, Twice()(x))

def sequential():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])

def subclassed():
    class Sub(keras.Model):
        def call(self, x):
            return x
    return Sub()

model = sequential()

def not_built():
    return keras.Sequential([keras.layers.Dense(2)])

def wrong():
    return 42

def fails():
    raise RuntimeError("first\\n\\nsecond")

def leaves():
    sys.exit(3)

def wants(more):
    return more
"""


@pytest.fixture
def module(tmp_path: Path) -> Iterator[str]:
    """A module of the user's in the current folder."""
    path = list(sys.path)
    (tmp_path / "users_layers.py").write_text(MODULE)
    (tmp_path / "broken_module.py").write_text("def (")
    yield "users_layers"
    sys.path[:] = path
    sys.modules.pop("users_layers", None)


def _model(units: int = 2) -> Any:
    import keras

    x = keras.Input((4,), name="x")
    return keras.Model(x, keras.layers.Dense(units, name="d")(x))


def _with_lambda() -> Any:
    import keras

    x = keras.Input((4,), name="x")
    return keras.Model(x, keras.layers.Lambda(lambda t: t * 2, name="twice", output_shape=(4,))(x))


def _nested_lambda() -> Any:
    import keras

    x = keras.Input((4,), name="x")
    return keras.Model(x, _with_lambda()(x))


def _wrapped_lambda() -> Any:
    import keras

    x = keras.Input((3, 4), name="x")
    layer = keras.layers.Lambda(lambda t: t * 2, name="twice", output_shape=(4,))
    return keras.Model(x, keras.layers.TimeDistributed(layer)(x))


def _load(text: str | Path, **options: Any) -> Any:
    return sources.load(identify(str(text), **options))


def _one_line(error: pytest.ExceptionInfo[Any]) -> None:
    assert isinstance(error.value, KeronyxError)
    assert "\n" not in error.value.message + error.value.remedy


# --- names, without loading -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("missing.keras", SourceError, "missing.keras: no such file or folder"),
        ("no/such/folder", SourceError, "no such file or folder"),
        ("unett", UsageError, "unknown source 'unett'"),
        ("", UsageError, "unknown source ''"),
        ("  ", UsageError, "unknown source"),
        ("not a module:f", UsageError, "unknown source"),
        ("module:", UsageError, "unknown source"),
    ],
)
def test_what_does_not_exist_is_said(text: str, kind: type[KeronyxError], message: str) -> None:
    with pytest.raises(kind, match=message) as error:
        identify(text, known=("unet", "enet"))
    _one_line(error)


def test_the_closest_known_names_are_offered() -> None:
    with pytest.raises(UsageError) as error:
        identify("unett", known=("unet", "unet-spatial", "enet", "model-v4"))
    assert "unet" in error.value.remedy


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.keras", b"hello", "not a .keras archive"),
        ("a.h5", b"hello", "not an HDF5 file"),
        ("a.hdf5", b"", "not an HDF5 file"),
        ("a.onnx", b"", "no Keras model to compare with"),
        ("a.txt", b"", "not a model file keronyx knows"),
    ],
)
def test_a_file_of_the_wrong_kind_is_said(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message) as error:
        identify(str(tmp_path / name))
    _one_line(error)


def test_a_folder_without_a_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"folder without saved_model\.pb"):
        identify(str(tmp_path))


def test_a_missing_weights_file_is_said_at_once() -> None:
    with pytest.raises(SourceError, match="no such weights file"):
        identify("module:build", weights="missing.weights.h5")


def test_the_identity_follows_content_and_not_the_name(tmp_path: Path) -> None:
    a, b = tmp_path / "a.h5", tmp_path / "b.h5"
    for path in (a, b):
        path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"same")
    assert identify(str(a)).identity == identify(str(b)).identity
    assert identify(str(a), weights=str(b)).identity != identify(str(a)).identity
    before = identify(str(b)).identity
    b.write_bytes(b"\x89HDF\r\n\x1a\n" + b"other")
    assert identify(str(b)).identity != before
    assert identify(str(a), custom_objects="module:objects").identity is None  # code counts too: only loading can tell
    assert identify("module:build").identity is None


def test_a_folders_hash_sees_names_and_borders_between_files(tmp_path: Path) -> None:
    def made(**files: str) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
        return hash_path(folder)

    assert made(a="1", b="2") == made(b="2", a="1")
    assert len({made(a="1", b="2"), made(a="2", b="1"), made(a="1b2"), made(a="1", c="2")}) == 4


def test_a_files_hash_is_what_sha256sum_says(tmp_path: Path) -> None:
    import hashlib

    (tmp_path / "file").write_bytes(b"content")
    assert hash_path(tmp_path / "file") == hashlib.sha256(b"content").hexdigest()


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_keras_files_load(name: str, tmp_path: Path) -> None:
    model = _model()
    model.save(tmp_path / name)
    x = np.ones((1, 4), "float32")
    np.testing.assert_array_equal(np.asarray(_load(tmp_path / name)(x)), np.asarray(model(x)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
@pytest.mark.parametrize("build", [_with_lambda, _nested_lambda, _wrapped_lambda])
def test_code_in_a_file_is_not_executed_without_trust(name: str, build: Callable[[], Any], tmp_path: Path) -> None:
    build().save(tmp_path / name)
    with pytest.raises(UntrustedModelError, match=r"contains Python code \(Lambda layer 'twice'\)") as error:
        _load(tmp_path / name)
    assert "--trust" in error.value.remedy
    assert _load(tmp_path / name, trust=True).inputs


def _archive(path: Path, **members: str | bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return path


def _check(path: Path) -> None:
    """What is done to a file before anything of it is built."""
    refuse_unsafe_config(stored.read("keras", path).config, path.name)


@pytest.mark.parametrize("kind", ["TFSMLayer", "TorchModuleWrapper", "__lambda__", "package>Lambda"])
def test_other_ways_to_carry_code_are_refused(kind: str, tmp_path: Path) -> None:
    config = {"class_name": "Functional", "config": {"layers": [{"class_name": kind, "config": {"name": "evil"}}]}}
    path = _archive(tmp_path / "evil.keras", config__json=json.dumps(config))
    with pytest.raises(UntrustedModelError, match="'evil'"):
        _check(path)


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b"\xff\xfe", b" " * (stored.MAX_CONFIG_BYTES + 1)])
def test_a_configuration_that_is_none_is_damage(content: bytes, tmp_path: Path) -> None:
    path = _archive(tmp_path / "bad.keras", config__json=content)
    with pytest.raises(SourceError, match=r"bad\.keras is damaged") as error:
        _check(path)
    _one_line(error)


def test_a_configuration_too_large_is_not_even_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _archive(tmp_path / "bomb.keras", config__json=b" " * (stored.MAX_CONFIG_BYTES + 1))
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(SourceError, match="unpacks to"):
        _check(path)


def test_an_archive_without_a_configuration_is_damaged(tmp_path: Path) -> None:
    path = _archive(tmp_path / "empty.keras", metadata__json="{}")
    with pytest.raises(SourceError, match=r"empty\.keras is damaged"):
        _check(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_a_file_cut_short_or_with_flipped_bits_is_damaged(name: str, tmp_path: Path) -> None:
    _model().save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="damaged") as error:
        _load(tmp_path / name)
    _one_line(error)
    if name == "model.keras":
        third = len(whole) // 3
        flipped = bytes(b ^ 255 for b in whole[third : third + 40])
        (tmp_path / name).write_bytes(whole[:third] + flipped + whole[third + 40 :])
        with pytest.raises(SourceError, match="damaged") as error:
            _load(tmp_path / name)
        _one_line(error)


@pytest.mark.slow
def test_weights_alone_are_no_model(tmp_path: Path) -> None:
    _model().save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(SourceError, match="holds weights only") as error:
        _load(tmp_path / "model.weights.h5")
    assert "--weights" in error.value.remedy


@pytest.mark.slow
def test_weights_are_loaded_into_a_model_they_fit_and_no_other(tmp_path: Path) -> None:
    given, other = _model(), _model()
    given.save_weights(tmp_path / "w.weights.h5")
    other.save(tmp_path / "model.keras")
    loaded = _load(tmp_path / "model.keras", weights=str(tmp_path / "w.weights.h5"))
    np.testing.assert_array_equal(loaded.get_weights()[0], given.get_weights()[0])
    _model(3).save(tmp_path / "wider.keras")
    with pytest.raises(SourceError, match=r"w\.weights\.h5 does not fit .*shape") as error:
        _load(tmp_path / "wider.keras", weights=str(tmp_path / "w.weights.h5"))
    _one_line(error)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["custom.keras", "custom.h5"])
def test_a_custom_class_is_named_and_found_when_passed(name: str, module: str, tmp_path: Path) -> None:
    _load(f"{module}:build").save(tmp_path / name)
    with pytest.raises(SourceError, match="needs the custom class Twice") as error:
        _load(tmp_path / name)
    assert "--custom-objects" in error.value.remedy
    for where in (f"{module}:objects", module):
        assert _load(tmp_path / name, custom_objects=where).layers[-1](np.ones(1, "float32")) == 2
    for where, message in (
        (f"{module}:not_a_dictionary", "not a dictionary"),
        ("no_such:x", "cannot import 'no_such'"),
    ):
        with pytest.raises(SourceError, match=message) as error:
            _load(tmp_path / name, custom_objects=where)
        _one_line(error)


# --- callables and applications ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_callable_and_a_model_object_load(module: str) -> None:
    assert _load(f"{module}:sequential").count_params() == 10
    assert _load(f"{module}:model").count_params() == 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("users_layers:wrong", "gave a int, not a keras.Model"),
        ("users_layers:fails", "failed: RuntimeError: first second"),
        ("users_layers:leaves", "failed: SystemExit: 3"),
        ("users_layers:wants", "failed: TypeError: wants"),
        ("users_layers:missing", "has no missing"),
        ("users_layers:subclassed", "subclassed or not built"),
        ("users_layers:not_built", "subclassed or not built"),
        ("no_such_module:build", "cannot import 'no_such_module'"),
        ("broken_module:build", "SyntaxError"),
    ],
)
def test_a_callable_that_gives_no_model_is_said(name: str, message: str, module: str) -> None:
    with pytest.raises(SourceError, match=message) as error:
        _load(name)
    _one_line(error)


@pytest.mark.slow
def test_an_application_is_built_with_the_same_random_weights_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    def tiny(weights: str | None) -> Any:
        assert weights is None, "nothing is downloaded"
        return _model()

    monkeypatch.setattr(keras.applications, "Tiny", tiny, raising=False)
    first, second = (_load("keras.applications:Tiny").get_weights() for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.slow
def test_a_misspelt_application_gets_the_closest_names() -> None:
    with pytest.raises(UsageError, match="has no 'MobileNetV3Smal'") as error:
        _load("keras.applications:MobileNetV3Smal")
    assert "MobileNetV3Small" in error.value.remedy
    for text in ("keras.applications:", "keras.applications:resnet50"):  # a sub-module is no architecture
        with pytest.raises(UsageError, match=r"keras\.applications has no"):
            _load(text)


# --- SavedModels ------------------------------------------------------------------------------------------------------


def _saved(path: Path, function: Callable[[Any], Any]) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.weight = tf.Variable(np.ones((4, 2), "float32"))
    traced = tf.function(lambda x: function(x @ module.weight), input_signature=[tf.TensorSpec((None, 4), name="x")])
    module.call = traced
    tf.saved_model.save(module, str(path), traced)


def _spec(path: Path, **options: Any) -> Any:
    from keronyx.export import child

    found = identify(str(path), **options)
    return child.load({"source": dataclasses.asdict(found), "batch": None, "image_size": None})


@pytest.mark.slow
def test_saved_models_of_tensorflow_and_of_keras_load(tmp_path: Path) -> None:
    _saved(tmp_path / "saved", lambda y: {"b": y, "a": y * 2})
    spec = _spec(tmp_path / "saved")
    assert [t["name"] for t in spec["outputs"]] == ["a", "b"]
    assert spec["parameters"] == 8
    _model().export(str(tmp_path / "exported"), verbose=False)
    assert [t["name"] for t in _spec(tmp_path / "exported")["inputs"]] == ["x"]


@pytest.mark.slow
def test_a_saved_model_that_reads_files_is_refused_before_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    _saved(tmp_path / "saved", lambda y: y + tf.cast(tf.strings.length(tf.io.read_file("secret")), "float32"))
    monkeypatch.setattr(tf.saved_model, "load", lambda _: pytest.fail("loaded"))
    with pytest.raises(UntrustedModelError, match="ReadFile"):
        _load(tmp_path / "saved")


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"\x00garbage", b"\x0a\xff"])
def test_a_damaged_saved_model_is_said(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(content)
    with pytest.raises(SourceError) as error:
        _load(tmp_path / "saved")
    _one_line(error)


@pytest.mark.slow
def test_a_saved_model_without_its_variables_or_a_signature_is_said(tmp_path: Path) -> None:
    import shutil

    import tensorflow as tf

    _saved(tmp_path / "saved", lambda y: y)
    shutil.rmtree(tmp_path / "saved" / "variables")
    with pytest.raises(SourceError, match="cannot be loaded") as error:
        _load(tmp_path / "saved")
    _one_line(error)
    tf.saved_model.save(tf.Module(), str(tmp_path / "bare"))
    with pytest.raises(SourceError, match="has no signature"):
        _load(tmp_path / "bare")


def test_weights_for_a_saved_model_are_refused(tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").touch()
    (tmp_path / "w.h5").touch()
    with pytest.raises(UsageError, match="into a SavedModel"):
        identify(str(tmp_path / "saved"), weights=str(tmp_path / "w.h5"))


def test_a_source_survives_the_way_to_the_child() -> None:
    found = identify("module:build", trust=True)
    assert Source(**json.loads(json.dumps(dataclasses.asdict(found)))) == found


def test_weights_named_from_the_current_folder_are_found(tmp_path: Path) -> None:
    import keras

    x = keras.Input((4,), name="x")
    model = keras.Model(x, keras.layers.Dense(3)(x))
    Path("m.json").write_text(model.to_json())
    model.save_weights("m.weights.h5")
    model.save("m.keras")
    for weights in ("m.weights.h5", "m.keras"):
        loaded = sources.load(identify("m.json", weights=weights))
        assert np.array_equal(loaded.get_weights()[0], model.get_weights()[0])

"""Model files nobody meant to write: each costs one line that says what is wrong, never a traceback or a hang."""

from __future__ import annotations

import copy
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keronyx.errors import KeronyxError, SourceError, UsageError
from keronyx.export import source as sources
from keronyx.export.source import identify

Config = dict[str, Any]


def refused(path: Path | str, message: str, kind: type[KeronyxError] = SourceError, **options: Any) -> KeronyxError:
    with pytest.raises(kind, match=message) as error:
        sources.load(identify(str(path), **options))
    assert "\n" not in error.value.message + error.value.remedy
    assert len(error.value.message) < 500
    return error.value


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """x (4) -> Dense `d` (2), as .keras and .h5."""
    import keras

    x = keras.Input((4,), name="x")
    model = keras.Model(x, keras.layers.Dense(2, name="d")(x))
    model.save(tmp_path / "good.keras")
    model.save(tmp_path / "good.h5")
    return tmp_path / "good.keras"


def changed(saved: Path, change: Callable[[Config], Any]) -> Path:
    """The archive with another configuration."""
    with zipfile.ZipFile(saved) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    change(config)
    path = saved.with_name("changed.keras")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, json.dumps(config) if name == "config.json" else content)
    return path


def dense(config: Config) -> Config:
    found: Config = config["config"]["layers"][1]
    return found


def history(config: Config) -> Config:
    found: Config = dense(config)["inbound_nodes"][0]["args"][0]["config"]
    return found


CHANGES: list[tuple[Callable[[Config], Any], str]] = [
    (lambda c: dense(c)["config"].update(units=-3), "Dense: Received an invalid value for `units`"),
    (lambda c: dense(c)["config"].update(units=3), r"layer 'd' \(Dense\): .*\(4, 3\).*\(4, 2\)"),
    (lambda c: dense(c)["config"].update(foo=3), "Dense: Unrecognized keyword"),
    (lambda c: dense(c)["config"].update(activation="foo"), "activation function identifier: foo"),
    (lambda c: dense(c).update(class_name="Foo", module="m", registered_name="m>Foo"), "needs the custom class Foo"),
    (lambda c: dense(c).update(class_name="Foo"), r"keras\.layers\.Foo"),
    (lambda c: history(c).update(keras_history=["zzz", 0, 0]), "Unknown layer: zzz"),
    (lambda c: history(c).update(keras_history=["d", 0, 0]), "loops or disconnected"),
    (lambda c: c["config"]["layers"].append(copy.deepcopy(dense(c))), "two layers are called 'd'"),
    (lambda c: c["config"].update(output_layers=[["q", 0, 0]]), "could not find layer q"),
    (lambda c: c["config"].update(input_layers=[]), "`inputs` argument cannot be empty"),
    (lambda c: c["config"].update(layers=None), "cannot be loaded"),
    (lambda c: c.update(config=None), "cannot be loaded"),
    (lambda c: c.pop("class_name"), "holds no model's configuration"),
    (lambda c: c.update(class_name=3), "changed.keras"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_a_configuration_that_makes_no_sense_says_where(
    change: Callable[[Config], Any], message: str, saved: Path
) -> None:
    assert refused(changed(saved, change), message)


@pytest.mark.slow
def test_weights_that_are_none_are_said(saved: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        config = archive.read("config.json")
    for content, message in ((None, "Expected a model.weights.h5"), (b"", "damaged"), (b"hello", "damaged")):
        path = saved.with_name("weights.keras")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", config)
            if content is not None:
                archive.writestr("model.weights.h5", content)
        assert refused(path, message)


@pytest.mark.slow
def test_hdf5_without_weights_or_with_others_is_said(saved: Path) -> None:
    import h5py

    path = saved.with_suffix(".h5")
    with h5py.File(path, "a") as file:
        name = file["model_weights/d"].attrs["weight_names"][0]
        del file["model_weights/d"][name]
        file["model_weights/d"][name] = np.zeros((4, 3), "float32")
    assert refused(path, r"'?d\b.*\(4, 2\).*\(4, 3\)")
    with h5py.File(path, "a") as file:
        del file["model_weights"]
    assert refused(path, "network without its weights")
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = "{not json"
    assert refused(path, "damaged")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nan.keras", "nan.h5"])
def test_weights_that_are_not_numbers_still_load(name: str, saved: Path) -> None:
    import keras

    model = keras.saving.load_model(saved)
    model.set_weights([np.full((4, 2), np.nan), np.zeros(2)])
    model.save(saved.with_name(name))
    loaded = sources.load(identify(str(saved.with_name(name))))
    assert np.isnan(np.asarray(loaded(np.ones((1, 4))))).all()


@pytest.mark.slow
def test_an_empty_model_is_said(tmp_path: Path) -> None:
    import keras

    keras.Sequential([], name="empty").save(tmp_path / "empty.keras")
    assert refused(tmp_path / "empty.keras", "has no layers")


@pytest.mark.slow
def test_a_file_is_taken_for_what_is_in_it(saved: Path) -> None:
    archive, hdf5 = saved.rename(saved.with_name("really.h5")), saved.with_suffix(".h5")
    hdf5 = hdf5.rename(saved.with_name("really.keras"))
    for path in (archive, hdf5):
        assert sources.load(identify(str(path))).count_params() == 10


@pytest.mark.slow
def test_a_file_that_changes_while_it_is_read_is_said(saved: Path) -> None:
    found = identify(str(saved))
    os.utime(saved, ns=(1, 1))
    with pytest.raises(SourceError, match="changed while it was read"):
        sources.load(found)


@pytest.mark.slow
def test_a_module_named_in_a_file_is_not_imported(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (saved.parent / "wicked.py").write_text("open('ran', 'w')\ndef relu(x): open('ran', 'w')\n")
    monkeypatch.syspath_prepend(str(saved.parent))
    function = {"module": "wicked", "class_name": "function", "config": "relu", "registered_name": "relu"}
    assert refused(
        changed(saved, lambda c: dense(c)["config"].update(activation=function)), "needs the custom class relu"
    )
    assert refused(
        changed(saved, lambda c: dense(c).update(module="wicked", class_name="relu")), "custom class relu|registered"
    )
    assert not (saved.parent / "ran").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b"", "damaged"),
        ("a.json", b"{}", "holds no model's configuration"),
        ("a.json", b'{"modelTopology": {}, "weightsManifest": []}', "holds no model's configuration"),
        ("a.json", b"[" * 100_000, "damaged"),
        ("a.yaml", b"a: 1", "is YAML"),
        ("a.yml", b"a: 1", "is YAML"),
        ("a.pb", b"x", "one graph without inputs or outputs named"),
        ("a.pkl", b"x", "is a pickle"),
        ("a.zip", b"PK\x03\x04", "not a model file keronyx knows"),
    ],
)
def test_other_files_are_said(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "w.h5").touch()
    assert refused(tmp_path / name, message, **({"weights": str(tmp_path / "w.h5")} if name == "a.json" else {}))


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.keras")
    assert refused(tmp_path / "pipe.keras", "neither a file nor a folder")
    assert refused("/dev/null", "neither a file nor a folder")


def test_a_file_that_may_not_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.keras").touch()
    denied = PermissionError(13, "Permission denied")

    def forbid(*_: Any) -> Any:
        raise denied

    monkeypatch.setattr(Path, "open", forbid)
    assert refused(tmp_path / "m.keras", "cannot be read: Permission denied")


@pytest.mark.slow
def test_weights_of_another_model_or_none_are_said(saved: Path) -> None:
    import keras

    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).save(saved.with_name("other.keras"))
    assert refused(saved, r"other\.keras does not fit .*layer 'd'", weights=str(saved.with_name("other.keras")))
    saved.with_name("text.h5").write_text("hello")
    assert refused(saved, r"text\.h5 does not fit .*damaged", weights=str(saved.with_name("text.h5")))
    with pytest.raises(UsageError, match="without its weights"):
        (saved.with_name("net.json")).write_text("{}")
        identify(str(saved.with_name("net.json")))

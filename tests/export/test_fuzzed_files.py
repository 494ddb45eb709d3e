"""Files and folders from attacks on `keronyx export`: slow to refuse, read from elsewhere, left to be mistaken."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from keronyx.errors import SourceError, UntrustedModelError, UnwritableError, UsageError
from keronyx.export import dims, folder, stored, tensorrt
from keronyx.export.folder import MANIFEST_SCHEMA, Manifest
from keronyx.export.gates import trials
from keronyx.types import Artifact, ModelSpec


def test_a_configuration_of_very_many_layers_is_read_in_no_time(tmp_path: Path) -> None:
    names = [f"layer{i}" for i in range(40_000)]
    path = tmp_path / "many.json"

    def written(layers: list[str]) -> None:
        described = [{"class_name": "ReLU", "config": {"name": name}} for name in layers]
        path.write_text(json.dumps({"class_name": "Functional", "config": {"layers": described}}))

    written(names)
    started = time.process_time()
    assert stored.read("json", path).config["class_name"] == "Functional"
    assert time.process_time() - started < 10  # comparing each with each took a minute
    written([*names, "layer7"])
    with pytest.raises(SourceError, match="two layers are called 'layer7'"):
        stored.read("json", path)


@pytest.mark.parametrize("kind", ["json", "keras"])
def test_a_configuration_of_millions_of_objects_is_refused_before_it_takes_memory(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"crowd.{kind}"
    text = '{"class_name": "Functional", "config": {"layers": [' + "{}," * 1_000_000 + "{}]}}"
    if kind == "json":
        path.write_text(text)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", text)
    with pytest.raises(SourceError, match="1,000,004 objects"):
        stored.read(kind, path)


def test_tensorrt_is_not_asked_about_a_file_that_reads_from_elsewhere(tmp_path: Path) -> None:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "../secret"), ("offset", "0"), ("length", "8")):
        entry = weight.external_data.add()
        entry.key, entry.value = key, value
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [], [weight])
    (tmp_path / "export").mkdir()
    path = tmp_path / "export" / "model.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    onnx.load(str(path), load_external_data=False)
    with pytest.raises(UntrustedModelError, match="outside its folder"):
        tensorrt.check(path, ())


def test_a_shape_said_twice_of_one_input_is_refused() -> None:
    with pytest.raises(UsageError, match="twice"):
        dims.parse(["x=1x4", "x=2x4"])


def _exported(target: Path, *kinds: str) -> None:
    """An export folder with these artifacts, and what is made beside them."""
    target.mkdir()
    for kind in kinds:
        (target / folder.FILES[kind]).write_text("old")
    for name in ("tensorrt.json", "model.optimized-0123abcd.onnx", "model.onnx.data", "thesis.txt"):
        (target / name).write_text("old")
    artifacts = tuple(Artifact(kind, folder.FILES[kind], 3, "", 0.0, 0.0, ()) for kind in kinds)
    folder.write(target, Manifest(MANIFEST_SCHEMA, "k", 1, 18, ModelSpec("m", "m", (), (), 1, ""), {}, artifacts))


def test_a_replaced_export_leaves_nothing_that_could_be_taken_for_the_new_one(tmp_path: Path) -> None:
    _exported(tmp_path / "target", "keras", "onnx", "frozen")
    (tmp_path / "target" / "model.keras").write_text("new")
    folder.forget(tmp_path / "target", "keras")
    left = {path.name for path in (tmp_path / "target").iterdir()}
    assert left == {"model.keras", "thesis.txt", folder.MANIFEST}
    assert (tmp_path / "target" / "model.keras").read_text() == "new"


def test_a_folder_whose_name_is_not_utf_8_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UnwritableError, match="UTF-8"):
        folder.prepare(tmp_path / "o\udcff", "key", False)
    assert folder.prepare(tmp_path / "ö", "key", False) is None


@pytest.mark.parametrize("kind", ["link to a folder", "neither a file nor a folder"])
def test_a_saved_model_without_end_is_refused(kind: str, tmp_path: Path) -> None:
    from keronyx.export import saved_model

    (tmp_path / "assets").mkdir()
    (tmp_path / "saved_model.pb").touch()
    if kind == "link to a folder":
        (tmp_path / "assets" / "odd").symlink_to("..")
    else:
        (tmp_path / "assets" / "odd").symlink_to("/dev/zero")
    with pytest.raises(SourceError, match=kind):
        saved_model.load(tmp_path, "evil", False)


def test_a_file_of_a_saved_model_that_lies_elsewhere_is_not_copied_unasked(tmp_path: Path) -> None:
    from keronyx.export import saved_model

    (tmp_path / "secret").write_text("secret")
    folder = tmp_path / "model"
    (folder / "assets").mkdir(parents=True)
    (folder / "saved_model.pb").touch()
    (folder / "assets" / "inside").symlink_to("../saved_model.pb")
    with pytest.raises(SourceError, match="holds no graph"):
        saved_model.load(folder, "evil", False)
    (folder / "assets" / "words.txt").symlink_to("../../secret")
    with pytest.raises(UntrustedModelError, match=r"words.txt', a link to a file outside"):
        saved_model.load(folder, "evil", False)
    with pytest.raises(SourceError, match="holds no graph"):
        saved_model.load(folder, "evil", True)


def test_names_from_a_model_cannot_write_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from keronyx.commands import readiness

    readiness._list([tensorrt.Refusal("\x1b[2J\nlayer", "Op", "node", "\rwhy")])
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "\x1b" not in said and "\r" not in said


@pytest.mark.slow
def test_a_group_that_is_missing_in_hdf5_is_said(tmp_path: Path) -> None:
    import h5py
    import keras

    from keronyx.export import source

    x = keras.Input((4,))
    path = tmp_path / "model.h5"
    keras.Model(x, keras.layers.Dense(2, name="d")(x)).save(path)
    with h5py.File(path, "a") as file:
        file.move("model_weights/d", "model_weights/other")
    with pytest.raises(SourceError, match="nothing in it is called 'd'"):
        source.load(source.identify(str(path)))


def test_images_without_rows_are_drawn() -> None:
    assert trials.picture((1, 0, 5, 3), np.random.default_rng(0)).shape == (1, 0, 5, 3)

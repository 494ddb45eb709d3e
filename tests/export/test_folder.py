"""An export folder is either right or refused, and nothing of anybody's is lost."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

import keronyx
from keronyx.errors import ReportError, UnwritableError
from keronyx.export import folder as folders
from keronyx.export.folder import Manifest
from keronyx.types import Artifact, ModelSpec, TensorSpec

SPEC = ModelSpec(
    "tiny", "tiny.keras", (TensorSpec("x", (None, 4), "float32"),), (TensorSpec("y", (1, 2), "float32"),), 10, "hash"
)
ONNX = Artifact("onnx", "model.onnx", 3, "abc", 1.5, 600.0, ("2 ONNX nodes",))


def _manifest(**changes: Any) -> Manifest:
    manifest = Manifest(1, "key", 1, 18, SPEC, {"keras": "3"}, (ONNX,), "module:objects", True, (8, 10))
    return dataclasses.replace(manifest, **changes)


def _tampered(path: Path, **changes: Any) -> None:
    folders.write(path, _manifest())
    stored = json.loads((path / folders.MANIFEST).read_text())
    (path / folders.MANIFEST).write_text(json.dumps({**stored, **changes}))


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    folders.write(tmp_path, _manifest())
    assert folders.read(tmp_path) == _manifest()
    assert [path.name for path in tmp_path.iterdir()] == [folders.MANIFEST]


def test_a_folder_without_a_manifest_has_none(tmp_path: Path) -> None:
    assert folders.read(tmp_path) is None
    assert folders.read(tmp_path / "missing") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff", b"null", b"[" * 100_000])
def test_a_damaged_manifest_is_said(content: bytes, tmp_path: Path) -> None:
    (tmp_path / folders.MANIFEST).write_bytes(content)
    with pytest.raises(ReportError, match="is damaged") as error:
        folders.read(tmp_path)
    assert "\n" not in error.value.message
    with pytest.raises(ReportError):
        folders.prepare(tmp_path, "key", force=False)
    assert (tmp_path / folders.MANIFEST).read_bytes() == content
    assert folders.prepare(tmp_path, "key", force=True) is None


@pytest.mark.parametrize("path", ["..", "../model.onnx", "/etc/passwd", "sub/model.onnx", ".", "", "model.keras"])
def test_a_manifest_cannot_name_files_elsewhere(path: str, tmp_path: Path) -> None:
    _tampered(tmp_path, artifacts=[{**dataclasses.asdict(ONNX), "path": path}])
    with pytest.raises(ReportError, match="names files that no export writes"):
        folders.read(tmp_path)


def test_a_manifest_of_another_schema_or_with_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    _tampered(tmp_path, schema=2)
    with pytest.raises(ReportError, match="has schema 2, not 1"):
        folders.read(tmp_path)
    _tampered(tmp_path, artifacts=[{**dataclasses.asdict(ONNX), "kind": "pickle"}])
    with pytest.raises(ReportError):
        folders.read(tmp_path)


def test_an_empty_or_new_folder_is_ready_and_the_same_content_is_found_again(tmp_path: Path) -> None:
    assert folders.prepare(tmp_path, "key", force=False) is None
    assert folders.prepare(tmp_path / "a" / "b", "key", force=False) is None
    folders.write(tmp_path / "a" / "b", _manifest())
    assert folders.prepare(tmp_path / "a" / "b", "key", force=False) == _manifest()
    assert folders.prepare(tmp_path / "a" / "b", "key", force=True) is None


def test_a_folder_with_anything_else_needs_force_and_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UnwritableError, match="files that are not an export") as error:
        folders.prepare(tmp_path, "key", force=False)
    assert "--force" in error.value.remedy
    assert folders.prepare(tmp_path, "key", force=True) is None
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_another_models_export_needs_force(tmp_path: Path) -> None:
    folders.write(tmp_path, _manifest())
    with pytest.raises(UnwritableError, match=r"another export \(tiny\.keras\)"):
        folders.prepare(tmp_path, "another key", force=False)


def test_what_a_killed_conversion_left_does_not_count(tmp_path: Path) -> None:
    (tmp_path / folders.MAKING).mkdir()
    assert folders.prepare(tmp_path, "key", force=False) is None


def test_a_file_where_the_folder_should_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for target in (tmp_path / "file", tmp_path / "file" / "below"):
        for force in (False, True):
            with pytest.raises(UnwritableError):
                folders.prepare(target, "key", force)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that even root cannot write to")
def test_an_unwritable_folder_is_said() -> None:
    for target in (Path("/proc/self/fdinfo"), Path("/proc/keronyx")):
        with pytest.raises(UnwritableError) as error:
            folders.prepare(target, "key", force=True)
        assert "\n" not in error.value.message


def test_a_manifest_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders.write(tmp_path, _manifest())

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UnwritableError, match="No space left on device"):
        folders.write(tmp_path, _manifest(key="another"))
    assert folders.read(tmp_path) == _manifest()
    assert [path.name for path in tmp_path.iterdir()] == [folders.MANIFEST]


def test_the_key_follows_everything_that_decides_an_export(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [
        folders.key("a", 1, None, 18),
        folders.key("b", 1, None, 18),
        folders.key("a", None, None, 18),
        folders.key("a", 1, (8, 10), 18),
        folders.key("a", 1, None, 17),
    ]
    assert len(set(keys)) == 5
    assert folders.key("a", 1, None, 18) == keys[0]
    monkeypatch.setattr(folders, "tool_versions", lambda: {"keras": "4"})
    assert folders.key("a", 1, None, 18) != keys[0]


def test_what_judges_a_file_is_in_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"onnx-ir", "numpy", "onnxruntime"} <= set(folders.tool_versions())
    assert folders.tool_versions()["onnxruntime"] == onnxruntime.__version__
    before = folders.key("a")
    for name in folders.JUDGING:
        (tmp_path / name).write_bytes((Path(keronyx.__file__).parent / name).read_bytes())
    monkeypatch.setattr(keronyx, "__file__", str(tmp_path / "__init__.py"))
    assert folders.key("a") == before
    (tmp_path / "parity.py").write_text("TYPICAL = 1e-9")
    assert folders.key("a") != before


@pytest.mark.parametrize("content", ["{", json.dumps({"schema": 2})])
def test_where_a_manifest_cannot_be_read_every_file_of_an_export_is_forgotten(content: str, tmp_path: Path) -> None:
    (tmp_path / folders.MANIFEST).write_text(content)
    for name in ("model.keras", "frozen.pb", "model.onnx", "model.onnx.data", "model.optimized-0a.onnx", "thesis.txt"):
        (tmp_path / name).write_text("x")
    (tmp_path / "tensorrt.json").write_text("{}")
    (tmp_path / "saved_model").mkdir()
    folders.forget(tmp_path, "onnx")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {folders.MANIFEST, "model.onnx", "model.onnx.data", "thesis.txt"}


def test_where_there_is_no_manifest_nothing_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_text("mine")
    folders.forget(tmp_path, "onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]


def test_a_folder_is_named_by_model_batch_and_content() -> None:
    assert folders.default_folder(Path("exports"), "unet:16", 1, "0123456789") == Path("exports/unet-16-b1-01234567")
    assert folders.default_folder(Path("e"), "../x y", None, "0123456789").parent == Path("e")


def test_the_newest_export_of_each_model_is_found(tmp_path: Path) -> None:
    for i, (name, model) in enumerate([("one", "a"), ("two", "a"), ("three", "b")]):
        (tmp_path / name).mkdir()
        folders.write(tmp_path / name, _manifest(spec=dataclasses.replace(SPEC, name=model)))
        os.utime(tmp_path / name / folders.MANIFEST, (1000 + i, 1000 + i))
    (tmp_path / "empty").mkdir()
    assert folders.newest(tmp_path) == [tmp_path / "two", tmp_path / "three"]
    assert folders.newest(tmp_path / "missing") == []


def test_added_artifacts_replace_those_of_their_kind_in_the_order_of_files() -> None:
    keras, newer = dataclasses.replace(ONNX, kind="keras"), dataclasses.replace(ONNX, bytes=4)
    assert folders.with_artifacts(_manifest(), [newer, keras]).artifacts == (keras, newer)

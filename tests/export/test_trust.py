"""An export folder's own word on trust does not count."""

from __future__ import annotations

import dataclasses
import json
import zipfile

import pytest

from keronyx.errors import UntrustedModelError
from keronyx.export import folder as folders
from keronyx.export.convert import complete
from keronyx.types import Artifact, ModelSpec, TensorSpec


@pytest.fixture
def folder(tmp_path):
    """A folder that looks complete; its model is never loaded."""
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Sequential", "config": {"layers": []}}))
    tensor = TensorSpec("x", (1, 2), "float32")
    spec = ModelSpec("m", "m.keras", (tensor,), (tensor,), 1, "ab")
    artifact = Artifact("keras", "model.keras", (tmp_path / "model.keras").stat().st_size, "00", 1.0, 1.0)
    manifest = folders.Manifest(folders.MANIFEST_SCHEMA, "k", 1, 18, spec, {}, (artifact,))
    folders.write(tmp_path, manifest)
    return tmp_path


def claim(folder, **changes):
    folders.write(folder, dataclasses.replace(folders.read(folder), **changes))


def test_a_plain_folder_is_used_on_the_users_terms(folder):
    assert complete(folder, []).source.trust is False
    assert complete(folder, [], trust=True).source.trust is True


def test_a_folder_that_claims_trust_is_refused_until_the_user_gives_it(folder):
    claim(folder, trust=True)
    with pytest.raises(UntrustedModelError, match="--trust"):
        complete(folder, [])
    assert complete(folder, [], trust=True).source.trust is True


def test_a_module_that_a_folder_names_is_imported_only_if_the_user_says_so(folder):
    claim(folder, custom_objects="theirs:layers")
    with pytest.raises(UntrustedModelError, match="theirs:layers"):
        complete(folder, [])
    assert complete(folder, [], custom_objects="mine:layers").source.custom_objects == "mine:layers"
    assert complete(folder, [], trust=True).source.custom_objects == "theirs:layers"


def test_a_model_with_code_in_a_folder_that_does_not_say_so_is_refused(folder):
    """Its rows would load it with Keras' own word on what is safe."""
    evil = {"class_name": "Lambda", "module": "keras.layers", "config": {"name": "evil"}}
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Sequential", "config": {"layers": [evil]}}))
    (artifact,) = folders.read(folder).artifacts
    claim(folder, artifacts=(dataclasses.replace(artifact, bytes=(folder / "model.keras").stat().st_size),))
    with pytest.raises(UntrustedModelError, match="'evil'"):
        complete(folder, [])
    assert complete(folder, [], trust=True).source.trust is True

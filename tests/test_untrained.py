"""Whether a network of the zoo is trained: which weights it has, and that the lack of trained ones is said."""

import dataclasses
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from keronyx import pipeline
from keronyx.cli import app
from keronyx.errors import SourceError
from keronyx.pipeline import ProfileOptions, Silent, resolve
from keronyx.zoo import weights


@pytest.fixture(autouse=True)
def no_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(weights, "FOLDER", tmp_path / "shipped")


def test_a_network_without_trained_weights_says_so_and_others_do_not(tmp_path):
    before = resolve("unet:16")
    assert "untrained" in before.note
    (tmp_path / "shipped").mkdir()
    (tmp_path / "shipped" / "unet-16.npz").write_bytes(b"1")
    after = resolve("unet:16")
    assert after.note == "" and "untrained" in resolve("unet:17").note and "untrained" in resolve("unet").note
    assert before.identity != after.identity
    (tmp_path / "shipped" / "unet-16.npz").write_bytes(b"2")
    assert resolve("unet:16").identity != after.identity


def test_a_network_that_comes_trained_says_on_what_and_on_which_terms(tmp_path):
    (tmp_path / "shipped").mkdir()
    card = {"data": ["camvid", "camvid", "scenes:60"], "licence": "research only"}
    np.savez(tmp_path / "shipped" / "unet-16.npz", **{weights.CARD: np.array(json.dumps(card))})
    assert resolve("unet:16").note == "unet:16 comes trained on camvid, scenes:60; terms: research only"
    (tmp_path / "own.weights.h5").write_bytes(b"1")
    assert resolve("unet:16", weights="own.weights.h5").note == ""


def test_weights_that_are_named_are_no_lack(tmp_path):
    (tmp_path / "own.npz").write_bytes(b"1")
    (tmp_path / "own.weights.h5").write_bytes(b"1")
    own, keras = resolve("unet:2", weights="own.npz"), resolve("unet:2", weights="own.weights.h5")
    assert own.note == keras.note == ""
    assert own.arguments["weights"] == str(tmp_path / "own.npz") and own.weights is None
    assert keras.weights == "own.weights.h5" and "weights" not in keras.arguments
    with pytest.raises(SourceError, match=r"none\.npz: no such"):
        resolve("unet:2", weights="none.npz")


def test_a_run_tells_the_notes_of_its_model(segmenter_copy, fakes):
    from keronyx.export import folder

    note = "unet:2 is untrained"
    folder.write(segmenter_copy, dataclasses.replace(folder.read(segmenter_copy), notes=(note,)))
    fakes("HONEST")
    options = ProfileOptions(max_rounds=2, budget_s=5, threads=(1,), processes=1)
    report = pipeline.profile(pipeline.preparation(segmenter_copy, None, Silent()), options, Silent())
    assert note in report.warnings


@pytest.mark.slow
def test_export_says_that_a_network_is_untrained_and_takes_its_trained_weights(tmp_path):
    from keronyx.zoo.networks import build

    line = "export unet:1 --image-size 16x32 --quiet"
    said = CliRunner().invoke(app, [*line.split(), "-o", "untrained"])
    assert "note: unet:1 is untrained" in said.stdout, said.stderr
    taught = build("unet:1", 16, 16, seed=7)
    weights.save(taught, tmp_path / "own.npz", {})
    said = CliRunner().invoke(app, [*line.split(), "-o", "trained", "--weights", "own.npz"])
    assert said.exit_code == 0 and "untrained" not in said.stdout

    import keras

    found = keras.saving.load_model(tmp_path / "trained" / "model.keras").get_weights()
    assert all(np.allclose(a, b, rtol=1e-3, atol=1e-6) for a, b in zip(found, taught.get_weights(), strict=True))

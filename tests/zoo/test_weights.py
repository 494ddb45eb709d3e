"""Trained weights: written small, read back as they were but for float16's rounding, refused by another network."""

import io
import json
import zipfile

import numpy as np
import pytest

from keronyx.errors import SourceError
from keronyx.zoo import weights
from keronyx.zoo.networks import architecture, build, trained

pytestmark = pytest.mark.slow


def test_weights_come_back_with_the_card_of_their_training(tmp_path):
    model, other = build("unet:2", 16, 16), architecture("unet:2", 16, 16)
    file = weights.file_of("unet:2", tmp_path)
    weights.save(model, file, {"road_f": 0.9})
    assert weights.load(other, file) == {"road_f": 0.9}
    for wanted, found in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2**-11 if wanted.ndim > 1 else 0, atol=1e-7)


def test_kernels_take_two_bytes_a_number(tmp_path):
    model = architecture("unet:8", 16, 16)
    weights.save(model, tmp_path / "w.npz", {})
    assert (tmp_path / "w.npz").stat().st_size < 2.5 * model.count_params()


def test_weights_of_another_network_are_refused(tmp_path):
    weights.save(architecture("unet:2", 16, 16), tmp_path / "w.npz", {})
    with pytest.raises(SourceError, match=r"w\.npz does not fit unet-spatial"):
        weights.load(architecture("unet-spatial:2", 16, 16), tmp_path / "w.npz")
    with pytest.raises(SourceError, match=r"w\.npz does not fit unet"):
        weights.load(architecture("unet:4", 16, 16), tmp_path / "w.npz")


def test_weights_of_another_network_by_their_card_are_named_as_what_they_are(tmp_path):
    model = architecture("unet:2", 16, 16)
    weights.save(model, tmp_path / "w.npz", {"network": "enet"})
    with pytest.raises(SourceError, match=r"^w\.npz holds weights of enet, not of unet:2$"):
        trained("unet:2", 16, 16, str(tmp_path / "w.npz"))
    weights.save(model, tmp_path / "w.npz", {"network": "unet:2"})
    assert (
        weights.load(model, tmp_path / "w.npz", "unet:2") == weights.card(tmp_path / "w.npz") == {"network": "unet:2"}
    )


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    model = architecture("unet:1", 16, 16)
    arrays = {one.path: np.full(one.shape, "x") for one in model.weights}
    with (tmp_path / "w.npz").open("wb") as stream:
        np.savez(stream, **{weights.CARD: np.array(json.dumps({})), **arrays})
    with pytest.raises(SourceError, match=r"w\.npz holds other things than numbers"):
        weights.load(model, tmp_path / "w.npz")


def test_an_array_that_lies_about_its_size_is_no_weights(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (2**56,)})
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("kernel.npy", header.getvalue())
    with pytest.raises(SourceError, match=r"w\.npz holds no weights"):
        weights.load(architecture("unet:1", 16, 16), tmp_path / "w.npz")


def test_a_network_has_the_weights_that_come_with_exactly_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    taught = build("unet:2", 16, 16, seed=5)
    weights.save(taught, weights.file_of("unet:2"), {})
    wanted, seeded = taught.get_weights(), build("unet:2", 32, 48).get_weights()
    found = trained("unet:2", 32, 48).get_weights()  # weights know no image size
    assert all(np.allclose(one, other, rtol=1e-3, atol=1e-6) for one, other in zip(found, wanted, strict=True))
    assert not all(np.allclose(one, other, rtol=1e-3) for one, other in zip(found, seeded, strict=True))
    assert all((a == b).all() for a, b in zip(build("unet:2", 32, 48).get_weights(), seeded, strict=True))
    other = zip(trained("unet:3", 16, 16).get_weights(), build("unet:3", 16, 16).get_weights(), strict=True)
    assert all((one == untrained).all() for one, untrained in other)


def test_weights_of_a_file_go_before_those_that_come_with_the_network(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    for seed, file in ((1, weights.file_of("unet:2")), (2, tmp_path / "own.npz")):
        weights.save(build("unet:2", 16, 16, seed=seed), file, {})
    found = trained("unet:2", 16, 16, str(tmp_path / "own.npz")).get_weights()
    wanted = build("unet:2", 16, 16, seed=2).get_weights()
    assert all(np.allclose(one, other, rtol=1e-3, atol=1e-6) for one, other in zip(found, wanted, strict=True))


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04"])
def test_a_file_of_something_else_is_no_weights(tmp_path, content):
    (tmp_path / "w.npz").write_bytes(content)
    with pytest.raises(SourceError, match=r"w\.npz holds no weights"):
        weights.load(architecture("unet:1", 16, 16), tmp_path / "w.npz")


def test_an_array_file_that_is_no_archive_is_no_weights(tmp_path):
    np.save(tmp_path / "w.npy", np.zeros(3))
    (tmp_path / "w.npy").rename(tmp_path / "w.npz")
    with pytest.raises(SourceError, match=r"w\.npz holds no weights"):
        weights.load(architecture("unet:1", 16, 16), tmp_path / "w.npz")

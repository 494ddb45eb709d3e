"""Trained weights: written small, read back as they were but for float16's rounding, refused by another network."""

import numpy as np
import pytest

from keronyx.errors import SourceError
from keronyx.zoo import weights
from keronyx.zoo.networks import architecture, build

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

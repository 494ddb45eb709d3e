"""What `fit` is fed: right pairs, in an order of the epoch, shifted, lit and mirrored together with their labels."""

import numpy as np
import pytest

from keronyx.zoo import pairs, samples
from keronyx.zoo.labels import IGNORED, one_hot

pytestmark = pytest.mark.slow
DATA = pairs.Drawn(5)


def test_validation_is_every_pair_in_order_as_it_is():
    found = samples.batches(DATA, (32, 48), 2, augment=False)
    images, truth = zip(*(found[i] for i in range(len(found))), strict=True)
    wanted = [DATA.pair(i, 32, 48) for i in range(5)]
    assert (np.concatenate(images) == np.stack([image for image, _ in wanted])).all()
    assert (np.concatenate(truth) == one_hot(np.stack([label for _, label in wanted]))).all()


def test_every_epoch_has_an_order_of_its_own_and_always_the_same():
    found = samples.batches(DATA, (32, 48), 2, augment=True, seed=1)
    first = found[0][0]
    found.epoch = 1
    assert not (found[0][0] == first).all()
    found.epoch = 0
    assert (found[0][0] == first).all()


def test_an_image_and_its_label_move_together():
    image = np.repeat(np.arange(40, dtype=np.float32)[:, None, None], 3, 2).repeat(6, 1)
    label = np.arange(40, dtype=np.uint8)[:, None].repeat(6, 1)
    for seed in range(20):
        moved, told = samples.augmented(image, label, np.random.default_rng(seed))
        kept = told != IGNORED
        light = moved[kept][:, 0] / np.maximum(told[kept], 1)
        assert kept.mean() >= 1 - samples.SHIFT
        assert np.ptp(light[told[kept] > 0]) < 1e-4


def test_half_the_images_are_mirrored():
    image = np.zeros((8, 6, 3), np.float32)
    image[:, 0] = 100
    sides = [samples.augmented(image, np.zeros((8, 6), np.uint8), np.random.default_rng(s))[0] for s in range(200)]
    assert 60 < sum(bool(side[4, 0, 0] == 0) for side in sides) < 140

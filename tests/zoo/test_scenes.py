"""Procedural scenes: the same bytes for the same arguments, and labels that say what is drawn."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from keronyx.zoo import scenes


def test_the_same_arguments_give_the_same_bytes() -> None:
    (image, label), (again, label_again) = scenes.scene(3, seed=7), scenes.scene(3, seed=7)
    assert image.tobytes() == again.tobytes()
    assert label.tobytes() == label_again.tobytes()


def test_a_label_is_the_same_on_every_machine() -> None:
    _, label = scenes.scene(0)
    assert (
        hashlib.sha256(label.tobytes()).hexdigest()
        == "563c69f6fb90cf0bd774f4d66d09cd5c4c51b27862db9e162be8d0b04f278332"
    )


def test_index_and_seed_each_give_another_scene() -> None:
    _, label = scenes.scene(0)
    assert not np.array_equal(label, scenes.scene(1)[1])
    assert not np.array_equal(label, scenes.scene(0, seed=1)[1])


def test_an_image_is_what_a_camera_delivers() -> None:
    image, label = scenes.scene(0)
    assert (image.shape, image.dtype) == ((320, 400, 3), np.float32)
    assert (label.shape, label.dtype) == ((320, 400), np.uint8)
    assert image.min() >= 0 and image.max() <= 255
    assert np.array_equal(image, np.rint(image))


def test_the_first_image_has_its_known_brightness_and_contrast() -> None:
    image, _ = scenes.scene(0)
    assert image.mean((0, 1)) == pytest.approx([110.8, 109.6, 114.5], abs=1)
    assert image.std((0, 1)) == pytest.approx([45.8, 41.4, 58.1], abs=1)


@pytest.mark.parametrize(("height", "width"), [(320, 400), (32, 48)])
def test_every_scene_shows_all_three_classes(height: int, width: int) -> None:
    for index in range(40):
        shares = np.bincount(scenes.scene(index, height, width)[1].ravel(), minlength=3) / (height * width)
        assert len(shares) == 3
        assert shares[scenes.ROAD] > 0.1
        assert shares[scenes.CAR] > 0.002
        assert shares[scenes.OTHER] > 0.3


def test_the_own_hood_is_other_and_the_road_begins_above_it() -> None:
    for index in range(40):
        _, label = scenes.scene(index)
        assert label[-1, 200] == scenes.OTHER
        assert scenes.ROAD in label[240:300, 200] or scenes.CAR in label[240:300, 200]


def test_there_is_neither_road_nor_car_in_the_sky() -> None:
    for index in range(40):
        assert (scenes.scene(index)[1][:40] == scenes.OTHER).all()


def test_lighting_varies_between_scenes() -> None:
    brightness = [scenes.scene(index, 80, 100)[0].mean() for index in range(30)]
    assert np.std(brightness) > 10


def test_a_batch_holds_the_scenes_of_its_series_in_order() -> None:
    images, labels = scenes.batch(3, 32, 48, seed=5)
    assert (images.shape, labels.shape) == ((3, 32, 48, 3), (3, 32, 48))
    image, label = scenes.scene(2, 32, 48, seed=5)
    assert np.array_equal(images[2], image)
    assert np.array_equal(labels[2], label)

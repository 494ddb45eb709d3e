"""Label encodings become road, car, other; what has no class is ignored; what is no class is refused."""

import numpy as np
import pytest

from keronyx.errors import SourceError
from keronyx.zoo.labels import CAMVID, CARLA, IGNORED, OWN, one_hot


def test_carla_road_lines_and_roads_are_road():
    label = np.arange(13, dtype=np.uint8)[None, :].repeat(600, 0)
    read = CARLA.read(label, "x.png")
    assert read[0].tolist() == [2, 2, 2, 2, 2, 2, 0, 0, 2, 2, 1, 2, 2]


@pytest.mark.parametrize(("height", "hood"), [(600, 496), (300, 248)])
def test_the_own_hood_is_other(height, hood):
    read = CARLA.read(np.full((height, 4), 10, np.uint8), "x.png")
    assert (read[:hood] == 1).all()
    assert (read[hood:] == 2).all()


def test_camvid_pixels_without_a_class_are_ignored():
    assert CAMVID.read(np.array([[3, 8, 11, 0]], np.uint8), "x.png").tolist() == [[0, 1, IGNORED, 2]]


def test_a_class_the_encoding_does_not_have_is_refused_by_file_and_number():
    with pytest.raises(SourceError, match=r"x\.png holds class 3; .* 0 to 2"):
        OWN.read(np.array([[3]], np.uint8), "x.png")


def test_ignored_pixels_are_no_class_at_all():
    found = one_hot(np.array([[0, 1, 2, IGNORED]], np.uint8))
    assert found.tolist() == [[[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]]

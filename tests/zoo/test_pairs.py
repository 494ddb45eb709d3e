"""Data sets are read from every layout, resized as the challenge did, and refused in one line when they are broken."""

import numpy as np
import pytest
from PIL import Image

from keronyx.errors import SourceError, UsageError
from keronyx.zoo import pairs, scenes


def written(folder, images, labels, image, label, name="0.png"):
    for kind, array in ((images, image), (labels, label)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(folder / kind / name)
    return folder


def picture(height=8, width=10, channels=3):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels)).astype(np.uint8)


def test_the_challenges_layout_has_its_class_in_the_red_channel(tmp_path):
    label = np.zeros((8, 10, 3), np.uint8)
    label[0, 0, 0], label[1, 1, 0], label[2, 2, 1] = 7, 10, 7
    image = picture()
    written(tmp_path, "CameraRGB", "CameraSeg", image, label)
    data = pairs.find([str(tmp_path)])
    read, classes = data.pair(0, 8, 10)
    assert (read == image).all() and read.dtype == np.float32
    assert (classes[0, 0], classes[1, 1], classes[2, 2]) == (0, 1, 2)


def test_camvids_layout_is_read(tmp_path):
    written(tmp_path, "image", "label12", picture(), np.full((8, 10), 8, np.uint8))
    _, classes = pairs.find([str(tmp_path)]).pair(0, 8, 10)
    assert (classes == 1).all()


def test_alpha_is_dropped_and_grey_becomes_rgb(tmp_path):
    with_alpha, grey = picture(channels=4), picture(channels=3)[..., 0]
    written(tmp_path, "image", "label3", with_alpha, np.zeros((8, 10), np.uint8), "a.png")
    written(tmp_path, "image", "label3", grey, np.zeros((8, 10), np.uint8), "b.png")
    data = pairs.find([str(tmp_path)])
    assert (data.pair(0, 8, 10)[0] == with_alpha[..., :3]).all()
    assert (data.pair(1, 8, 10)[0] == grey[..., None]).all()


@pytest.mark.slow
def test_images_are_resized_as_tensorflow_2_does(tmp_path):
    import tensorflow as tf

    image = picture(30, 40)
    ours = pairs.resized_image(image.astype(np.float32), 16, 20)
    theirs = tf.image.resize(image, (16, 20), "bilinear").numpy()
    assert np.abs(ours - theirs).max() <= 1


@pytest.mark.slow
def test_labels_are_resized_to_the_nearest_pixel_as_tensorflow_2_does():
    import tensorflow as tf

    label = np.random.default_rng(1).integers(0, 3, (30, 40)).astype(np.uint8)
    theirs = tf.image.resize(label[..., None], (600, 800), "nearest").numpy()[..., 0]
    assert (pairs.resized_label(label, 600, 800) == theirs).all()


def test_scenes_are_a_data_set():
    data = pairs.find(["scenes:3:5"])
    image, label = data.pair(2, 32, 48)
    wanted = scenes.scene(2, 32, 48, 5)
    assert len(data) == 3 and data.name == "scenes:3:5"
    assert (image == wanted[0]).all() and (label == wanted[1]).all()


def test_data_sets_are_joined_in_order(tmp_path):
    written(tmp_path, "image", "label3", picture(), np.ones((8, 10), np.uint8))
    data = pairs.find(["scenes:2", str(tmp_path)])
    assert len(data) == 3
    assert (data.pair(2, 8, 10)[1] == 1).all()


def test_batches_hold_every_pair_once():
    found = list(pairs.batches(pairs.find(["scenes:5"]), 32, 48, 2))
    assert [len(images) for images, _ in found] == [2, 2, 1]
    assert (found[2][0][0] == scenes.scene(4, 32, 48)[0]).all()


@pytest.mark.parametrize("text", ["nowhere", "scenes:0", "scenes:99999999999"])
def test_what_is_no_data_set_is_a_usage_error(text):
    with pytest.raises(UsageError, match=text):
        pairs.find([text])


def test_a_folder_of_another_layout_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r"holds no labelled images"):
        pairs.find([str(tmp_path)])


def test_an_image_without_a_label_is_refused_before_anything_is_read(tmp_path):
    written(tmp_path, "image", "label3", picture(), np.zeros((8, 10), np.uint8))
    Image.fromarray(picture()).save(tmp_path / "image" / "lonely.png")
    with pytest.raises(SourceError, match=r"image lonely\.png has no label"):
        pairs.find([str(tmp_path)])


def test_a_label_of_another_size_is_refused(tmp_path):
    written(tmp_path, "image", "label3", picture(), np.zeros((4, 5), np.uint8))
    with pytest.raises(SourceError, match=r"is 4x5, its image 8x10"):
        pairs.find([str(tmp_path)]).pair(0, 8, 10)


def test_a_file_that_is_no_image_is_refused(tmp_path):
    written(tmp_path, "image", "label3", picture(), np.zeros((8, 10), np.uint8))
    (tmp_path / "image" / "0.png").write_text("no image")
    with pytest.raises(SourceError, match=r"0\.png is no image"):
        pairs.find([str(tmp_path)]).pair(0, 8, 10)


def test_a_file_that_went_away_is_said_so(tmp_path):
    written(tmp_path, "image", "label3", picture(), np.zeros((8, 10), np.uint8))
    data = pairs.find([str(tmp_path)])
    (tmp_path / "label3" / "0.png").unlink()
    with pytest.raises(SourceError, match=r"0\.png went away"):
        data.pair(0, 8, 10)


def test_a_file_that_changed_since_it_was_listed_is_refused(tmp_path):
    written(tmp_path, "image", "label3", picture(), np.zeros((8, 10), np.uint8))
    data = pairs.find([str(tmp_path)])
    data.pair(0, 8, 10)
    written(tmp_path, "image", "label3", picture(), np.ones((8, 10), np.uint8))
    with pytest.raises(SourceError, match=r"0\.png has changed since it was listed"):
        data.pair(0, 8, 10)


def test_a_file_that_is_being_written_anew_is_said_to_have_changed(tmp_path):
    written(tmp_path, "image", "label3", picture(), np.zeros((8, 10), np.uint8))
    data = pairs.find([str(tmp_path)])
    file = tmp_path / "image" / "0.png"
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(SourceError, match="has changed"):
        data.pair(0, 8, 10)


def test_an_empty_folder_is_refused(tmp_path):
    for kind in ("image", "label3"):
        (tmp_path / kind).mkdir()
    (tmp_path / "image" / "._0.png").write_bytes(b"no image, as macOS leaves them")
    with pytest.raises(SourceError, match="holds no images"):
        pairs.find([str(tmp_path)])


@pytest.mark.parametrize(
    ("layout", "label", "said"),
    [
        ("label3", np.full((8, 10), 3, np.uint8), "holds class 3; road, car, other labels have 0 to 2"),
        ("label12", np.full((8, 10), 12, np.uint8), "holds class 12; CamVid labels have 0 to 11"),
        ("label3", np.full((8, 10, 3), 128, np.uint8), "holds class 128"),
        ("label3", np.zeros((8, 10), np.uint16), "more than 8 bits a channel"),
        ("label3", np.zeros((8, 10), bool), "is no label image"),
    ],
)
def test_labels_of_another_encoding_are_refused(tmp_path, layout, label, said):
    written(tmp_path, "image", layout, picture(), label)
    with pytest.raises(SourceError, match=said):
        pairs.find([str(tmp_path)]).pair(0, 8, 10)


def test_images_of_16_bits_are_refused_rather_than_clipped(tmp_path):
    written(tmp_path, "image", "label3", np.full((8, 10), 4000, np.uint16), np.zeros((8, 10), np.uint8))
    with pytest.raises(SourceError, match="more than 8 bits"):
        pairs.find([str(tmp_path)]).pair(0, 8, 10)


def test_a_huge_image_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    written(tmp_path, "image", "label3", picture(), np.zeros((8, 10), np.uint8))
    data = pairs.find([str(tmp_path)])
    monkeypatch.setattr(pairs, "MAX_PIXELS", 79)
    with pytest.raises(SourceError, match=r"0\.png is 10x8"):
        data.pair(0, 8, 10)


def test_an_image_cut_short_is_refused(tmp_path):
    written(tmp_path, "image", "label3", picture(), np.zeros((8, 10), np.uint8))
    file = tmp_path / "image" / "0.png"
    file.write_bytes(file.read_bytes()[:-80])
    with pytest.raises(SourceError, match=r"0\.png is no image that can be read"):
        pairs.find([str(tmp_path)]).pair(0, 8, 10)


def test_every_pair_has_a_name_for_messages(tmp_path):
    written(tmp_path, "image", "label3", picture(), np.zeros((8, 10), np.uint8))
    data = pairs.find(["scenes:2:5", str(tmp_path)])
    assert [data.where(i) for i in (1, 2)] == ["scene 1 of scenes:2:5", str(tmp_path / "image" / "0.png")]

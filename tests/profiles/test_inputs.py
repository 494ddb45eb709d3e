"""What the models are fed: images of every kind, noise for the rest, and more of it than the caches hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keronyx.errors import DataError
from keronyx.profiles import inputs
from keronyx.profiles.inputs import image_files, is_image, make, read_images, rotation
from keronyx.types import TensorSpec

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
IMAGE = TensorSpec("image", (None, 4, 6, 3), "float32")


def draw(count, height, width):
    return np.arange(count * height * width * 3, dtype="float32").reshape(count, height, width, 3) % 256


def save(folder: Path, name: str, image: Image.Image, **options) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    image.save(folder / name, **options)


def plain(colour=(10, 20, 30), size=(6, 4)) -> Image.Image:
    return Image.new("RGB", size, colour)


# --- rotation


@pytest.mark.parametrize(
    ("values", "cache_mib", "expected"),
    [
        (2**18, 8, 16),  # 1 MiB each: twice the cache
        (2**18, 0, 4),  # nothing known of the cache
        (1, 32, 64),  # tiny inputs: the most
        (2**25, 32, 2),  # 128 MiB each: two, for 256 MiB
        (2**28, 32, 2),  # 1 GiB each: still two, for parity
    ],
)
def test_inputs_fill_twice_the_cache_within_bounds(values, cache_mib, expected):
    spec = TensorSpec("x", (None, values), "float32")
    assert rotation([spec], 1, cache_mib * 2**20) == expected


def test_batch_and_every_input_count_towards_the_size():
    specs = [TensorSpec("a", (None, 2**17), "float32"), TensorSpec("b", (None, 2**17), "float32")]
    assert rotation(specs, 2, 16 * 2**20) == 16


def test_hot_is_one_input():
    assert rotation([IMAGE], 1, 2**30, hot=True) == 1


# --- kinds of input


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((1, 4, 6, 3), "float32", True),
        ((None, 4, 6, 1), "uint8", True),
        ((1, 4, 6, 4), "float16", True),
        ((1, 4, 6, 2), "float32", False),
        ((1, 4, 6, 3), "int64", False),
        ((4, 6, 3), "float32", False),
    ],
)
def test_images_are_four_dimensions_with_1_3_or_4_channels(shape, dtype, expected):
    assert is_image(TensorSpec("x", shape, dtype)) is expected


def test_drawn_scenes_have_the_models_shape_type_and_batch():
    made = make([TensorSpec("image", (None, 4, 6, 3), "uint8")], 2, 5, draw)
    assert made.arrays[0].shape == (5, 2, 4, 6, 3) and made.arrays[0].dtype == np.uint8 and made.rotation == 5
    np.testing.assert_array_equal(made.arrays[0].reshape(10, 4, 6, 3), draw(10, 4, 6).astype("uint8"))
    assert made.description == "procedural road scenes"


def test_every_input_of_a_model_is_fed_and_named():
    specs = [
        TensorSpec("ids", (1, 7), "int32"),
        TensorSpec("picture", (1, 4, 6, 1), "float32"),
        TensorSpec("mask", (1, 3), "bool"),
        TensorSpec("sound", (None, None, 5), "float64"),
    ]
    made = make(specs, 3, 4, draw)
    assert [array.shape for array in made.arrays] == [(4, 1, 7), (4, 1, 4, 6, 1), (4, 1, 3), (4, 3, 1, 5)]
    assert [array.dtype.name for array in made.arrays] == ["int32", "float32", "bool", "float64"]
    assert made.description.startswith("ids: seeded noise; picture: procedural road scenes; mask: seeded noise")
    assert set(np.unique(made.arrays[0])) <= {0, 1}  # valid indices of any embedding
    assert len({array.tobytes() for array in made.arrays[3]}) == 4  # no input twice


def test_noise_depends_on_the_seed_alone():
    spec = [TensorSpec("x", (1, 50), "float32")]
    one, same, other = (make(spec, 1, 4, draw, seed=seed).arrays[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_data_for_a_model_without_an_image_input_is_an_error(tmp_path):
    save(tmp_path, "a.png", plain())
    with pytest.raises(DataError, match="no image input"):
        make([TensorSpec("x", (1, 5), "float32")], 1, 4, draw, tmp_path)


# --- image files


def test_images_are_read_in_order_and_repeated(tmp_path):
    save(tmp_path, "b.png", plain((2, 2, 2)))
    save(tmp_path, "a.PNG", plain((1, 1, 1)))
    images, words = read_images(tmp_path, 3, 4, 6, 3)
    assert images[:, 0, 0, 0].tolist() == [1, 2, 1] and images.dtype == np.uint8
    assert words == f"2 images of {tmp_path.name}, repeated, every other time mirrored"


def test_a_single_image_still_gives_two_different_inputs(tmp_path):
    slope = np.arange(24, dtype=np.uint8).reshape(4, 6)
    save(tmp_path, "a.png", Image.fromarray(np.stack([slope] * 3, -1)))
    images, _ = read_images(tmp_path, 2, 4, 6, 3)
    assert (images[0] != images[1]).any() and (images[0] == images[1][:, ::-1]).all()


def test_camera_rgb_inside_the_folder_is_what_is_read(tmp_path):
    save(tmp_path, "label.png", plain((9, 9, 9)))
    save(tmp_path / "CameraRGB", "1.png", plain((5, 6, 7)))
    assert read_images(tmp_path, 1, 4, 6, 3)[0][0, 0, 0].tolist() == [5, 6, 7]


def ramp_16_bit() -> Image.Image:
    return Image.fromarray(np.arange(24, dtype=np.uint16).reshape(4, 6) * 2849)  # 0..65527


@pytest.mark.parametrize(
    ("name", "image", "options", "expected"),
    [
        ("rgba.png", Image.new("RGBA", (6, 4), (10, 20, 30, 0)), {}, [10, 20, 30]),
        ("grey.png", Image.new("L", (6, 4), 77), {}, [77, 77, 77]),
        ("palette.png", plain((255, 0, 0)).quantize(4), {}, [255, 0, 0]),
        ("one bit.png", Image.new("1", (6, 4), 1), {}, [255, 255, 255]),
        ("la.png", Image.new("LA", (6, 4), (50, 9)), {}, [50, 50, 50]),
        ("16 bit.png", ramp_16_bit(), {}, [0, 0, 0]),
        ("name with 'quotes' [bold] é日本.png", plain(), {}, [10, 20, 30]),
    ],
)
def test_every_kind_of_image_becomes_rgb(name, image, options, expected, tmp_path):
    save(tmp_path, name, image, **options)
    images, _ = read_images(tmp_path, 1, 4, 6, 3)
    assert images.shape == (1, 4, 6, 3) and images[0, 0, 0].tolist() == expected


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    save(tmp_path, "ramp.png", ramp_16_bit())
    values = read_images(tmp_path, 1, 4, 6, 1)[0].ravel()
    assert values[-1] == 254 and values[12] == 133 and (np.diff(values.astype(int)) > 0).all()


def test_the_camera_that_was_held_sideways_is_turned_upright(tmp_path):
    lying = np.zeros((6, 4, 3), np.uint8)
    lying[:, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned 90 degrees clockwise
    save(tmp_path, "sideways.png", Image.fromarray(lying), exif=exif)
    images, words = read_images(tmp_path, 1, 4, 6, 3)
    assert (images[0, 0] == 255).all() and (images[0, 1:] == 0).all()
    assert "resized" not in words


def test_channels_follow_the_model(tmp_path):
    save(tmp_path, "a.png", plain((255, 255, 255)))
    assert read_images(tmp_path, 1, 4, 6, 1)[0].shape == (1, 4, 6, 1)
    assert read_images(tmp_path, 1, 4, 6, 4)[0][0, 0, 0].tolist() == [255] * 4


def test_resizing_is_bilinear_and_said_with_the_aspect(tmp_path):
    save(tmp_path, "a.png", plain(size=(12, 8)))
    assert read_images(tmp_path, 1, 4, 6, 3)[1].endswith(", resized from 12x8 to 6x4")
    save(tmp_path, "b.png", plain(size=(10, 10)))
    words = read_images(tmp_path, 2, 4, 6, 3)[1]
    assert words.endswith("resized from 10x10, 12x8 to 6x4 (aspect changed)")
    halves = np.zeros((4, 12, 3), np.uint8)
    halves[:, 6:] = 200
    save(tmp_path, "a.png", Image.fromarray(halves))
    row = read_images(tmp_path, 1, 4, 6, 1)[0][0, 0, :, 0]
    assert row[0] == 0 and row[-1] == 200 and 0 < row[2] < row[3] < 200  # half-pixel centres: symmetric
    assert row[2] + row[3] == 200


# --- bad data


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: no such data folder"):
        image_files(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["notes.txt", "._hidden.png", "folder.png/x"])
def test_a_folder_without_images_says_what_it_needs(name, tmp_path):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("x")
    with pytest.raises(DataError) as raised:
        image_files(tmp_path)
    assert "holds no images" in raised.value.message and ".png" in raised.value.remedy


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_an_unreadable_image_is_named(content, tmp_path):
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.png cannot be read as an image"):
        read_images(tmp_path, 1, 4, 6, 3)


def test_an_image_cut_short_is_named(tmp_path):
    save(tmp_path, "whole.png", Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)))
    raw = (tmp_path / "whole.png").read_bytes()
    for length in range(10, len(raw) - 50, 197):  # the last bytes hold no pixels
        (tmp_path / "whole.png").write_bytes(raw[:length])
        with pytest.raises(DataError, match="cannot be read"):
            read_images(tmp_path, 1, 4, 6, 3)


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    save(tmp_path, "bomb.png", plain())
    with pytest.raises(DataError, match="DecompressionBombError"):
        read_images(tmp_path, 1, 4, 6, 3)


# --- real data


@pytest.mark.parametrize(
    ("folder", "note"),
    [
        ("lyft/native", "4 images of native, resized from 800x600 to 400x320 (aspect changed)"),
        ("camvid/val/image", "4 images of image"),
    ],
)
def test_real_images_are_fed(folder, note):
    if not (DATA / folder).is_dir():
        pytest.skip(f"../shared/data/{folder} is not here")
    made = make([TensorSpec("image", (1, 320, 400, 3), "float32")], 1, 4, draw, DATA / folder)
    assert made.arrays[0].shape == (4, 1, 320, 400, 3) and 5 < made.arrays[0].mean() < 250
    assert made.description == note
    assert len({array.tobytes() for array in made.arrays[0]}) == 4


def test_the_folder_here_has_a_name_too(tmp_path, monkeypatch):
    save(tmp_path, "a.png", plain())
    monkeypatch.chdir(tmp_path)
    assert read_images(Path("."), 1, 4, 6, 3)[1] == f"1 image of {tmp_path.name}"


def test_nothing_reads_pillow_until_images_are_read():
    assert not hasattr(inputs, "Image")

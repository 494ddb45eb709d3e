"""Labelled road scenes to train and score on: folders of images beside labels, or drawn ones.

A data set is named by a folder, or by `scenes:COUNT` (`scenes:COUNT:SEED`) for procedural ones. Folders it reads:
`CameraRGB` beside `CameraSeg` (the 2018 Lyft Perception Challenge: CARLA's class number in the red channel),
`image` beside `label12` (CamVid), `image` beside `label3` (0 road, 1 car, 2 other).

Images are read as 8-bit RGB: grey becomes RGB, alpha is dropped, orientation tags are not followed (their labels have
none). A file cannot tell that its channels were written as BGR; such images are to be converted beforehand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from keronyx.errors import SourceError, UsageError
from keronyx.types import Array
from keronyx.zoo import scenes
from keronyx.zoo.labels import CAMVID, CARLA, OWN, Encoding

LAYOUTS = (("CameraRGB", "CameraSeg", CARLA), ("image", "label12", CAMVID), ("image", "label3", OWN))
"""Folder of images, folder of labels, and how these are written."""

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
MAX_PIXELS = 100_000_000
SCENES = re.compile(r"scenes:(\d+)(?::(\d+))?", re.ASCII)


class Pairs(Protocol):
    """Images with labels, read one at a time."""

    @property
    def name(self) -> str:
        """What the user called it."""

    def __len__(self) -> int: ...

    def pair(self, index: int, height: int, width: int) -> tuple[Array, Array]:
        """Image (height, width, 3) float32 RGB 0..255 and label (height, width) uint8. Raises SourceError."""

    def where(self, index: int) -> str:
        """What a message calls one of them."""


@dataclass(frozen=True)
class Drawn:
    """Procedural scenes: exact labels, any number, the same on every machine."""

    count: int
    seed: int = 0

    @property
    def name(self) -> str:
        return f"scenes:{self.count}" + (f":{self.seed}" if self.seed else "")

    def __len__(self) -> int:
        return self.count

    def pair(self, index: int, height: int, width: int) -> tuple[Array, Array]:
        return scenes.scene(index, height, width, self.seed)

    def where(self, index: int) -> str:
        return f"scene {index} of {self.name}"


@dataclass(frozen=True)
class Listed:
    """A file as it was when its folder was listed."""

    path: Path
    bytes: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> Listed:
        """Raises SourceError when the file has gone."""
        try:
            found = path.stat()
        except FileNotFoundError as error:
            raise _gone(path) from error
        return cls(path, found.st_size, found.st_mtime_ns)


@dataclass(frozen=True)
class Folder:
    """Image files with a label of the same name each; what is changed after they were listed is refused."""

    name: str
    files: tuple[tuple[Listed, Listed], ...]
    encoding: Encoding

    def __len__(self) -> int:
        return len(self.files)

    def pair(self, index: int, height: int, width: int) -> tuple[Array, Array]:
        """Image resized bilinearly (half-pixel centres), label to the nearest; neither when the size is right."""
        image_file, label_file = self.files[index]
        image, label = _image(image_file), self.encoding.read(_label(label_file), str(label_file.path))
        if image.shape[:2] != label.shape:
            raise SourceError(
                f"{label_file.path} is {_size(label)}, its image {_size(image)}", "a label has its image's size"
            )
        return resized_image(image, height, width), resized_label(label, height, width)

    def where(self, index: int) -> str:
        return str(self.files[index][0].path)


@dataclass(frozen=True)
class Joined:
    """Several data sets one after the other."""

    parts: tuple[Pairs, ...]

    @property
    def name(self) -> str:
        return " + ".join(part.name for part in self.parts)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def pair(self, index: int, height: int, width: int) -> tuple[Array, Array]:
        part, index = self._at(index)
        return part.pair(index, height, width)

    def where(self, index: int) -> str:
        part, index = self._at(index)
        return part.where(index)

    def _at(self, index: int) -> tuple[Pairs, int]:
        for part in self.parts:
            if index < len(part):
                return part, index
            index -= len(part)
        raise IndexError(index)


def find(texts: Sequence[str]) -> Pairs:
    """The data sets that `texts` name, joined.

    Raises:
        UsageError: none is named, or one is neither a folder nor `scenes:COUNT`.
        SourceError: a folder has none of the layouts, or an image without a label.
    """
    if not texts:
        raise UsageError("no data is named", "--data takes a folder, or scenes:100")
    found = tuple(_one(text) for text in texts)
    return found[0] if len(found) == 1 else Joined(found)


def batches(data: Pairs, height: int, width: int, size: int = 1) -> Iterator[tuple[Array, Array]]:
    """The whole data set in order, `size` pairs at a time: images (n, height, width, 3), labels (n, height, width)."""
    for start in range(0, len(data), size):
        read = [data.pair(i, height, width) for i in range(start, min(start + size, len(data)))]
        yield np.stack([image for image, _ in read]), np.stack([label for _, label in read])


def _one(text: str) -> Pairs:
    if found := SCENES.fullmatch(text):
        count, seed = int(found[1]), int(found[2] or 0)
        if not 0 < count <= 1_000_000 or seed > 2**32:
            raise UsageError(f"{text} is no number of scenes", "scenes:100 draws a hundred, scenes:100:7 others")
        return Drawn(count, seed)
    folder = Path(text)
    if not folder.is_dir():
        raise UsageError(f"{text} is no folder", "--data takes a folder with CameraRGB and CameraSeg, or scenes:100")
    for images, labels, encoding in LAYOUTS:
        if (folder / images).is_dir() and (folder / labels).is_dir():
            return Folder(text, _matched(folder / images, folder / labels), encoding)
    known = ", ".join(f"{images} + {labels}" for images, labels, _ in LAYOUTS)
    raise SourceError(f"{text} holds no labelled images", f"it needs two folders of equal file names: {known}")


def _matched(images: Path, labels: Path) -> tuple[tuple[Listed, Listed], ...]:
    """Every image with the label whose name it has, whatever their formats."""
    by_name = {file.stem: file for file in _pictures(labels)}
    found = _pictures(images)
    if not found:
        raise SourceError(f"{images} holds no images", f"formats: {', '.join(IMAGES)}")
    if missing := [file.name for file in found if file.stem not in by_name]:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise SourceError(f"image {missing[0]} has no label in {labels}{more}", "every image needs a label of its name")
    return tuple((Listed.of(file), Listed.of(by_name[file.stem])) for file in found)


def _pictures(folder: Path) -> list[Path]:
    """Its image files by name, without hidden ones such as `._x.png`, which is no image."""
    found = (file for file in folder.iterdir() if file.suffix.lower() in IMAGES)
    return sorted(file for file in found if not file.name.startswith("."))


def resized_image(image: Array, height: int, width: int) -> Array:
    """Image (h, w, 3) float32, whole numbers 0..255 -> (height, width, 3): bilinear, half-pixel centres, no
    antialiasing (as TensorFlow 2 and the challenge's training did), rounded."""
    from PIL import Image

    if image.shape[:2] == (height, width):
        return image
    scaled = _scaled(Image.fromarray(image.astype(np.uint8)), height, width, Image.Resampling.BILINEAR)
    return np.asarray(scaled, np.float32)


def resized_label(label: Array, height: int, width: int) -> Array:
    """Label (h, w) uint8 -> (height, width): the nearest pixel, half-pixel centres."""
    from PIL import Image

    if label.shape == (height, width):
        return label
    return np.asarray(_scaled(Image.fromarray(label), height, width, Image.Resampling.NEAREST))


def _scaled(picture: Any, height: int, width: int, how: Any) -> Any:
    from PIL import Image

    across, down = picture.width / width, picture.height / height
    return picture.transform((width, height), Image.Transform.AFFINE, (across, 0, 0, 0, down, 0), how)


def _image(file: Listed) -> Array:
    """(height, width, 3) float32 RGB. Grey becomes RGB; alpha is dropped."""
    return np.asarray(_opened(file, "RGB"), np.float32)


def _label(file: Listed) -> Array:
    """(height, width) class numbers: of a palette its indices, of colours their red channel."""
    numbers = np.asarray(_opened(file))
    if numbers.ndim == 3:
        numbers = numbers[..., 0]
    if numbers.ndim != 2 or numbers.dtype != np.uint8:
        raise SourceError(f"{file.path} is no label image", "labels are 8-bit images, one class number a pixel")
    return numbers


def _opened(file: Listed, mode: str | None = None) -> Any:
    """The picture in a file, decoded. Raises SourceError when it cannot be, is too large, changed, or went away."""
    from PIL import Image, UnidentifiedImageError

    path = file.path
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise SourceError(f"{path} is {picture.width}x{picture.height}", f"at most {MAX_PIXELS:,} pixels")
            if picture.mode[0] in "IF":
                raise SourceError(f"{path} has more than 8 bits a channel", "write it as an 8-bit image")
            read = picture.convert(mode) if mode else picture.copy()
    except FileNotFoundError as error:
        raise _gone(path) from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        _same(file)  # half a file that is being written is no image either
        raise SourceError(f"{path} is no image that can be read: {error}") from error
    _same(file)
    return read


def _same(file: Listed) -> None:
    """Raises SourceError when a file is no longer what was listed."""
    if Listed.of(file.path) != file:
        raise SourceError(f"{file.path} has changed since it was listed", "leave the data as it is while it is read")


def _gone(path: Path) -> SourceError:
    return SourceError(f"{path} went away", "leave the data as it is while it is read")


def _size(image: Array) -> str:
    return f"{image.shape[0]}x{image.shape[1]}"

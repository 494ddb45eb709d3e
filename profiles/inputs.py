"""What the models are fed: the user's images, or arrays somebody else drew, rotated over more than the caches hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np

from keronyx.errors import DataError
from keronyx.types import Array, TensorSpec

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".webp", ".tif", ".tiff"})
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Channels of an input -> Pillow's image mode."""

LEAST_ROTATION = 4
MOST_ROTATION = 64
MOST_BYTES = 256 * 2**20

Draw = Callable[[int, int, int], Array]
"""(count, height, width) -> images, (count, height, width, 3) float32 in 0..255."""


@dataclass(frozen=True)
class Inputs:
    """One array per model input, shape (rotation, *input shape), and in words what they are."""

    arrays: tuple[Array, ...]
    description: str

    @property
    def rotation(self) -> int:
        return int(self.arrays[0].shape[0])


def is_image(spec: TensorSpec) -> bool:
    """Whether an input takes images: batch x height x width x 1, 3 or 4 channels of numbers."""
    return len(spec.shape) == 4 and spec.shape[3] in MODES and spec.dtype in ("float32", "float16", "uint8", "float64")


def rotation(specs: Sequence[TensorSpec], batch: int, cache_bytes: int, hot: bool = False) -> int:
    """How many distinct inputs calls rotate over: twice the last-level cache, within reason; one when `hot`.

    At least 4 (2 of more than 64 MiB each), at most 64 or 256 MiB of them.
    """
    if hot:
        return 1
    size = sum(prod(_static(spec, batch)) * np.dtype(spec.dtype).itemsize for spec in specs)
    wanted = ceil(2 * cache_bytes / max(size, 1))
    fits = max(2, MOST_BYTES // max(size, 1))  # one alone could not tell a model that answers always the same
    return min(max(LEAST_ROTATION, wanted), MOST_ROTATION, fits)


def make(
    specs: Sequence[TensorSpec], batch: int, count: int, draw: Draw, folder: Path | None = None, seed: int = 0
) -> Inputs:
    """Inputs for a model: images from `folder` or `draw` for those that take images, seeded noise for others.

    Args:
        batch: size of the first dimension where the model leaves it open.
        count: how many distinct inputs.

    Raises:
        DataError: no readable images, or a folder given for a model that takes no images.
    """
    arrays, said = [], []
    random = np.random.default_rng(seed)
    if folder is not None and not any(is_image(spec) for spec in specs):
        raise DataError("the model has no image input to feed --data to", "leave --data away")
    for spec in specs:
        shape = _static(spec, batch)
        if is_image(spec):
            if folder is not None:
                images, words = read_images(folder, count * shape[0], shape[1], shape[2], shape[3])
            else:
                images = _channels(draw(count * shape[0], shape[1], shape[2]), shape[3])
                words = "procedural road scenes"
            arrays.append(np.ascontiguousarray(images.reshape(count, *shape)).astype(spec.dtype))
        else:
            words = "seeded noise"
            arrays.append(_noise(random, (count, *shape), spec.dtype))
        said.append(words if len(specs) == 1 else f"{spec.name}: {words}")
    return Inputs(tuple(arrays), "; ".join(said))


def read_images(folder: Path, count: int, height: int, width: int, channels: int) -> tuple[Array, str]:
    """`count` images of a folder (or its CameraRGB), resized with half-pixel centres; repeated when there are fewer.

    Returns:
        (count, height, width, channels) uint8, and a description that says what was done to them.
    """
    from PIL import Image

    files = image_files(folder)
    images, sizes = [], set()
    for path in files[:count]:
        try:
            with Image.open(path) as opened:
                image = _upright(opened)
            sizes.add(image.size)
            image = image.convert(MODES[channels])
            if image.size != (width, height):
                image = image.resize((width, height), Image.Resampling.BILINEAR)
            images.append(np.asarray(image, np.uint8).reshape(height, width, channels))
        except Exception as error:  # Pillow's readers raise whatever they stumble over
            raise DataError(
                f"{path} cannot be read as an image: {type(error).__name__}", "remove or mend it"
            ) from error
    words = f"{len(images)} image{'' if len(images) == 1 else 's'} of {folder.resolve().name}"
    if sizes != {(width, height)}:
        found = ", ".join(f"{w}x{h}" for w, h in sorted(sizes)[:3])
        words += f", resized from {found} to {width}x{height}"
        if any(abs(w / h - width / height) > 0.01 for w, h in sizes):
            words += " (aspect changed)"
    if len(images) < count:
        words += ", repeated, every other time mirrored"
    # Mirrored, so that no two neighbours are the same: a row that answers with the last call's result must stand out.
    repeated = [images[i % len(images)][:, :: -1 if i // len(images) % 2 else 1] for i in range(count)]
    return np.stack(repeated), words


def _upright(image: Any) -> Any:
    """The image as viewers show it: turned as its EXIF says, and 16 bits a pixel scaled to 8 (Pillow would clip)."""
    from PIL import Image, ImageOps

    if image.mode.startswith("I"):
        return Image.fromarray((np.clip(np.asarray(image, np.int64), 0, 65535) // 257).astype(np.uint8))
    return ImageOps.exif_transpose(image)


def image_files(folder: Path) -> list[Path]:
    """The images of a data folder, sorted by name: those of its CameraRGB when it has one. Raises DataError."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such data folder")
    place = folder / "CameraRGB" if (folder / "CameraRGB").is_dir() else folder
    try:
        found = [path for path in place.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()]
    except OSError as error:
        raise DataError(f"{place} cannot be read: {error.strerror}") from error
    files = sorted(path for path in found if not path.name.startswith("."))  # such as ._x.png, which is no image
    if not files:
        raise DataError(f"{place} holds no images", f"it needs {', '.join(sorted(SUFFIXES))} files")
    return files


def _static(spec: TensorSpec, batch: int) -> tuple[int, ...]:
    return tuple(size if size is not None else batch if i == 0 else 1 for i, size in enumerate(spec.shape))


def _channels(images: Array, channels: int) -> Array:
    if channels == 3:
        return images
    grey = images.mean(-1, keepdims=True).round()
    return grey if channels == 1 else np.concatenate([images, np.full_like(grey, 255)], -1)


def _noise(random: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    kind = np.dtype(dtype).kind
    if kind == "b":
        return random.integers(0, 2, shape).astype(bool)
    if kind in "iu":
        return random.integers(0, 2, shape).astype(dtype)
    return random.standard_normal(shape).astype(dtype)

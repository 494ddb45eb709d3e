"""Labelled data as a model takes them: road scenes for a model of one image, or arrays out of a `.npz` file."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from keronyx.errors import DataError, UsageError
from keronyx.types import Array, ModelSpec, TensorSpec
from keronyx.zoo import pairs, weights
from keronyx.zoo.pairs import Pairs

LABELS = "labels"
MOST_BYTES = 4 * 2**30
"""A `.npz` of more is refused; its arrays are in memory while they are read."""


class Labelled(Protocol):
    """Items of one set of inputs and a label each, read one at a time."""

    @property
    def name(self) -> str:
        """What the user called them."""

    def __len__(self) -> int: ...

    def check(self, spec: ModelSpec) -> None:
        """Raises UsageError or DataError when the model does not take them."""

    def item(self, index: int, spec: ModelSpec) -> tuple[tuple[Array, ...], Array]:
        """Inputs without the batch axis, in the model's order and dtypes, and the label. Raises KeronyxError."""

    def where(self, index: int) -> str:
        """What a message calls an item."""


@dataclass(frozen=True)
class Scenes:
    """Images with labels (height, width) uint8 (see zoo/pairs.py), for a model with one input (N, height, width, 3)."""

    found: Pairs

    @property
    def name(self) -> str:
        return self.found.name

    def __len__(self) -> int:
        return len(self.found)

    def check(self, spec: ModelSpec) -> None:
        one = spec.inputs[0]
        if len(spec.inputs) > 1 or len(one.shape) != 4 or one.shape[3] != 3:
            raise UsageError(
                f"{spec.name} takes no single RGB image", f"name a .npz of its inputs and `{LABELS}` with --data"
            )
        if None in one.shape[1:]:
            raise UsageError(f"{spec.name} leaves its image's size open", "say --image-size HxW")

    def item(self, index: int, spec: ModelSpec) -> tuple[tuple[Array, ...], Array]:
        _, height, width, _ = spec.inputs[0].shape
        image, label = self.found.pair(index, int(height or 0), int(width or 0))
        return (image.astype(spec.inputs[0].dtype),), label

    def where(self, index: int) -> str:
        return self.found.where(index)


@dataclass(frozen=True)
class Arrays:
    """One array for every input, by its name, and `labels`; item i is the i-th of each."""

    name: str
    arrays: dict[str, Array]

    def __len__(self) -> int:
        return len(self.arrays[LABELS])

    def check(self, spec: ModelSpec) -> None:
        wanted = {tensor.name: tensor for tensor in spec.inputs}
        if missing := sorted(set(wanted) - set(self.arrays)):
            has = ", ".join(sorted(self.arrays))
            raise DataError(f"{self.name} has no array {missing[0]!r} (it has {has})", "name arrays as the inputs are")
        for name, tensor in wanted.items():
            found = self.arrays[name]
            fits = len(found.shape) == len(tensor.shape) and all(
                want in (None, have) for want, have in zip(tensor.shape[1:], found.shape[1:], strict=True)
            )
            if not fits or not _castable(found, tensor.dtype):
                raise DataError(f"{self.name}: {name} is {_words(found)}, the model takes {_wanted(tensor)}")

    def item(self, index: int, spec: ModelSpec) -> tuple[tuple[Array, ...], Array]:
        inputs = tuple(self.arrays[one.name][index].astype(_numpys(one.dtype)) for one in spec.inputs)
        return inputs, self.arrays[LABELS][index].copy()  # a metric may write into it

    def where(self, index: int) -> str:
        return f"item {index} of {self.name}"


def find(texts: Sequence[str]) -> Labelled:
    """The data that `texts` name: a `.npz` file, or what `pairs.find` reads.

    Raises:
        UsageError: nothing of that name, or a `.npz` among others.
        DataError, SourceError: it is none, or damaged.
    """
    archives = [text for text in texts if text.endswith(".npz")]
    if not archives:
        return Scenes(pairs.find(texts))
    if len(texts) > 1:
        raise UsageError("a .npz cannot be joined with other data", "name it alone")
    return _arrays(Path(archives[0]))


def _arrays(file: Path) -> Arrays:
    if not file.is_file():
        raise UsageError(f"{file}: no such file")
    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MOST_BYTES:
            raise DataError(f"{file} holds {size / 2**30:.1f} GiB", f"at most {MOST_BYTES / 2**30:g} GiB are read")
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except weights.UNREADABLE as error:
        raise DataError(f"{file} is no archive of arrays: {error}", "write it with numpy.savez") from error
    if LABELS not in arrays:
        raise DataError(f"{file} has no array `{LABELS}`", "one label for every item")
    sizes = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(sizes.values())) > 1 or not sizes[LABELS]:
        told = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise DataError(
            f"{file} has arrays of several lengths, or empty ones: {told}", "one item of each belongs together"
        )
    return Arrays(str(file), arrays)


def _numpys(dtype: str) -> str:
    """What numpy calls a dtype: it has no bfloat16, whose values float32 has all."""
    return "float32" if dtype == "bfloat16" else dtype


def _castable(array: Array, dtype: str) -> bool:
    """Whether an array of numbers may be given to an input of a dtype; texts and objects never are."""
    if array.dtype.kind in "USO" or dtype == "string":
        return False
    return np.can_cast(array.dtype, _numpys(dtype), "same_kind")


def _words(array: Array) -> str:
    return f"{'x'.join(map(str, array.shape))} {array.dtype}"


def _wanted(tensor: TensorSpec) -> str:
    sizes: list[Any] = ["N", *("?" if size is None else size for size in tensor.shape[1:])]
    return f"{'x'.join(map(str, sizes))} {tensor.dtype}"

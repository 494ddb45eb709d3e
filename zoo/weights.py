"""Trained weights that come with the zoo: kernels in float16, everything small in float32.

A file `weights/NAME.npz` holds one array a weight under its path in the model, and the card of the training as JSON.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keronyx.errors import SourceError
from keronyx.types import Array
from keronyx.zoo.names import parse

if TYPE_CHECKING:
    import keras

FOLDER = Path(__file__).resolve().parent / "weights"
CARD = "card.json"

UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    OSError,
    EOFError,
    MemoryError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading a damaged `.npz` raises; MemoryError, when an array says it is larger than any memory."""


def file_of(network: str, folder: Path | None = None) -> Path:
    """Where the trained weights of exactly this network (`unet:16`) are, if any come with the zoo."""
    return (folder or FOLDER) / f"{str(parse(network)).replace(':', '-')}.npz"


def save(model: keras.Model, file: Path, card: dict[str, Any]) -> None:
    """Write a model's weights and what is to be known of their training. Kernels lose what float16 cannot hold."""
    arrays = {path: _stored(np.asarray(value)) for path, value in _values(model).items()}
    temporary = file.with_suffix(".tmp")
    with temporary.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **{CARD: np.array(json.dumps(card)), **arrays})
    os.replace(temporary, file)


def card(file: Path) -> dict[str, Any]:
    """The card alone, without reading the weights; empty where there is none to be read."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            return dict(json.loads(str(stored[CARD])))
    except UNREADABLE:
        return {}


def load(model: keras.Model, file: Path, network: str = "") -> dict[str, Any]:
    """Put a file's weights into a model of that architecture; its card.

    Args:
        model: that architecture.
        file: of `save`.
        network: the model's name in the zoo, such as `unet:16`, which the card must not contradict.

    Raises:
        SourceError: the file's weights are not this model's, or it is no file of weights.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        card: dict[str, Any] = dict(json.loads(str(arrays.pop(CARD))))
    except UNREADABLE as error:
        raise SourceError(f"{file} holds no weights of the zoo", "train writes such files: weights.npz") from error
    if network and card.get("network", network) != network:
        raise SourceError(f"{file.name} holds weights of {card['network']}, not of {network}", "name those of that one")
    if words := sorted(path for path, array in arrays.items() if array.dtype.kind not in "fiu"):
        raise SourceError(f"{file.name} holds other things than numbers: {words[0]}", "train writes weights.npz")
    variables = {variable.path: variable for variable in model.weights}
    misfit = set(variables) ^ set(arrays) | {
        path for path in set(variables) & set(arrays) if tuple(variables[path].shape) != arrays[path].shape
    }
    if misfit:
        raise SourceError(f"{file.name} does not fit {model.name}: {min(misfit)}", "train it again")
    for path, variable in variables.items():
        variable.assign(arrays[path].astype(np.float32))
    return card


def _values(model: keras.Model) -> dict[str, Any]:
    import keras

    return {variable.path: keras.ops.convert_to_numpy(variable) for variable in model.weights}


def _stored(value: Array) -> Array:
    """Kernels in float16 where that holds them; vectors, such as BatchNorm's statistics, as they are."""
    halved = value.astype(np.float16)
    return halved if value.ndim > 1 and bool(np.isfinite(halved).all()) else value

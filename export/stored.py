"""What a model file says of itself: its configuration and who wrote it, read without building anything of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keronyx.containers import MAX_CONFIG_BYTES, check_hdf5, read_archive, read_json
from keronyx.errors import SourceError
from keronyx.process import one_line
from keronyx.unsafe import objects

TOPOLOGY = "a .json that holds one is what model.to_json() writes"


@dataclass(frozen=True)
class Stored:
    """A configuration, and the version of Keras that wrote it: (2, 15, 0), () where the file does not say."""

    config: dict[str, Any]
    version: tuple[int, ...]

    @property
    def old(self) -> bool:
        """Whether Keras 1 or 2 wrote it: Keras 3 names modules, and says its version."""
        return self.version < (3,) if self.version else "module" not in self.config


def read(kind: str, path: Path) -> Stored:
    """Read a `.keras`, `.h5` or `.json` file (`kind` keras, h5 or json), within bounds.

    Raises:
        SourceError: it is damaged, holds no model, or is made to harm.
    """
    try:
        stored = {"keras": _archive, "h5": _hdf5, "json": _json}[kind](path)
    except SourceError:
        raise
    except (Exception, RecursionError) as error:
        raise SourceError(f"{path.name} is damaged: {one_line(error)}") from error
    _refuse_twins(stored.config, path.name)
    if not isinstance(stored.config, dict) or "class_name" not in stored.config or "config" not in stored.config:
        raise SourceError(f"{path.name} holds no model's configuration", TOPOLOGY if kind == "json" else "")
    return stored


def _refuse_twins(config: Any, name: str) -> None:
    """Raise SourceError when two layers of one model share a name: they would be taken for each other."""
    for item, _ in objects(config, name):
        layers = item.get("layers")
        inner = [layer.get("config") for layer in layers if isinstance(layer, dict)] if isinstance(layers, list) else []
        names = [str(layer["name"]) for layer in inner if isinstance(layer, dict) and "name" in layer]
        name_of_two, times = Counter(names).most_common(1)[0] if names else ("", 0)
        if times > 1:
            raise SourceError(f"{name} cannot be loaded: two layers are called {name_of_two!r}")


def _archive(path: Path) -> Stored:
    config, metadata = read_archive(path)
    return Stored(config, _version(metadata.get("keras_version")))


def _hdf5(path: Path) -> Stored:
    import h5py

    check_hdf5(path, path.name)
    with h5py.File(path) as file:
        raw = file.attrs.get("model_config")
        if raw is None:
            raise SourceError(f"{path.name} holds weights only", "pass them with --weights to a network")
        config, version = read_json(raw, path.name), file.attrs.get("keras_version")
        if "model_weights" not in file:
            raise SourceError(f"{path.name} holds a network without its weights (no group model_weights)")
        if version is None:
            version = file["model_weights"].attrs.get("keras_version")
    return Stored(config, _version(version) or (1,))


def _json(path: Path) -> Stored:
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise SourceError(f"{path.name} is too large to be a model's configuration ({path.stat().st_size:,} bytes)")
    config = read_json(path.read_bytes(), path.name)
    if isinstance(config, str):  # json.dump(model.to_json(), file) writes it so
        config = json.loads(config)
    return Stored(config, _version(config.get("keras_version") if isinstance(config, dict) else None))


def _version(text: Any) -> tuple[int, ...]:
    """`2.2.4` -> (2, 2, 4). TensorFlow's own Keras (`2.2.4-tf`) was ahead of the number it gave."""
    said = text.decode(errors="replace") if isinstance(text, bytes) else str(text or "")
    numbers = tuple(int(part) for part in re.findall(r"\d+", said)[:3])
    return max(numbers, (2, 3)) if said.endswith("-tf") else numbers

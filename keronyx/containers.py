"""Archives and HDF5 files from an unknown hand: within bounds, and nothing in them points out of them."""

from __future__ import annotations

import io
import json
import os
import stat
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from keronyx.errors import SourceError

WEIGHTS = "model.weights.h5"

FLOOR_BYTES = 64 * 2**20
"""What unpacks to no more than this can harm nobody."""

MAX_EXPANSION = 100
"""Weights hardly compress: what unpacks to more than this multiple of its stored bytes is a bomb."""


MAX_CONFIG_BYTES = 64 * 2**20
"""A configuration larger than this, unpacked, is no network's."""

MAX_OBJECTS = 1_000_000
"""Nor is one of more lists and dictionaries: 60 MiB of empty ones take gigabytes, and minutes to check."""


def read_archive(path: Path) -> tuple[Any, dict[str, Any]]:
    """A `.keras` archive's configuration and metadata, after `check_archive`.

    Raises:
        SourceError: it breaks the bounds.
        Exception: it is damaged, in any of the ways zipfile and json have.
    """
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("config.json").file_size
        if size > MAX_CONFIG_BYTES:
            raise SourceError(f"{path.name} is damaged: its config.json unpacks to {size:,} bytes")
        check_archive(archive, path)
        config = read_json(archive.read("config.json"), path.name)
        metadata = json.loads(archive.read("metadata.json")) if "metadata.json" in archive.namelist() else {}
    return config, metadata if isinstance(metadata, dict) else {}


def read_json(text: str | bytes, name: str) -> Any:
    """A configuration's JSON, parsed. Raises SourceError when it holds too much, ValueError when it is none."""
    raw = text.encode() if isinstance(text, str) else text
    count = raw.count(b"{") + raw.count(b"[")
    if count > MAX_OBJECTS:
        raise SourceError(f"{name} is damaged: its configuration holds {count:,} objects")
    return json.loads(text)


def check_archive(archive: zipfile.ZipFile, path: Path) -> None:
    """Check a `.keras` archive before anything is unpacked. Its weights are looked into.

    Raises:
        SourceError: it unpacks to far more than it stores, a member's name leads out of it or occurs twice, or its
            weights break `check_hdf5`.
    """
    name, members = path.name, archive.infolist()
    seen: set[str] = set()
    for member in members:
        if member.filename in seen:
            raise SourceError(f"{name} is damaged: it holds {member.filename!r} twice")
        seen.add(member.filename)
        parts = PurePosixPath(member.filename.replace("\\", "/"))
        if (
            parts.is_absolute()
            or ".." in parts.parts
            or ":" in parts.parts[0]
            or stat.S_ISLNK(member.external_attr >> 16)
        ):
            raise SourceError(f"{name} is no Keras model: its member {member.filename!r} leads out of the archive")
    _refuse_bomb(sum(member.file_size for member in members), path.stat().st_size, name)
    if WEIGHTS in seen:
        check_hdf5(io.BytesIO(archive.read(WEIGHTS)), name, archive.getinfo(WEIGHTS).file_size)


def check_hdf5(file: Any, name: str, size: int | None = None) -> None:
    """Check an HDF5 file (a path or a stream of `size` bytes) before a data set of it is read.

    Raises:
        SourceError: it is none, it declares far more than it stores, or its data lie outside of it.
    """
    import h5py

    def link(path: bytes, info: Any) -> str | None:
        return None if info.type == h5py.h5l.TYPE_HARD else path.decode(errors="replace")

    datasets: list[Any] = []  # HDF5 visits each once, however many links lead to it
    try:
        with h5py.File(file, "r") as opened:
            if found := opened.id.links.visit(link, info=True):
                raise SourceError(f"{name} is no Keras model: its {found!r} is a link, maybe to another file")
            opened.visititems(lambda _, thing: datasets.append(thing) if isinstance(thing, h5py.Dataset) else None)
            for data in datasets:
                if data.external or data.is_virtual:
                    raise SourceError(f"{name} is no Keras model: the data of its {data.name!r} lie in other files")
                _refuse_bomb(data.nbytes, data.id.get_storage_size(), f"{data.name!r} in {name}")
            declared = sum(data.nbytes for data in datasets)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise SourceError(f"{name} is damaged: {' '.join(str(error).split())[:200]}") from error
    _refuse_bomb(declared, os.path.getsize(file) if size is None else size, name)


def _refuse_bomb(unpacked: int, stored: int, name: str) -> None:
    if unpacked > FLOOR_BYTES and unpacked > MAX_EXPANSION * stored:
        raise SourceError(f"{name} unpacks to {unpacked:,} bytes from {stored:,}: it is made to fill memory or disk")

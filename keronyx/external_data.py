"""Where an ONNX file says its weights are: nowhere but in the folder it lies in, or it is not opened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from keronyx.errors import UntrustedModelError
from keronyx.protobuf import fields

PARTS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
"""Message of onnx.proto -> number of a field -> the message in it, as far as these lead to `external_data`."""

KEY = b"location"

SMALL = 65536
"""Messages of fewer bytes are read whole: without the key in them there is nothing to look for."""

DEEPEST = 64
"""Graphs inside graphs beyond this are no model."""


def refuse_escaping_data(path: Path) -> None:
    """Raise UntrustedModelError when the ONNX file at `path` names data outside the folder it is in.

    To be asked before any runtime opens it. Reads little more than the names in the file.
    """
    folder = path.parent.resolve()
    for place in locations(path):
        inside = not (PurePosixPath(place).is_absolute() or PureWindowsPath(place).drive or "\\" in place)
        if not inside or not (path.parent / place).resolve().is_relative_to(folder):
            raise UntrustedModelError(
                f"{path.name} reads its weights from {place!r}, outside its folder", "do not use this file"
            )


def locations(path: Path) -> set[str]:
    """Every file the ONNX file at `path` says data is in."""
    with path.open("rb") as file:
        return set(_locations(file, path.stat().st_size, "model", 0))


def _locations(file: BinaryIO, end: int, message: str, depth: int) -> Iterator[str]:
    for number, start, size in fields(file, end):
        part = PARTS[message].get(number)
        if part is None or depth > DEEPEST:
            continue
        if size < SMALL:
            file.seek(start)
            if KEY not in file.read(size):
                continue
        file.seek(start)
        if part == "entry":
            entry = {}
            for key, at, length in fields(file, start + size):
                file.seek(at)
                entry[key] = file.read(length)
            if entry.get(1) == KEY:
                yield entry.get(2, b"").decode(errors="replace")
        else:
            yield from _locations(file, start + size, part, depth + 1)

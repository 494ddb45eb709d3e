"""Reading the wire format of protobuf, field by field, without loading what the fields hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO


def fields(file: BinaryIO, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and size of each length-delimited field from here to `end`; other fields are passed over.

    The file may be read elsewhere meanwhile. Ends early where the bytes are no protobuf.
    """
    while file.tell() < end:
        tag = _varint(file)
        kind = tag & 7
        if kind == 2:
            size = _varint(file)
            start = file.tell()
            if start + size > end:
                return
            yield tag >> 3, start, size
            file.seek(start + size)
        elif kind == 0:
            _varint(file)
        elif kind in (1, 5):
            file.seek(8 if kind == 1 else 4, 1)
        elif kind in (3, 4):
            continue  # the ends of a group, whose fields are read like any others
        else:
            return


def _varint(file: BinaryIO) -> int:
    value = shift = 0
    while True:
        byte = file.read(1)
        if not byte:
            return value
        value |= (byte[0] & 127) << shift
        shift += 7
        if byte[0] < 128 or shift > 63:
            return value

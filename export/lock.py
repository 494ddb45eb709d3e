"""One conversion at a time: each may take gigabytes, and two in one folder would mix their files.

The first is a matter of one user and one folder for temporary files, the second of the folder written to, whoever does.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from keronyx.errors import UnwritableError


def lock_path() -> Path:
    """The file every conversion of this user on this machine locks. The lock goes with the process that holds it."""
    return Path(tempfile.gettempdir()) / f"keronyx-{os.getuid()}.lock"


@contextmanager
def only_conversion(waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock; call `waiting` once if another process has it, then wait for that one to end."""
    path = lock_path()
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise UnwritableError(f"cannot open {path}: {error.strerror}", "remove it") from error
    try:
        _take(handle, waiting)
        yield
    finally:
        os.close(handle)


@contextmanager
def only_writer(folder: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold an export folder, which is made if need be, against conversions that another lock keeps waiting. File
    systems where a folder cannot be locked go without."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise UnwritableError(f"cannot write to {folder}: {error.strerror}", "name another folder with -o") from error
    try:
        with suppress(OSError):
            _take(handle, waiting)
        yield
    finally:
        os.close(handle)


def _take(handle: int, waiting: Callable[[], None]) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        waiting()
        fcntl.flock(handle, fcntl.LOCK_EX)

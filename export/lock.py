"""One conversion at a time: each may take gigabytes, and two in one folder would mix their files."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)

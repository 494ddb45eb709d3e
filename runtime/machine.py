"""The questions that decide what can run here, behind one protocol: this machine answers them, or a test's does."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Protocol

from keronyx.runtime import shared_objects
from keronyx.runtime.shared_objects import Driver, Lookup


class Machine(Protocol):
    """What is asked about the machine; tests give other answers than this one's."""

    def look_up(self, sonames: tuple[str, ...], cuda: int) -> Mapping[str, Lookup]:
        """Try `sonames` as a program built for CUDA `cuda` would find them."""

    def driver(self) -> Driver: ...

    def version(self, distribution: str) -> str | None:
        """Installed version, None when it is not installed."""

    def folder(self, module: str) -> Path | None:
        """Folder of a top-level module, without importing it; None when there is none."""


class ThisMachine:
    """The machine this process runs on. Shared objects are tried once per process, as they take up to a second."""

    @cache  # noqa: B019 - the one instance lives as long as the process
    def look_up(self, sonames: tuple[str, ...], cuda: int) -> Mapping[str, Lookup]:
        return shared_objects.look_up(sonames, shared_objects.wheel_folders(cuda))

    @cache  # noqa: B019
    def driver(self) -> Driver:
        return shared_objects.driver()

    def version(self, distribution: str) -> str | None:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            return None

    def folder(self, module: str) -> Path | None:
        spec = importlib.util.find_spec(module)
        places = list(spec.submodule_search_locations or ()) if spec else []
        return Path(places[0]) if places else None


HERE = ThisMachine()

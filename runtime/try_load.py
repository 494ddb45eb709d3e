"""Loads shared objects and says how that went. Run by its path in a throwaway process, so only the standard library.

Loading can kill the process (a truncated file ends in SIGBUS) and it decides which copy of a library everything loaded
later gets, so `shared_objects.look_up` never does it in the caller's process: it runs this file, whose one argument is

    {"sonames": [...], "folders": [...], "refuse": {file or soname: reason}, "cuda": bool}

The answer is one JSON object a line on standard output: {"trying": name} before each attempt, so that the parent knows
what killed it, then {"loaded": {soname: [path or null, message]}, "cuda": {...} or null}.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence

Outcome = tuple[str | None, str]
"""Path the loader took it from and "", or None and the loader's own message."""

RTLD_DI_LINKMAP = 2
"""Request number of dlinfo(3) in <dlfcn.h>."""


class LinkMap(ctypes.Structure):
    """First two fields of `struct link_map` in <link.h>: load address and the path the object was loaded from."""

    _fields_ = (("l_addr", ctypes.c_void_p), ("l_name", ctypes.c_char_p))


def load_all(
    sonames: Sequence[str],
    folders: Sequence[str],
    refuse: Mapping[str, str] | None = None,
    announce: Callable[[str], None] = lambda name: None,
) -> dict[str, Outcome]:
    """Load every soname into this process: the file in one of `folders` first, then wherever the loader looks.

    The failed ones are tried again as long as another one succeeded, because a library loaded under its soname serves
    those that need it: the caller need not know the order. Names in `refuse` fail with the reason given there.
    """
    outcomes: dict[str, Outcome] = {}
    pending = list(sonames)
    while pending:
        for soname in pending:
            outcomes[soname] = _load_one(soname, folders, refuse or {}, announce)
        failed = [soname for soname in pending if outcomes[soname][0] is None]
        if len(failed) == len(pending):
            break
        pending = failed
    return outcomes


def _load_one(
    soname: str, folders: Sequence[str], refuse: Mapping[str, str], announce: Callable[[str], None]
) -> Outcome:
    files = [os.path.join(folder, soname) for folder in folders]
    message = ""
    for name in [*filter(os.path.exists, files), soname]:
        if name in refuse:
            message = message or f"{name}: {refuse[name]}"
            continue
        announce(name)
        try:
            library = ctypes.CDLL(name)
        except OSError as error:
            message = message or str(error)  # of a broken wheel, rather than of the absent system library after it
        else:
            return _path_of(library) or name, ""
    return None, message


def _path_of(library: ctypes.CDLL) -> str:
    link_map = ctypes.POINTER(LinkMap)()
    dlinfo = ctypes.CDLL(None).dlinfo
    if dlinfo(ctypes.c_void_p(library._handle), RTLD_DI_LINKMAP, ctypes.byref(link_map)) != 0:
        return ""
    return os.fsdecode(link_map.contents.l_name)


def ask_driver(announce: Callable[[str], None] = lambda name: None) -> dict[str, str | int]:
    """Ask the CUDA driver API of libcuda.so.1 for its version, then for devices.

    Returns `cuda` (1000 * major + 10 * minor, as cuDriverGetVersion reports it), `error` ("" or the CUresult's name,
    such as CUDA_ERROR_NO_DEVICE) and `devices`. Source: CUDA driver API reference, sections 6.2 to 6.5.
    """
    libcuda = ctypes.CDLL("libcuda.so.1")
    announce("libcuda.so.1")
    version, devices, name = ctypes.c_int(0), ctypes.c_int(0), ctypes.c_char_p()
    libcuda.cuDriverGetVersion(ctypes.byref(version))
    result = libcuda.cuInit(0) or libcuda.cuDeviceGetCount(ctypes.byref(devices))
    error = ""
    if result != 0:
        libcuda.cuGetErrorName(result, ctypes.byref(name))
        error = name.value.decode() if name.value else f"CUresult {result}"
    return {"cuda": version.value, "error": error, "devices": devices.value}


def main() -> None:
    request = json.loads(sys.argv[1])
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answer:
        os.dup2(2, 1)  # whatever a library prints while it is loaded must not end up among the answers

        def say(line: object) -> None:
            answer.write(json.dumps(line) + "\n")
            answer.flush()

        def announce(name: str) -> None:
            say({"trying": name})

        loaded = load_all(request["sonames"], request["folders"], request["refuse"], announce)
        has_driver = request["cuda"] and loaded.get("libcuda.so.1", (None, ""))[0] is not None
        say({"loaded": loaded, "cuda": ask_driver(announce) if has_driver else None})


if __name__ == "__main__":
    main()

"""Shared objects: what one needs, where the loader finds it, and why it does not load. Linux (ELF) only."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keronyx.errors import WorkerError
from keronyx.runtime import try_load

TIMEOUT_S = 30.0
"""A library that takes longer than this to load counts as one that does not load."""


@dataclass(frozen=True)
class Lookup:
    """What became of loading `soname`. `path` is None when it does not load; `message` is then the loader's own."""

    soname: str
    path: Path | None
    message: str = ""

    @property
    def culprit(self) -> str:
        """The soname to blame: a dependency that was not found, or else `soname` itself.

        >>> Lookup("libcublas.so.13", None, "libcublasLt.so.13: cannot open shared object file: No such file").culprit
        'libcublasLt.so.13'
        """
        return self.message.partition(":")[0] if self.culprit_is_absent else self.soname

    @property
    def culprit_is_absent(self) -> bool:
        """True when nothing of that name was found, False when a file was found and refused."""
        name, _, rest = self.message.partition(": ")
        return "/" not in name and rest.startswith("cannot open shared object file")


@dataclass(frozen=True)
class Driver:
    """The NVIDIA driver as libcuda.so.1 describes it.

    `cuda` is the newest CUDA it supports as 1000 * major + 10 * minor; `error` is "" or the name of the CUresult that
    cuInit or cuDeviceGetCount returned. Both are empty when `library` did not load.
    """

    library: Lookup
    cuda: int = 0
    error: str = ""
    devices: int = 0


def needed(path: Path) -> tuple[str, ...]:
    """Sonames in the DT_NEEDED entries of an ELF file, in order; empty for a static one.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not an ELF file, or a damaged one.
    """
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    with path.open("rb") as file:
        try:
            segments = list(ELFFile(file).iter_segments("PT_DYNAMIC"))
            return tuple(tag.needed for segment in segments for tag in segment.iter_tags("DT_NEEDED"))
        except (ELFError, AssertionError) as error:
            raise ValueError(f"{path} is not a whole ELF file: {error}") from error


def wheel_folders(cuda: int | None = None) -> tuple[Path, ...]:
    """Library folders of NVIDIA's wheels that a program built for CUDA `cuda` looks in; all of them for None.

    From CUDA 13 on the wheels share `nvidia/cu13/lib`; those of CUDA 12 have one folder each, `nvidia/cublas/lib` and
    so on. libcurand.so.10 and libcusparse.so.12 are sonames of both, so the sets must be kept apart. cuDNN is in
    `nvidia/cudnn/lib` for either. Sources: `preload_dlls` of onnxruntime and the run path of TensorFlow's libraries.
    """
    consolidated = [path for root in _module_folders("nvidia") for path in sorted(root.glob("cu[0-9]*/lib"))]
    separate = [path for root in _module_folders("nvidia") for path in sorted(root.glob("*/lib"))]
    separate = [path for path in separate if path not in consolidated]
    cudnn = [path for path in separate if path.parent.name == "cudnn"]
    tensorrt = [path for path in _module_folders("tensorrt_libs") if path.is_dir()]
    if cuda is None:
        return (*consolidated, *separate, *tensorrt)
    if cuda < 13:
        return (*separate, *tensorrt)
    return (*(path for path in consolidated if path.parent.name == f"cu{cuda}"), *cudnn, *tensorrt)


def _module_folders(module: str) -> tuple[Path, ...]:
    spec = importlib.util.find_spec(module)
    return tuple(Path(place) for place in (spec.submodule_search_locations or ())) if spec else ()


def look_up(sonames: Sequence[str], folders: Sequence[Path]) -> dict[str, Lookup]:
    """Load `sonames` together in a throwaway process (see `try_load`), so that nothing is loaded here.

    A file in `folders` comes before the loader's own search (LD_LIBRARY_PATH, ldconfig). A file that is there and does
    not load is as good as missing: truncated, of another architecture, or without something it needs itself.

    Raises:
        WorkerError: that process fails for another reason than a library.
    """
    outcomes: dict[str, try_load.Outcome] = _try(sonames, folders, cuda=False)["loaded"]
    return {
        soname: Lookup(soname, Path(path) if path else None, message) for soname, (path, message) in outcomes.items()
    }


def find(soname: str, folders: Sequence[Path] | None = None) -> Path | None:
    """Where `soname` would be loaded from (`folders` default to all of `wheel_folders`), None if it does not load."""
    return look_up((soname,), wheel_folders() if folders is None else folders)[soname].path


def driver() -> Driver:
    """Ask libcuda.so.1, in a throwaway process, which CUDA it supports and how many GPUs it sees."""
    answer = _try(("libcuda.so.1",), (), cuda=True)
    path, message = answer["loaded"]["libcuda.so.1"]
    return Driver(Lookup("libcuda.so.1", Path(path) if path else None, message), **(answer["cuda"] or {}))


def load(sonames: Sequence[str], folders: Sequence[Path]) -> None:
    """Load what loads of `sonames` into this process, where libraries that need them then find them.

    For a process that is about to use them. What does not load is left to whoever needs it to complain about.
    """
    try_load.load_all(sonames, [str(folder) for folder in folders])


def _try(sonames: Sequence[str], folders: Sequence[Path], cuda: bool) -> dict[str, Any]:
    refuse: dict[str, str] = {}
    while True:
        request = {"sonames": list(sonames), "folders": [str(f) for f in folders], "refuse": refuse, "cuda": cuda}
        # -I -S: no user settings and no site-packages, which would make it start ten times slower.
        command = [sys.executable, "-I", "-S", try_load.__file__, json.dumps(request)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False)
            output, complaint, end = done.stdout, done.stderr, _ending(done.returncode)
        except subprocess.TimeoutExpired as expired:
            output, complaint, end = expired.stdout or b"", b"", f"loading it takes longer than {TIMEOUT_S:.0f} s"
        lines = [json.loads(line) for line in output.splitlines()]
        if lines and "loaded" in lines[-1]:
            answer: dict[str, Any] = lines[-1]
            return answer
        if not lines or lines[-1]["trying"] in refuse:
            last_line = complaint.decode(errors="replace").strip().rpartition("\n")[2]
            raise WorkerError(f"the process that tries shared objects failed: {last_line or end}")
        refuse[lines[-1]["trying"]] = end


def _ending(returncode: int) -> str:
    if returncode < 0:
        return f"loading it kills the process ({signal.Signals(-returncode).name})"
    return f"loading it ends the process with exit code {returncode}"

"""Shared objects are read and tried for real: the ELF files are small ones that onnxruntime brings, patched."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from keronyx.errors import WorkerError
from keronyx.runtime import shared_objects, try_load
from keronyx.runtime.shared_objects import Lookup

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="shared objects are ELF files on Linux only")

SHARED = "libonnxruntime_providers_shared.so"


@pytest.fixture(scope="module")
def elf() -> bytes:
    """A whole shared object of 14 KiB that needs libstdc++.so.6, libm.so.6, libgcc_s.so.1 and libc.so.6."""
    spec = importlib.util.find_spec("onnxruntime")
    assert spec is not None and spec.submodule_search_locations is not None
    file = Path(spec.submodule_search_locations[0]) / "capi" / SHARED
    if not file.exists():
        pytest.skip(f"this onnxruntime has no {SHARED}")
    return file.read_bytes()


def rename(elf: bytes, old: str, new: str) -> bytes:
    """Change a soname in the string table, which cannot grow."""
    assert len(new) <= len(old) and f"\0{old}\0".encode() in elf
    return elf.replace(f"\0{old}\0".encode(), f"\0{new}\0".encode() + b"\0" * (len(old) - len(new)))


def test_needed_reads_the_sonames_in_the_file(tmp_path: Path, elf: bytes) -> None:
    file = tmp_path / "libx.so.1"
    file.write_bytes(rename(elf, "libm.so.6", "libq.so.6"))
    names = shared_objects.needed(file)
    assert {"libq.so.6", "libc.so.6"} <= set(names) and "libm.so.6" not in names


@pytest.mark.parametrize("content", [b"", b"not an ELF file", b"\x7fELF\x02\x01\x01"])
def test_needed_refuses_what_is_no_shared_object(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "libx.so.1"
    file.write_bytes(content)
    with pytest.raises(ValueError, match="is not a whole ELF file"):
        shared_objects.needed(file)


def test_a_library_in_a_wheel_folder_is_found_there(tmp_path: Path, elf: bytes) -> None:
    (tmp_path / "libkx.so.1").write_bytes(elf)
    assert shared_objects.find("libkx.so.1", [tmp_path]) == tmp_path / "libkx.so.1"


def test_a_library_of_the_system_is_found_without_folders() -> None:
    path = shared_objects.find("libc.so.6", [])
    assert path is not None and path.is_absolute() and path.name == "libc.so.6"


def test_an_absent_library_is_missing_in_the_loaders_words() -> None:
    lookup = shared_objects.look_up(["libkx-nowhere.so.7"], [])["libkx-nowhere.so.7"]
    assert lookup.path is None
    assert lookup.message.startswith("libkx-nowhere.so.7: cannot open shared object file")
    assert lookup.culprit_is_absent and lookup.culprit == "libkx-nowhere.so.7"


def test_a_file_of_garbage_is_missing_in_the_loaders_words(tmp_path: Path) -> None:
    (tmp_path / "libkx.so.1").write_bytes(b"garbage" * 1000)
    lookup = shared_objects.look_up(["libkx.so.1"], [tmp_path])["libkx.so.1"]
    assert lookup.path is None and "invalid ELF header" in lookup.message
    assert not lookup.culprit_is_absent and lookup.culprit == "libkx.so.1"


def test_a_truncated_library_is_missing_and_does_not_take_the_caller_with_it(tmp_path: Path, elf: bytes) -> None:
    (tmp_path / "libcut.so.1").write_bytes(elf[:6000])  # the loader maps what is not there: SIGBUS
    (tmp_path / "libwhole.so.1").write_bytes(elf)
    found = shared_objects.look_up(["libcut.so.1", "libwhole.so.1"], [tmp_path])
    assert found["libcut.so.1"].path is None and "libcut.so.1: " in found["libcut.so.1"].message
    assert found["libwhole.so.1"].path == tmp_path / "libwhole.so.1"


def test_a_library_whose_dependency_is_absent_is_missing_and_the_dependency_is_to_blame(
    tmp_path: Path, elf: bytes
) -> None:
    (tmp_path / "libkx.so.1").write_bytes(rename(elf, "libm.so.6", "libq.so.6"))
    lookup = shared_objects.look_up(["libkx.so.1"], [tmp_path])["libkx.so.1"]
    assert lookup.path is None and lookup.culprit == "libq.so.6" and lookup.culprit_is_absent


def test_a_dependency_that_loads_later_serves_the_library_before_it(tmp_path: Path, elf: bytes) -> None:
    (tmp_path / "libkx.so.1").write_bytes(rename(elf, "libm.so.6", "libq.so.6"))
    (tmp_path / "libq.so.6").write_bytes(rename(elf, SHARED, "libq.so.6"))
    found = shared_objects.look_up(["libkx.so.1", "libq.so.6"], [tmp_path])
    assert found["libkx.so.1"].path == tmp_path / "libkx.so.1", found["libkx.so.1"].message


def test_looking_up_loads_nothing_here_and_loading_does(tmp_path: Path, elf: bytes) -> None:
    (tmp_path / "libkx.so.1").write_bytes(elf)
    mapped = Path("/proc/self/maps")
    assert shared_objects.find("libkx.so.1", [tmp_path]) is not None
    assert str(tmp_path) not in mapped.read_text()
    shared_objects.load(["libkx.so.1", "libkx-nowhere.so.7"], [tmp_path])
    assert str(tmp_path) in mapped.read_text()


def test_a_library_that_hangs_is_missing_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Stands in for try_load.py: hangs on a library until it is told to refuse it.
    script = tmp_path / "hang.py"
    script.write_text(
        "import json, sys, time\n"
        "request = json.loads(sys.argv[1])\n"
        "if not request['refuse']:\n"
        "    print(json.dumps({'trying': 'libslow.so.1'}), flush=True)\n"
        "    time.sleep(60)\n"
        "message = 'libslow.so.1: ' + request['refuse']['libslow.so.1']\n"
        "print(json.dumps({'loaded': {'libslow.so.1': [None, message]}}))\n"
    )
    monkeypatch.setattr(try_load, "__file__", str(script))
    monkeypatch.setattr(shared_objects, "TIMEOUT_S", 1.0)
    lookup = shared_objects.look_up(["libslow.so.1"], [])["libslow.so.1"]
    assert lookup == Lookup("libslow.so.1", None, "libslow.so.1: loading it takes longer than 1 s")


def test_a_helper_process_that_does_not_start_is_an_error_not_a_missing_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(try_load, "__file__", str(tmp_path / "nowhere.py"))
    with pytest.raises(WorkerError, match="No such file"):
        shared_objects.look_up(["libc.so.6"], [])


class FakeCuda:
    """The four functions of libcuda.so.1 that are called, for a driver of CUDA 13.1."""

    def __init__(self, init: int, devices: int) -> None:
        self.init, self.devices = init, devices

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802 - NVIDIA's names
        version._obj.value = 13010
        return 0

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return self.init

    def cuDeviceGetCount(self, devices: Any) -> int:  # noqa: N802
        devices._obj.value = self.devices
        return 0

    def cuGetErrorName(self, result: int, name: Any) -> int:  # noqa: N802
        name._obj.value = {100: b"CUDA_ERROR_NO_DEVICE"}.get(result)
        return 0


@pytest.mark.parametrize(
    ("cuda", "error", "devices"),
    [
        (FakeCuda(0, 2), "", 2),
        (FakeCuda(100, 2), "CUDA_ERROR_NO_DEVICE", 0),
        (FakeCuda(4711, 2), "CUresult 4711", 0),
    ],
)
def test_the_driver_tells_its_cuda_version_its_gpus_and_its_error(
    monkeypatch: pytest.MonkeyPatch, cuda: FakeCuda, error: str, devices: int
) -> None:
    monkeypatch.setattr(try_load.ctypes, "CDLL", lambda name: cuda)
    assert try_load.ask_driver() == {"cuda": 13010, "error": error, "devices": devices}


def test_the_driver_of_this_machine_is_whole_or_missing() -> None:
    driver = shared_objects.driver()
    if driver.library.path is None:
        assert (driver.cuda, driver.error, driver.devices) == (0, "", 0)
        assert driver.library.message
    else:
        assert driver.cuda >= 1000 and (driver.error == "") == (driver.devices > 0)


def test_wheels_of_cuda_12_and_13_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("nvidia/cu13/lib", "nvidia/curand/lib", "nvidia/cudnn/lib", "tensorrt_libs"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for module in ("nvidia", "tensorrt_libs"):
        monkeypatch.delitem(sys.modules, module, raising=False)

    def names(cuda: int | None) -> list[str]:
        return [path.relative_to(tmp_path).as_posix() for path in shared_objects.wheel_folders(cuda)]

    assert names(13) == ["nvidia/cu13/lib", "nvidia/cudnn/lib", "tensorrt_libs"]
    assert names(12) == ["nvidia/cudnn/lib", "nvidia/curand/lib", "tensorrt_libs"]
    assert set(names(None)) == {"nvidia/cu13/lib", "nvidia/curand/lib", "nvidia/cudnn/lib", "tensorrt_libs"}
    monkeypatch.setattr(sys, "path", [])
    assert shared_objects.wheel_folders(13) == ()

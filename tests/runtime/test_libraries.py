"""What is missing is named, and so is what brings it. The machine is a fake, so a GPU in this one changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from keronyx.runtime import libraries, shared_objects
from keronyx.runtime.machine import HERE
from keronyx.runtime.shared_objects import Driver, Lookup
from keronyx.types import Missing

CUDA_NEEDS = ("libcublasLt.so.13", "libcublas.so.13", "libcurand.so.10", "libcudart.so.13", "libcuda.so.1", "libc.so.6")
TENSORRT_NEEDS = ("libcublas.so.13", "libnvinfer.so.10", "libnvonnxparser.so.10", "libcudnn.so.9", "libstdc++.so.6")
OPENED_LATER = ("libcudnn.so.9", "libcufft.so.12", "libnvrtc.so.13")

CUDA_13 = {*CUDA_NEEDS, *OPENED_LATER}
TENSORRT_10 = {"libnvinfer.so.10", "libnvonnxparser.so.10"}
DRIVER = Driver(Lookup("libcuda.so.1", Path("/lib/libcuda.so.1")), cuda=13000, devices=1)
NO_DRIVER = Driver(Lookup("libcuda.so.1", None, "libcuda.so.1: cannot open shared object file: No such file"))


@dataclass
class FakeMachine:
    """Has exactly what the test says; `broken` maps a soname to the loader's message about it."""

    folders: dict[str, Path]
    present: set[str] = field(default_factory=set)
    broken: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    nvidia: Driver = DRIVER

    def look_up(self, sonames: tuple[str, ...], cuda: int) -> Mapping[str, Lookup]:
        return {soname: self._one(soname) for soname in sonames}

    def _one(self, soname: str) -> Lookup:
        if soname in self.broken:
            return Lookup(soname, None, self.broken[soname])
        if soname in self.present:
            return Lookup(soname, Path("/fake") / soname)
        return Lookup(soname, None, f"{soname}: cannot open shared object file: No such file or directory")

    def driver(self) -> Driver:
        return self.nvidia

    def version(self, distribution: str) -> str | None:
        return self.versions.get(distribution)

    def folder(self, module: str) -> Path | None:
        return self.folders.get(module)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """An onnxruntime with both GPU providers and a TensorFlow built for CUDA 12, as far as this module reads them."""
    needs = {"cuda": CUDA_NEEDS, "tensorrt": TENSORRT_NEEDS}
    (tmp_path / "onnxruntime/capi").mkdir(parents=True)
    for name in needs:
        (tmp_path / f"onnxruntime/capi/libonnxruntime_providers_{name}.so").touch()
    monkeypatch.setattr(shared_objects, "needed", lambda path: needs[path.stem.rpartition("_")[2]])
    write_build_info(tmp_path / "tensorflow", "[('cuda_version', '12.5.1'), ('is_cuda_build', True)]")
    return {"onnxruntime": tmp_path / "onnxruntime", "tensorflow": tmp_path / "tensorflow"}


def write_build_info(folder: Path, pairs: str) -> None:
    file = folder / "python/platform/build_info.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'"""Generated."""\nimport collections\n\nbuild_info = collections.OrderedDict({pairs})\n')


# --- ONNX Runtime, CUDA ----------------------------------------------------------------------------------------------


def test_a_whole_cuda_set_misses_nothing(folders: dict[str, Path]) -> None:
    assert libraries.cuda_missing(FakeMachine(folders, CUDA_13)) is None


def test_no_driver_is_named_with_the_release_that_cuda_13_needs(folders: dict[str, Path]) -> None:
    missing = libraries.cuda_missing(FakeMachine(folders, CUDA_13, nvidia=NO_DRIVER))
    assert missing == Missing("libcuda.so.1 not found", "install the NVIDIA driver (>= 580 for CUDA 13)")


def test_the_driver_comes_before_the_libraries(folders: dict[str, Path]) -> None:
    missing = libraries.cuda_missing(FakeMachine(folders, nvidia=NO_DRIVER))
    assert missing is not None
    assert missing.reason.startswith("libcuda.so.1 not found; libcublasLt.so.13, libcublas.so.13, ")
    assert missing.remedy.startswith('install the NVIDIA driver (>= 580 for CUDA 13); then pip install "keronyx[gpu]"')


@pytest.mark.parametrize(
    ("soname", "package"),
    [
        ("libcublas.so.13", "nvidia-cublas"),
        ("libcudart.so.13", "nvidia-cuda-runtime"),
        ("libcurand.so.10", "nvidia-curand"),
        ("libcudnn.so.9", "nvidia-cudnn-cu13"),
        ("libcufft.so.12", "nvidia-cufft"),
        ("libnvrtc.so.13", "nvidia-cuda-nvrtc"),
    ],
)
def test_each_library_of_cuda_13_is_named_with_its_package(folders: dict[str, Path], soname: str, package: str) -> None:
    missing = libraries.cuda_missing(FakeMachine(folders, CUDA_13 - {soname}))
    assert missing == Missing(f"{soname} not found", f'pip install "keronyx[gpu]" (brings {package})')


def test_an_onnxruntime_built_for_cuda_12_wants_the_wheels_of_cuda_12(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_objects, "needed", lambda path: ("libcublas.so.12", "libcudart.so.12"))
    missing = libraries.cuda_missing(FakeMachine(folders, nvidia=NO_DRIVER))
    assert missing is not None
    assert "libcublas.so.12, libcudart.so.12, libcudnn.so.9, libcufft.so.11, libnvrtc.so.12 not found" in missing.reason
    assert "(>= 525 for CUDA 12)" in missing.remedy and "nvidia-cudnn-cu12, nvidia-cufft-cu12" in missing.remedy


def test_a_library_that_does_not_load_is_reinstalled(folders: dict[str, Path]) -> None:
    message = "/wheels/libcublas.so.13: file too short"
    missing = libraries.cuda_missing(FakeMachine(folders, CUDA_13, {"libcublas.so.13": message}))
    assert missing == Missing(
        f"libcublas.so.13 does not load: {message}", "pip install --force-reinstall nvidia-cublas"
    )


def test_an_absent_dependency_is_named_once_with_its_own_package(folders: dict[str, Path]) -> None:
    message = "libnvJitLink.so.13: cannot open shared object file: No such file or directory"
    missing = libraries.cuda_missing(FakeMachine(folders, CUDA_13, {"libcufft.so.12": message}))
    assert missing == Missing(
        "libnvJitLink.so.13 (needed by libcufft.so.12) not found",
        'pip install "keronyx[gpu]" (brings nvidia-nvjitlink)',
    )


def test_a_library_that_only_lacks_the_driver_is_not_blamed(folders: dict[str, Path]) -> None:
    machine = FakeMachine(folders, CUDA_13, {"libcudnn.so.9": NO_DRIVER.library.message}, nvidia=NO_DRIVER)
    missing = libraries.cuda_missing(machine)
    assert missing is not None and missing.reason == "libcuda.so.1 not found"


def test_the_cpu_package_of_onnxruntime_is_said_to_have_no_provider(folders: dict[str, Path]) -> None:
    (folders["onnxruntime"] / "capi/libonnxruntime_providers_cuda.so").unlink()
    for missing in (libraries.cuda_missing(FakeMachine(folders)), libraries.tensorrt_missing(FakeMachine(folders))):
        assert missing is not None
        assert missing.reason == "this onnxruntime has no cuda provider: libonnxruntime_providers_cuda.so not found"
        assert "pip install onnxruntime-gpu" in missing.remedy


def test_a_damaged_provider_is_missing_not_a_crash(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # read the empty file
    missing = libraries.cuda_missing(FakeMachine(folders, CUDA_13))
    assert missing is not None and "libonnxruntime_providers_cuda.so cannot be read" in missing.reason
    assert missing.remedy == "pip install --force-reinstall onnxruntime-gpu"


def test_no_onnxruntime_at_all_is_said() -> None:
    for missing in (libraries.cuda_missing(FakeMachine({})), libraries.tensorrt_missing(FakeMachine({}))):
        assert missing == Missing("onnxruntime is not installed", "pip install onnxruntime-gpu")


# --- driver ----------------------------------------------------------------------------------------------------------


def test_a_driver_without_a_gpu_is_no_gpu(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for nvidia in (
        Driver(DRIVER.library, 13000, "CUDA_ERROR_NO_DEVICE"),
        Driver(DRIVER.library, 13000, "", devices=0),
    ):
        missing = libraries.cuda_missing(FakeMachine(folders, CUDA_13, nvidia=nvidia))
        assert missing is not None and missing.reason == "no NVIDIA GPU"


def test_a_hidden_gpu_is_blamed_on_the_variable(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    nvidia = Driver(DRIVER.library, 13000, "CUDA_ERROR_NO_DEVICE")
    missing = libraries.cuda_missing(FakeMachine(folders, CUDA_13, nvidia=nvidia))
    assert missing == Missing("no NVIDIA GPU: CUDA_VISIBLE_DEVICES='-1' hides it", "unset CUDA_VISIBLE_DEVICES")


def test_a_driver_of_cuda_12_runs_tensorflow_but_not_onnxruntime(folders: dict[str, Path]) -> None:
    nvidia = Driver(DRIVER.library, 12040, "", devices=1)
    machine = FakeMachine(folders, CUDA_13 | set(libraries.TENSORFLOW_CUDA_12), nvidia=nvidia)
    assert libraries.cuda_missing(machine) == Missing(
        "the NVIDIA driver supports CUDA 12.4 only", "update the NVIDIA driver (>= 580 for CUDA 13)"
    )
    assert libraries.tensorflow_cuda_missing(machine) is None


def test_a_driver_that_fails_to_start_gives_its_own_error(folders: dict[str, Path]) -> None:
    nvidia = Driver(DRIVER.library, 13000, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH")
    missing = libraries.cuda_missing(FakeMachine(folders, CUDA_13, nvidia=nvidia))
    assert missing is not None and missing.reason.endswith("does not start: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH")


# --- ONNX Runtime, TensorRT ------------------------------------------------------------------------------------------


def test_a_whole_tensorrt_misses_nothing(folders: dict[str, Path]) -> None:
    assert libraries.tensorrt_missing(FakeMachine(folders, CUDA_13 | TENSORRT_10)) is None


def test_no_tensorrt_names_both_libraries_and_a_package_old_enough(folders: dict[str, Path]) -> None:
    assert libraries.tensorrt_missing(FakeMachine(folders, CUDA_13)) == Missing(
        "libnvinfer.so.10, libnvonnxparser.so.10 not found", 'pip install "tensorrt-cu13<11"'
    )


@pytest.mark.parametrize("distribution", ["tensorrt", "tensorrt-cu13", "tensorrt-cu13-libs"])
def test_tensorrt_11_by_its_metadata_is_said_to_be_too_new(folders: dict[str, Path], distribution: str) -> None:
    machine = FakeMachine(folders, CUDA_13, versions={distribution: "11.4.0.32"})
    assert libraries.tensorrt_missing(machine) == Missing(
        "TensorRT 11.4.0.32 is installed, this onnxruntime needs 10", 'pip install "tensorrt-cu13<11"'
    )


def test_tensorrt_11_by_its_library_is_said_to_be_too_new(folders: dict[str, Path]) -> None:
    machine = FakeMachine(folders, CUDA_13 | {"libnvinfer.so.11"})
    assert libraries.tensorrt_missing(machine) == Missing(
        "TensorRT 11 is installed, this onnxruntime needs 10", 'pip install "tensorrt-cu13<11"'
    )


def test_tensorrt_10_whose_library_does_not_load_is_not_called_another_version(folders: dict[str, Path]) -> None:
    broken = {"libnvinfer.so.10": "/wheels/libnvinfer.so.10: file too short"}
    machine = FakeMachine(folders, CUDA_13 | TENSORRT_10, broken, {"tensorrt-cu13": "10.16.1.11"})
    missing = libraries.tensorrt_missing(machine)
    assert missing is not None and missing.reason == f"libnvinfer.so.10 does not load: {broken['libnvinfer.so.10']}"


def test_what_tensorrt_itself_lacks_is_said_once(folders: dict[str, Path]) -> None:
    broken = {"libnvinfer.so.10": "libkx.so.1: cannot open shared object file: No such file or directory"}
    missing = libraries.tensorrt_missing(FakeMachine(folders, CUDA_13 | TENSORRT_10, broken))
    assert missing is not None and missing.reason == "libkx.so.1 (needed by libnvinfer.so.10) not found"


def test_tensorrt_lacks_what_cuda_lacks_too(folders: dict[str, Path]) -> None:
    machine = FakeMachine(folders, CUDA_13 - {"libcufft.so.12"}, nvidia=NO_DRIVER)
    missing = libraries.tensorrt_missing(machine)
    assert missing is not None
    assert missing.reason.split("; ") == [
        "libcuda.so.1 not found",
        "libnvinfer.so.10, libnvonnxparser.so.10 not found",
        "libcufft.so.12 not found",
    ]
    assert missing.remedy.split("; then ") == [
        "install the NVIDIA driver (>= 580 for CUDA 13)",
        'pip install "tensorrt-cu13<11"',
        'pip install "keronyx[gpu]" (brings nvidia-cufft)',
    ]


# --- TensorFlow ------------------------------------------------------------------------------------------------------


def test_tensorflow_with_its_cuda_12_misses_nothing(folders: dict[str, Path]) -> None:
    assert libraries.tensorflow_cuda_missing(FakeMachine(folders, set(libraries.TENSORFLOW_CUDA_12))) is None


def test_the_libraries_of_cuda_13_do_not_serve_tensorflow(folders: dict[str, Path]) -> None:
    missing = libraries.tensorflow_cuda_missing(FakeMachine(folders, CUDA_13, nvidia=NO_DRIVER))
    assert missing is not None
    assert missing.reason.startswith("libcuda.so.1 not found; libcudart.so.12, libcublas.so.12, ")
    assert "install the NVIDIA driver (>= 525 for TensorFlow's CUDA 12)" in missing.remedy
    assert "nvidia-cublas-cu12, nvidia-cufft-cu12, nvidia-cusolver-cu12, nvidia-cusparse-cu12" in missing.remedy


def test_a_cpu_build_of_tensorflow_says_so_whatever_the_machine_has(folders: dict[str, Path]) -> None:
    write_build_info(folders["tensorflow"], "[('is_cuda_build', False)]")
    missing = libraries.tensorflow_cuda_missing(FakeMachine(folders, set(libraries.TENSORFLOW_CUDA_12)))
    assert missing is not None and missing.reason == "this TensorFlow is built for the CPU only"
    assert "keronyx[gpu]" in missing.remedy


def test_a_tensorflow_for_another_cuda_is_not_guessed_about(folders: dict[str, Path]) -> None:
    write_build_info(folders["tensorflow"], "[('cuda_version', '14.1'), ('is_cuda_build', True)]")
    missing = libraries.tensorflow_cuda_missing(FakeMachine(folders, set(libraries.TENSORFLOW_CUDA_12)))
    assert missing is not None and "built for CUDA 14.1" in missing.reason


def test_no_tensorflow_is_missing_for_cpu_and_cuda() -> None:
    for missing in (libraries.tensorflow_missing(FakeMachine({})), libraries.tensorflow_cuda_missing(FakeMachine({}))):
        assert missing == Missing("tensorflow is not installed", 'pip install "tensorflow"')


@pytest.mark.parametrize("text", ["", "build_info = {", "build_info = make()", "build_info = dict(a)"])
def test_a_build_info_of_another_form_is_empty_not_a_crash(tmp_path: Path, text: str) -> None:
    file = tmp_path / "python/platform/build_info.py"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert libraries.tensorflow_build(tmp_path) == {}


def test_the_installed_tensorflow_tells_its_build_without_being_imported() -> None:
    folder = HERE.folder("tensorflow")
    assert folder is not None
    assert isinstance(libraries.tensorflow_build(folder)["is_cuda_build"], bool)


# --- packages --------------------------------------------------------------------------------------------------------


def test_a_package_is_missing_when_its_module_is_not_there() -> None:
    found = libraries.package_missing("ai-edge-litert", "ai_edge_litert", "keronyx[litert]", FakeMachine({}))
    assert found == Missing("ai-edge-litert is not installed", 'pip install "keronyx[litert]"')
    assert libraries.package_missing("pytest", "pytest", "pytest") is None
    assert libraries.package_missing("kx-nowhere", "kx_nowhere", "kx-nowhere") is not None


def test_this_machine_answers_for_every_provider() -> None:
    """Holds with and without a GPU: what is reported missing is always one line with a way out."""
    for ask in (libraries.cuda_missing, libraries.tensorrt_missing, libraries.tensorflow_cuda_missing):
        missing = ask()
        if missing is not None:
            assert missing.reason and missing.remedy and "\n" not in missing.reason + missing.remedy
        driver = HERE.driver()
        if driver.library.path is None:
            assert missing is not None and "libcuda.so.1" in missing.reason.partition(";")[0]

"""The doctor's answers, on machines that are made up and on control groups that are a folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import namedtuple
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from keronyx import control_groups
from keronyx.runtime import doctor
from keronyx.runtime.doctor import Diagnosis
from keronyx.runtime.shared_objects import Driver, Lookup
from keronyx.types import Missing, Session, SessionRequest


@dataclass
class FakeRuntime:
    name: str
    provider: str
    package: str
    lacks: Missing | None = None
    artifact: str = "onnx"

    def missing(self) -> Missing | None:
        return self.lacks

    def import_library(self) -> None:
        raise AssertionError("the doctor imports no library")

    def open(self, request: SessionRequest) -> Session:
        raise AssertionError("the doctor opens no model")


@dataclass
class FakeMachine:
    versions: dict[str, str] = field(default_factory=dict)

    def look_up(self, sonames: tuple[str, ...], cuda: int) -> dict[str, Lookup]:
        return {}

    def driver(self) -> Driver:
        return Driver(Lookup("libcuda.so.1", None))

    def version(self, distribution: str) -> str | None:
        return self.versions.get(distribution)

    def folder(self, module: str) -> Path | None:
        return None


# --- runtimes --------------------------------------------------------------------------------------------------------


def test_each_runtime_gets_one_diagnosis_in_order_usable_or_not() -> None:
    lacks = Missing("libcuda.so.1 not found", "install the NVIDIA driver (>= 580 for CUDA 13)")
    runtimes = [
        FakeRuntime("ort", "cpu", "onnxruntime-gpu"),
        FakeRuntime("ort", "cuda", "onnxruntime-gpu", lacks),
        FakeRuntime("openvino", "cpu", "openvino", Missing("openvino is not installed", "pip install it")),
    ]
    assert doctor.examine(runtimes, FakeMachine({"onnxruntime-gpu": "1.31.1"})) == (
        Diagnosis("ort", "cpu", "onnxruntime-gpu", "1.31.1", usable=True),
        Diagnosis("ort", "cuda", "onnxruntime-gpu", "1.31.1", False, lacks.reason, lacks.remedy),
        Diagnosis("openvino", "cpu", "openvino", "", False, "openvino is not installed", "pip install it"),
    )


def test_the_version_is_of_the_package_that_is_really_there() -> None:
    (diagnosis,) = doctor.examine(
        [FakeRuntime("ort", "cpu", "onnxruntime-gpu")], FakeMachine({"onnxruntime": "1.31.0"})
    )
    assert (diagnosis.package, diagnosis.version) == ("onnxruntime", "1.31.0")


def test_examining_every_provider_imports_nothing_heavy() -> None:
    code = """
import json, sys
from types import SimpleNamespace
from keronyx.runtime import doctor, libraries
asks = {
    "tensorflow": [libraries.tensorflow_missing, libraries.tensorflow_cuda_missing],
    "onnxruntime-gpu": [libraries.cuda_missing, libraries.tensorrt_missing],
    "openvino": [lambda: libraries.package_missing("openvino", "openvino", "keronyx[openvino]")],
    "ai-edge-litert": [lambda: libraries.package_missing("ai-edge-litert", "ai_edge_litert", "keronyx[litert]")],
}
runtimes = [
    SimpleNamespace(name="x", provider="y", package=package, missing=ask) for package in asks for ask in asks[package]
]
diagnoses = doctor.examine(runtimes)
findings = doctor.machine_findings()
print(json.dumps([len(diagnoses), len(findings), sorted({name.partition(".")[0] for name in sys.modules})]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    diagnoses, findings, modules = json.loads(done.stdout)
    assert (diagnoses, findings >= 3) == (6, True)
    heavy = {"tensorflow", "keras", "onnxruntime", "openvino", "ai_edge_litert", "onnx", "tf2onnx", "scipy"}
    assert heavy & set(modules) == set()


# --- wheels ----------------------------------------------------------------------------------------------------------


def test_two_onnxruntimes_are_warned_of_and_one_is_not() -> None:
    both = {"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1"}
    assert "overwrite each other's files" in doctor.onnxruntime_installed_twice(FakeMachine(both))
    for name in both:
        assert doctor.onnxruntime_installed_twice(FakeMachine({name: "1.31.1"})) == ""


def test_two_cudnn_wheels_are_warned_of_and_one_is_not() -> None:
    both = {"nvidia-cudnn-cu12": "9.28.0.42", "nvidia-cudnn-cu13": "9.28.1.4"}
    warning = doctor.shared_cudnn_folder(FakeMachine(both))
    assert "nvidia-cudnn-cu12 9.28.0.42" in warning and "nvidia-cudnn-cu13 9.28.1.4" in warning
    for name in both:
        assert doctor.shared_cudnn_folder(FakeMachine({name: "9.28.0.42"})) == ""


def test_wheel_sets_are_whole_incomplete_or_not_installed() -> None:
    name = "CUDA 13 (ONNX Runtime)"
    whole = dict.fromkeys(doctor.CUDA_SETS[name], "13.0")
    partial = {wheel: version for wheel, version in whole.items() if wheel != "nvidia-curand"}
    assert doctor.wheel_sets(FakeMachine(whole)) == (
        "wheels of CUDA 12 (TensorFlow): not installed",
        "wheels of CUDA 13 (ONNX Runtime): installed",
    )
    assert doctor.wheel_sets(FakeMachine(partial))[1].endswith("incomplete, without nvidia-curand")


def test_machine_findings_are_single_lines_that_include_the_warnings() -> None:
    both = {"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1"}
    findings = doctor.machine_findings(FakeMachine(both))
    assert findings[0].startswith("Python 3.")
    assert any("overwrite" in finding for finding in findings)
    assert all(finding and "\n" not in finding for finding in findings)


# --- limits ----------------------------------------------------------------------------------------------------------


def test_memory_below_4_gib_is_scarce() -> None:
    assert doctor.scarce_memory(4 * doctor.GIB) == ""
    assert "only 3.5 GiB of memory" in doctor.scarce_memory(3 * doctor.GIB + doctor.GIB // 2)


def test_a_small_dev_shm_is_warned_of_and_an_absent_one_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(64 * 2**20, 0, 0))
    assert "holds only 0.06 GiB: start the container with --shm-size=4g" in doctor.scarce_shared_memory(tmp_path)
    assert doctor.scarce_shared_memory(tmp_path / "nowhere") == ""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(8 * doctor.GIB, 0, 0))
    assert doctor.scarce_shared_memory(tmp_path) == ""


def test_a_quota_below_the_cores_is_warned_of() -> None:
    warning = doctor.cpu_quota_below_cores(1.5, 8)
    assert "CPU quota of 1.5 on 8 cores" in warning and "--threads 1 " in warning
    assert doctor.cpu_quota_below_cores(8.0, 8) == "" and doctor.cpu_quota_below_cores(None, 8) == ""


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def test_the_tightest_quota_of_a_version_2_group_and_its_ancestors_counts(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/slice/box",
            "sys/fs/cgroup/slice/box/cpu.max": "400000 100000",
            "sys/fs/cgroup/slice/cpu.max": "300000 200000",
            "sys/fs/cgroup/cpu.max": "max 100000",
        },
    )
    assert control_groups.cpu_quota(root) == 1.5


def test_a_version_1_quota_is_read_where_a_container_sees_it(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "20000",
        },
    )
    assert control_groups.cpu_quota(root) == 2.5


def test_no_quota_is_none(tmp_path: Path) -> None:
    assert control_groups.cpu_quota(tmp_path) is None
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "2:cpu:/\n0::/",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/cpu.max": "max 100000",
        },
    )
    assert control_groups.cpu_quota(root) is None


@pytest.mark.parametrize(
    ("group", "file"),
    [("0::/box", "sys/fs/cgroup/box/memory.max"), ("4:memory:/box", "sys/fs/cgroup/memory/memory.limit_in_bytes")],
)
def test_a_memory_limit_of_the_group_counts_when_it_is_lower(tmp_path: Path, group: str, file: str) -> None:
    assert control_groups.memory_bytes(write(tmp_path, {"proc/self/cgroup": group, file: "1048576"})) == 2**20
    machine = control_groups.memory_bytes(tmp_path / "nowhere")
    assert machine > 2**20
    for unlimited in ("max", "9223372036854771712"):
        assert control_groups.memory_bytes(write(tmp_path, {file: unlimited})) == machine

"""What can run on this machine, what cannot and why, and what else about it will matter. Imports nothing heavy."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from keronyx.control_groups import cpu_quota, memory_bytes
from keronyx.runtime.machine import HERE, Machine
from keronyx.types import Runtime

GIB = 2**30
SCARCE_BYTES = 4 * GIB
"""Below this much memory, exports of even small networks are at risk (a UNet of 31 M parameters peaks at 8.5 GiB)."""


ALTERNATIVES = {"onnxruntime-gpu": ("onnxruntime",), "tensorflow": ("tensorflow-cpu", "tf-nightly")}
"""Distributions that bring the same module as the one a runtime names."""

CUDA_SETS = {
    "CUDA 12 (TensorFlow)": (
        "nvidia-cublas-cu12",
        "nvidia-cuda-runtime-cu12",
        "nvidia-cudnn-cu12",
        "nvidia-cufft-cu12",
        "nvidia-cusolver-cu12",
        "nvidia-cusparse-cu12",
        "nvidia-nvjitlink-cu12",
    ),
    "CUDA 13 (ONNX Runtime)": (
        "nvidia-cublas",
        "nvidia-cuda-nvrtc",
        "nvidia-cuda-runtime",
        "nvidia-cudnn-cu13",
        "nvidia-cufft",
        "nvidia-curand",
    ),
}
"""Wheels of each set that its user cannot do without."""


@dataclass(frozen=True)
class Diagnosis:
    """Whether one runtime runs on one provider here. `reason` and `remedy` are empty when it does.

    `package` is the distribution that brings it and `version` the installed one, "" when it is not installed.
    """

    runtime: str
    provider: str
    package: str
    version: str
    usable: bool
    reason: str = ""
    remedy: str = ""


def examine(runtimes: Iterable[Runtime], machine: Machine = HERE) -> tuple[Diagnosis, ...]:
    """Ask each runtime what it misses; one diagnosis each, in their order."""
    return tuple(_diagnose(runtime, machine) for runtime in runtimes)


def _diagnose(runtime: Runtime, machine: Machine) -> Diagnosis:
    candidates = (runtime.package, *ALTERNATIVES.get(runtime.package, ()))
    installed = [(name, version) for name in candidates if (version := machine.version(name))]
    package, version = installed[0] if installed else (runtime.package, "")
    missing = runtime.missing()
    if missing is None:
        return Diagnosis(runtime.name, runtime.provider, package, version, usable=True)
    return Diagnosis(runtime.name, runtime.provider, package, version, False, missing.reason, missing.remedy)


def machine_findings(machine: Machine = HERE) -> tuple[str, ...]:
    """What else is worth knowing about this machine, one line each: facts first, then warnings with their remedy."""
    findings = [f"Python {platform.python_version()} ({sys.executable})", *wheel_sets(machine)]
    warnings = (
        onnxruntime_installed_twice(machine),
        shared_cudnn_folder(machine),
        scarce_memory(memory_bytes()),
        scarce_shared_memory(Path("/dev/shm")),
        cpu_quota_below_cores(cpu_quota(), len(os.sched_getaffinity(0)) if sys.platform == "linux" else 0),
    )
    return (*findings, *(warning for warning in warnings if warning))


# --- wheels ----------------------------------------------------------------------------------------------------------


def wheel_sets(machine: Machine) -> tuple[str, ...]:
    """One line for each set of CUDA wheels: whole, missing some, or not installed."""
    lines = []
    for name, wheels in CUDA_SETS.items():
        absent = [wheel for wheel in wheels if machine.version(wheel) is None]
        state = "installed" if not absent else f"incomplete, without {', '.join(absent)}"
        lines.append(f"wheels of {name}: {'not installed' if len(absent) == len(wheels) else state}")
    return tuple(lines)


def onnxruntime_installed_twice(machine: Machine) -> str:
    """Warn of the CPU and the GPU package installed together: the later one overwrote files of the earlier."""
    if machine.version("onnxruntime") is None or machine.version("onnxruntime-gpu") is None:
        return ""
    return (
        "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files: "
        "pip uninstall onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu"
    )


def shared_cudnn_folder(machine: Machine) -> str:
    """Warn of two cuDNN wheels: unlike the other wheels of CUDA 12 and 13, these have the same file names.

    Seen in the file lists of nvidia-cudnn-cu12 9.28.0.42 and nvidia-cudnn-cu13 9.28.1.4.
    """
    versions = [(name, machine.version(name)) for name in ("nvidia-cudnn-cu12", "nvidia-cudnn-cu13")]
    if any(version is None for _, version in versions):
        return ""
    both = " and ".join(f"{name} {version}" for name, version in versions)
    return (
        f"{both} share the folder nvidia/cudnn/lib, so TensorFlow and ONNX Runtime get the one installed last: "
        "if a cuda row fails in cuDNN, give the two an environment each"
    )


# --- limits ----------------------------------------------------------------------------------------------------------


def scarce_memory(available: int) -> str:
    """Warn when the memory this process may use, in bytes, is below 4 GiB."""
    if available >= SCARCE_BYTES:
        return ""
    return f"only {available / GIB:.1f} GiB of memory: exporting may be killed; allow at least 4 GiB"


def scarce_shared_memory(folder: Path) -> str:
    """Warn when the file system at `folder` is smaller than 4 GiB; "" when there is none."""
    if not folder.is_dir():
        return ""
    size = shutil.disk_usage(folder).total
    if size >= SCARCE_BYTES:
        return ""
    return f"{folder} holds only {size / GIB:.2f} GiB: start the container with --shm-size=4g"


def cpu_quota_below_cores(quota: float | None, cores: int) -> str:
    """Warn when the control group's CPU time, in cores, is less than the `cores` a runtime would start threads for."""
    if quota is None or quota >= cores:
        return ""
    return (
        f"a CPU quota of {quota:g} on {cores} cores: threads beyond it are throttled and latencies jump; "
        f"use --threads {max(1, int(quota))} or raise the quota"
    )

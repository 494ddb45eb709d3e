"""Which libraries a runtime or provider lacks here, and the package that brings each.

Neither TensorFlow nor ONNX Runtime is imported: their own answers cost seconds, and ONNX Runtime's are no answers, as
`get_available_providers()` lists CUDA and TensorRT on a machine that has neither. What the provider's shared objects
need is read from the files, and each of those libraries is really loaded, in a throwaway process.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keronyx.runtime import shared_objects
from keronyx.runtime.machine import HERE, Machine
from keronyx.runtime.shared_objects import Lookup
from keronyx.types import Missing

SYSTEM = re.compile(r"(lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+)|ld-linux.*)\.so\.\d+")
"""The C and C++ runtime: without it Python itself, or importing the package, would have failed."""

DRIVER_FLOOR = {12: 525, 13: 580}
"""Oldest NVIDIA driver series that runs programs built for a CUDA major version. Source: CUDA compatibility guide."""

PACKAGES = {
    "libcublas": "nvidia-cublas",
    "libcublasLt": "nvidia-cublas",
    "libcudart": "nvidia-cuda-runtime",
    "libcudnn": "nvidia-cudnn",
    "libcufft": "nvidia-cufft",
    "libcupti": "nvidia-cuda-cupti",
    "libcurand": "nvidia-curand",
    "libcusolver": "nvidia-cusolver",
    "libcusparse": "nvidia-cusparse",
    "libnvJitLink": "nvidia-nvjitlink",
    "libnvrtc": "nvidia-cuda-nvrtc",
}
"""Wheel of each CUDA library. The wheels of CUDA 12 add `-cu12`; those of CUDA 13 add nothing, save cuDNN's `-cu13`."""

TENSORFLOW_CUDA_12 = (
    "libcudart.so.12",
    "libcublas.so.12",
    "libcublasLt.so.12",
    "libcufft.so.11",
    "libcusolver.so.11",
    "libcusparse.so.12",
    "libcudnn.so.9",
)
"""What TensorFlow dlopens before it registers a GPU; it skips them all when one fails (MaybeTryDlopenGPULibraries)."""

TENSORRT = ("libnvinfer", "libnvonnxparser")
"""The libraries of TensorRT that the provider names; its plugin library is optional."""

TENSORRT_DISTRIBUTIONS = tuple(
    f"tensorrt{cuda}{part}" for cuda in ("", "-cu13", "-cu12") for part in ("", "-libs", "-bindings")
)


# --- what a runtime asks ---------------------------------------------------------------------------------------------


def package_missing(distribution: str, module: str, extra: str, machine: Machine = HERE) -> Missing | None:
    """Whether the package that brings the top-level `module` is not installed; `extra` is what pip is to install."""
    if machine.folder(module) is not None:
        return None
    return Missing(f"{distribution} is not installed", f'pip install "{extra}"')


def cuda_missing(machine: Machine = HERE) -> Missing | None:
    """What ONNX Runtime's CUDA provider lacks here: a provider at all, driver, GPU or libraries."""
    needs = _cuda_needs(machine)
    if isinstance(needs, Missing):
        return needs
    cuda, sonames = needs
    return _join(_driver_faults(machine, cuda, f"CUDA {cuda}") + _library_faults(machine, sonames, cuda))


def tensorrt_missing(machine: Machine = HERE) -> Missing | None:
    """What ONNX Runtime's TensorRT provider lacks here. It needs all that the CUDA provider does, and TensorRT."""
    needs = _tensorrt_needs(machine)
    if isinstance(needs, Missing):
        return needs
    cuda, sonames = needs
    faults = _driver_faults(machine, cuda, f"CUDA {cuda}")
    tensorrt = tuple(soname for soname in sonames if _stem(soname) in TENSORRT)
    found = machine.look_up(sonames, cuda)
    if any(found[soname].path is None for soname in tensorrt):
        faults += _tensorrt_faults(machine, [found[soname] for soname in tensorrt], cuda)
    return _join(faults + _library_faults(machine, sonames, cuda, apart=tensorrt))


def tensorflow_missing(machine: Machine = HERE) -> Missing | None:
    """Whether TensorFlow is not installed (its CPU runtimes need nothing else)."""
    return package_missing("tensorflow", "tensorflow", "tensorflow", machine)


def tensorflow_cuda_missing(machine: Machine = HERE) -> Missing | None:
    """What TensorFlow lacks to run on a GPU here: a CUDA build at all, driver, GPU or libraries."""
    folder = machine.folder("tensorflow")
    if folder is None:
        return tensorflow_missing(machine)
    build = tensorflow_build(folder)
    if not build.get("is_cuda_build"):
        return Missing(
            "this TensorFlow is built for the CPU only",
            'pip uninstall tensorflow tensorflow-cpu, then pip install "keronyx[gpu]"',
        )
    version = str(build.get("cuda_version", ""))
    if version.partition(".")[0] != "12":
        return Missing(
            f"this TensorFlow is built for CUDA {version or '(unknown)'}; keronyx knows the libraries of CUDA 12",
            'pip install "tensorflow[and-cuda]~=2.21.0"',
        )
    return _join(_driver_faults(machine, 12, "TensorFlow's CUDA 12") + _library_faults(machine, TENSORFLOW_CUDA_12, 12))


def tensorflow_build(folder: Path) -> dict[str, Any]:
    """The `build_info` of the TensorFlow in `folder` (keys `is_cuda_build`, `cuda_version`, ...), read, not imported.

    Empty when the file is not there or does not hold the one assignment it is generated with.
    """
    try:
        tree = ast.parse((folder / "python/platform/build_info.py").read_text(encoding="utf-8"))
        for statement in tree.body:
            if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call):
                return dict(ast.literal_eval(statement.value.args[0]))
    except (OSError, SyntaxError, ValueError, TypeError, IndexError):
        pass
    return {}


def load_tensorrt() -> None:
    """Load into this process what ONNX Runtime's TensorRT provider needs from wheels, before it is asked for.

    `onnxruntime.preload_dlls` loads the CUDA libraries, but not those of TensorRT, which the loader does not find in
    site-packages by itself. Does nothing where that provider is not installed.
    """
    needs = _tensorrt_needs(HERE)
    if isinstance(needs, Missing):
        return
    cuda, sonames = needs
    plugins = tuple(s.replace("libnvinfer", "libnvinfer_plugin") for s in sonames if _stem(s) == "libnvinfer")
    shared_objects.load((*sonames, *plugins), shared_objects.wheel_folders(cuda))


# --- ONNX Runtime's providers ----------------------------------------------------------------------------------------


def _cuda_needs(machine: Machine) -> tuple[int, tuple[str, ...]] | Missing:
    """CUDA major version the CUDA provider is built for, and all it needs: what it names, then what it dlopens later.

    cuDNN, cuFFT and nvrtc are opened by the first node that needs them, in the middle of a run (onnxruntime 1.31).
    """
    named = _provider_needs("cuda", machine)
    if isinstance(named, Missing):
        return named
    cuda = next((int(soname.rpartition(".")[2]) for soname in named if _stem(soname) == "libcudart"), 13)
    opened = ("libcudnn.so.9", f"libcufft.so.{cuda - 1}", f"libnvrtc.so.{cuda}")
    return cuda, tuple(dict.fromkeys((*named, *opened)))


def _tensorrt_needs(machine: Machine) -> tuple[int, tuple[str, ...]] | Missing:
    named, cuda_needs = _provider_needs("tensorrt", machine), _cuda_needs(machine)
    if isinstance(cuda_needs, Missing):
        return cuda_needs
    if isinstance(named, Missing):
        return named
    cuda, sonames = cuda_needs
    return cuda, tuple(dict.fromkeys((*sonames, *named)))


def _provider_needs(name: str, machine: Machine) -> tuple[str, ...] | Missing:
    folder = machine.folder("onnxruntime")
    if folder is None:
        return Missing("onnxruntime is not installed", "pip install onnxruntime-gpu")
    file = folder / "capi" / f"libonnxruntime_providers_{name}.so"
    if not file.exists():
        return Missing(
            f"this onnxruntime has no {name} provider: {file.name} not found",
            "pip uninstall onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu",
        )
    try:
        sonames = shared_objects.needed(file)
    except (OSError, ValueError) as error:
        return Missing(f"{file.name} cannot be read: {error}", "pip install --force-reinstall onnxruntime-gpu")
    beside = ("libcuda.so.1", "libonnxruntime_providers_shared.so")  # asked the driver's way; in the same folder
    return tuple(soname for soname in sonames if soname not in beside and not SYSTEM.fullmatch(soname))


def _tensorrt_faults(machine: Machine, lookups: Sequence[Lookup], cuda: int) -> list[Missing]:
    wanted = int(lookups[0].soname.rpartition(".")[2])
    remedy = f'pip install "tensorrt-cu{cuda}<{wanted + 1}"'
    other = _other_tensorrt(machine, wanted, cuda)
    if other:
        return [Missing(f"TensorRT {other} is installed, this onnxruntime needs {wanted}", remedy)]
    return [Missing(_describe([lookup for lookup in lookups if lookup.path is None]), remedy)]


def _other_tensorrt(machine: Machine, wanted: int, cuda: int) -> str:
    """Version of an installed TensorRT of another major version: from its metadata, or from the library itself."""
    versions = [version for name in TENSORRT_DISTRIBUTIONS if (version := machine.version(name))]
    if any(version.partition(".")[0] == str(wanted) for version in versions):
        return ""
    if versions:
        return versions[0]
    others = [major for major in range(wanted + 2, 7, -1) if major != wanted]
    found = machine.look_up(tuple(f"libnvinfer.so.{major}" for major in others), cuda)
    return next((str(major) for major in others if found[f"libnvinfer.so.{major}"].path), "")


# --- faults, and one sentence of them --------------------------------------------------------------------------------


def _driver_faults(machine: Machine, cuda: int, whose: str) -> list[Missing]:
    driver = machine.driver()
    series = f"(>= {DRIVER_FLOOR[cuda]} for {whose})" if cuda in DRIVER_FLOOR else f"for {whose}"
    if driver.library.path is None:
        return [Missing(_describe([driver.library]), f"install the NVIDIA driver {series}")]
    if driver.error not in ("", "CUDA_ERROR_NO_DEVICE"):
        return [Missing(f"the NVIDIA driver does not start: {driver.error}", f"reinstall the NVIDIA driver {series}")]
    if driver.devices == 0:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if visible is not None:
            return [Missing(f"no NVIDIA GPU: CUDA_VISIBLE_DEVICES={visible!r} hides it", "unset CUDA_VISIBLE_DEVICES")]
        return [Missing("no NVIDIA GPU", "use a machine with one; a container needs --gpus all")]
    if driver.cuda < 1000 * cuda:
        supported = f"CUDA {driver.cuda // 1000}.{driver.cuda % 1000 // 10}"
        return [Missing(f"the NVIDIA driver supports {supported} only", f"update the NVIDIA driver {series}")]
    return []


def _library_faults(machine: Machine, sonames: tuple[str, ...], cuda: int, apart: Sequence[str] = ()) -> list[Missing]:
    """Faults of `sonames`, those `apart` excepted, which are only loaded along."""
    found = machine.look_up(sonames, cuda)
    failed = [found[s] for s in sonames if s not in apart and found[s].path is None and found[s].culprit not in apart]
    failed = [lookup for lookup in failed if lookup.culprit != "libcuda.so.1"]  # named by the driver's own fault
    if not failed:
        return []
    absent = _packages([lookup.culprit for lookup in failed if lookup.culprit_is_absent], cuda)
    broken = _packages([lookup.soname for lookup in failed if not lookup.culprit_is_absent], cuda)
    remedies = [f'pip install "keronyx[gpu]" (brings {", ".join(absent)})'] if absent else []
    remedies += [f"pip install --force-reinstall {' '.join(broken)}"] if broken else []
    return [Missing(_describe(failed), ", then ".join(remedies) or "add its folder to LD_LIBRARY_PATH")]


def _describe(failed: Sequence[Lookup]) -> str:
    """One line naming every missing file once, and the loader's words on those that are there and do not load."""
    absent = list(dict.fromkeys(lookup.culprit for lookup in failed if lookup.culprit_is_absent))
    named = {lookup.soname for lookup in failed}
    parts = []
    for culprit in absent:
        needing = [lookup.soname for lookup in failed if lookup.culprit == culprit]
        parts.append(culprit if culprit in named else f"{culprit} (needed by {', '.join(needing)})")
    reasons = [f"{', '.join(parts)} not found"] if parts else []
    return "; ".join(reasons + [f"{x.soname} does not load: {x.message}" for x in failed if not x.culprit_is_absent])


def _packages(sonames: Sequence[str], cuda: int) -> list[str]:
    names = dict.fromkeys(PACKAGES[_stem(soname)] for soname in sonames if _stem(soname) in PACKAGES)
    return [f"{name}-cu{cuda}" if cuda < 13 or name == "nvidia-cudnn" else name for name in names]


def _stem(soname: str) -> str:
    return soname.partition(".so")[0]


def _join(faults: Sequence[Missing]) -> Missing | None:
    if not faults:
        return None
    return Missing("; ".join(f.reason for f in faults), "; then ".join(f.remedy for f in faults))

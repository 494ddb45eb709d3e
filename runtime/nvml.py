"""What the GPU did during a turn, by NVIDIA's management library (NVML): clock, throttling, power, energy.

Nothing here raises: a GPU that does not answer a question costs that figure, never a turn. The energy counter is the
board's and moves in steps, so it says little about one short turn and more about the sum over many.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from keronyx.types import GpuReading


class Gpu:
    """One GPU. Call `begin` before a turn and `end` after it.

    Args:
        nvml: the module `pynvml` (of the distribution nvidia-ml-py), initialised.
        handle: NVML's handle of the GPU.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle
        self._energy_before: int | None = None

    @classmethod
    def open(cls, nvml: Any = None, environment: Mapping[str, str] = os.environ) -> Gpu | None:
        """The GPU this process computes on: the first that CUDA_VISIBLE_DEVICES leaves.

        None without a driver, the library or a GPU, and where the GPU cannot be told for sure: a slice of one (MIG),
        or one of several unlike GPUs, which CUDA orders by speed and NVML by slot, unless CUDA_DEVICE_ORDER is set.
        """
        try:
            nvml = nvml or import_module("pynvml")
            nvml.nvmlInit()
            handle = _first_visible(nvml, environment)
        except Exception:  # ImportError, NVMLError and what a broken driver brings
            return None
        return cls(nvml, handle) if handle is not None else None

    def begin(self) -> None:
        """Note the energy counter."""
        self._energy_before = self._energy()

    def end(self, calls: int) -> GpuReading:
        """What happened since `begin`, in which `calls` calls were made; 0 (energy: None) for what is not told."""
        nvml = self._nvml
        clock = self._ask(lambda: nvml.nvmlDeviceGetClockInfo(self._handle, nvml.NVML_CLOCK_SM))
        reasons = self._ask(lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(self._handle))
        if reasons is None:  # an older driver knows it by its former name only
            reasons = self._ask(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._handle))
        after, before = self._energy(), self._energy_before
        power = self._ask(lambda: nvml.nvmlDeviceGetPowerUsage(self._handle))
        spent = after - before if before is not None and after is not None and after >= before else None
        self._energy_before = None
        return GpuReading(clock or 0, reasons or 0, (power or 0) / 1000, spent, calls)

    def _energy(self) -> int | None:
        """Millijoules since the driver was loaded."""
        return self._ask(lambda: self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))

    def _ask(self, question: Callable[[], Any]) -> int | None:
        try:
            return int(question())
        except Exception:  # not supported, no permission, GPU lost, a library without that function
            return None


def _first_visible(nvml: Any, environment: Mapping[str, str]) -> Any:
    """Handle of the first GPU in CUDA_VISIBLE_DEVICES, an index or (the start of) a UUID; None when it is neither.

    Raises IndexError for an index beyond the last GPU, and whatever NVML raises.
    """
    handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    visible = environment.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0].strip()
    if visible.startswith("GPU-"):
        found = [handle for handle in handles if _text(nvml.nvmlDeviceGetUUID(handle)).startswith(visible)]
        return found[0] if len(found) == 1 else None
    unlike = len({_text(nvml.nvmlDeviceGetName(handle)) for handle in handles}) > 1
    if unlike and environment.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        return None
    return handles[int(visible)] if visible.isdecimal() else None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value

"""What a GPU is asked, and what becomes of the answers it refuses. NVML is a small fake; its absence here is real."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import pytest

from keronyx.runtime.nvml import Gpu
from keronyx.types import GpuReading


class NVMLError(Exception):
    """What every refusal of the real library derives from."""


class Nvml:
    """GPUs by name; the counters belong to whichever is asked. `refused` are functions that raise."""

    NVML_CLOCK_SM = 1

    def __init__(self, *names: str) -> None:
        self.names = names or ("H100",)
        self.refused: set[str] = set()
        self.energy = iter([10_000, 10_450])
        self.asked: Any = None

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("nvml") and name in self.refused:
            raise NVMLError("Not Supported")
        return object.__getattribute__(self, name)

    def nvmlInit(self) -> None: ...  # noqa: N802

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.names)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> str:  # noqa: N802
        return f"GPU-{handle}a{handle}b-4711"

    def nvmlDeviceGetName(self, handle: int) -> str:  # noqa: N802
        return self.names[handle]

    def nvmlDeviceGetClockInfo(self, handle: int, kind: int) -> int:  # noqa: N802
        self.asked = handle
        return {self.NVML_CLOCK_SM: 1755}[kind]

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: int) -> int:  # noqa: N802
        return 0x4

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: int) -> int:  # noqa: N802
        return 0x40

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:  # noqa: N802
        return 312_500

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:  # noqa: N802
        return next(self.energy)


def opened(nvml: Nvml, environment: Mapping[str, str] | None = None) -> Gpu:
    gpu = Gpu.open(nvml, environment or {})
    assert gpu is not None
    return gpu


def reading(nvml: Nvml, calls: int = 7) -> GpuReading:
    gpu = opened(nvml)
    gpu.begin()
    return gpu.end(calls)


def test_a_turn_is_told_in_megahertz_watts_and_millijoules():
    assert reading(Nvml()) == GpuReading(sm_mhz=1755, throttle=0x4, power_w=312.5, energy_mj=450, calls=7)


def test_a_gpu_that_counts_no_energy_has_none_and_keeps_the_rest():
    nvml = Nvml()
    nvml.refused = {"nvmlDeviceGetTotalEnergyConsumption"}
    assert reading(nvml) == GpuReading(1755, 0x4, 312.5, None, 7)


def test_a_driver_without_the_new_name_is_asked_for_throttling_by_the_old():
    nvml = Nvml()
    nvml.refused = {"nvmlDeviceGetCurrentClocksEventReasons"}
    assert reading(nvml).throttle == 0x40


def test_a_gpu_that_answers_nothing_costs_no_turn():
    nvml = Nvml()
    nvml.refused = {name for name in dir(Nvml) if name.startswith("nvmlDeviceGet")}
    gpu = Gpu(nvml, 0)
    gpu.begin()
    assert gpu.end(3) == GpuReading(0, 0, 0.0, None, 3)


def test_a_counter_that_went_back_is_no_energy():
    nvml = Nvml()
    nvml.energy = iter([10_000, 40])
    assert reading(nvml).energy_mj is None


def test_energy_is_that_of_its_own_turn():
    nvml = Nvml()
    nvml.energy = iter([10_000, 10_450, 99_000])
    gpu = opened(nvml)
    gpu.begin()
    assert gpu.end(1).energy_mj == 450
    assert gpu.end(1).energy_mj is None  # without a begin of its own


@pytest.mark.parametrize(
    ("visible", "handle"),
    [(None, 0), ("0", 0), ("1,0", 1), (" 1 ", 1), ("GPU-1a1b-4711", 1), ("GPU-1a", 1), ("GPU-0a0b,GPU-1a1b", 0)],
)
def test_the_gpu_that_is_read_is_the_first_visible_one(visible, handle):
    nvml = Nvml("H100", "H100")
    opened(nvml, {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}).end(1)
    assert nvml.asked == handle


@pytest.mark.parametrize("visible", ["", "-1", "2", "GPU-9", "GPU-", "MIG-GPU-0a0b/1/0", "none"])
def test_a_gpu_that_is_hidden_a_slice_or_ambiguous_is_not_read(visible):
    assert Gpu.open(Nvml("H100", "H100"), {"CUDA_VISIBLE_DEVICES": visible}) is None


def test_of_unlike_gpus_none_is_read_by_a_number_that_may_mean_another():
    unlike = Nvml("T4", "H100")
    assert Gpu.open(unlike, {}) is None
    assert Gpu.open(unlike, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}) is not None
    assert Gpu.open(unlike, {"CUDA_VISIBLE_DEVICES": "GPU-1a"}) is not None


@pytest.mark.parametrize("refused", ["nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex"])
def test_without_a_driver_there_is_no_gpu(refused):
    nvml = Nvml()
    nvml.refused = {refused}
    assert Gpu.open(nvml, {}) is None


def test_without_the_library_there_is_no_gpu(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Gpu.open(environment={}) is None


def test_the_real_library_without_a_driver_is_no_gpu():
    import pynvml  # of the dev extra

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        assert Gpu.open(environment={}) is None
    else:
        pytest.skip("this machine has a driver")


def test_the_real_library_has_every_name_that_is_used():
    import pynvml  # of the dev extra

    missing = [name for name in dir(Nvml) if name.lower().startswith("nvml") and not hasattr(pynvml, name)]
    assert not missing

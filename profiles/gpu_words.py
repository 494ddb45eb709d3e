"""What a GPU did, in words and in figures: throttling, clock, energy, the parts of a call.

Everything here is computed from the readings and times in a report; nothing asks a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from keronyx.profiles import wording
from keronyx.types import DeviceTimes, GpuReading

THROTTLING = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "thermal",
    0x40: "thermal (hardware)",
    0x80: "power brake",
}
"""Bits of NVML's clocks event reasons that make a GPU slower than it could be (nvml.h). Idle (0x1), clocks that were
set (0x2, 0x100) and sync boost (0x10) are no throttling."""

LAUNCH_BOUND = 0.8
"""Submitting takes more than this share of the resident call: the GPU waits for the host. Source: trtexec's warning."""

UNSYNCHRONISED_SHARE, UNSYNCHRONISED_NS = 0.02, 50_000
"""Work that goes on this much longer than the call, as a share of it and in nanoseconds, is no cost of asking."""


def throttle_words(mask: int) -> str:
    """`power cap, thermal` of NVML's bit mask; empty when nothing slowed the GPU down."""
    return ", ".join(word for bit, word in THROTTLING.items() if mask & bit)


def throttled_share(readings: Sequence[GpuReading | None]) -> float | None:
    """Share of turns (0..1) at whose end the GPU was throttled; None without readings."""
    known = [reading for reading in readings if reading is not None]
    return sum(bool(throttle_words(reading.throttle)) for reading in known) / len(known) if known else None


def throttle_reasons(readings: Sequence[GpuReading | None]) -> str:
    """Every reason that any turn ended with, as `throttle_words`."""
    mask = 0
    for reading in readings:
        mask |= reading.throttle if reading is not None else 0
    return throttle_words(mask)


def sm_mhz(readings: Sequence[GpuReading | None]) -> tuple[int, int] | None:
    """Lowest and highest clock of the multiprocessors at the end of a turn, MHz; None where none was told."""
    clocks = [reading.sm_mhz for reading in readings if reading is not None and reading.sm_mhz > 0]
    return (min(clocks), max(clocks)) if clocks else None


def energy_mj_per_call(readings: Sequence[GpuReading | None]) -> float | None:
    """Millijoules of the whole board for one call: all energy over all calls, of the turns that counted it.

    The counter moves in steps longer than a short turn, so single turns are not averaged. None when it never moved.
    """
    counted = [(r.energy_mj, r.calls) for r in readings if r is not None and r.energy_mj is not None]
    spent, calls = sum(energy for energy, _ in counted), sum(calls for _, calls in counted)
    return spent / calls if spent and calls else None


def unsynchronised(device: DeviceTimes, host_ns: float) -> bool:
    """Whether the device still worked when host-to-host calls had returned: then their latency is not the whole.

    Args:
        host_ns: median of the host-to-host calls, nanoseconds.
    """
    late = median(device.sync_ns) if device.sync_ns else 0.0
    return late > UNSYNCHRONISED_SHARE * host_ns and late > UNSYNCHRONISED_NS


def launch_bound(device: DeviceTimes) -> bool:
    """Whether submitting the work takes most of the call, so that a faster GPU would not help."""
    if not (device.submit_ns and device.resident_ns):
        return False
    return median(device.submit_ns) > LAUNCH_BOUND * median(device.resident_ns)


def headline(device: DeviceTimes, host_ns: float) -> str:
    """The parts of a call on one line, medians in milliseconds; what was not measured is left out.

    `device-resident 1.84 ms, H2D 0.31, D2H 1.20, submit 0.090; CUDA graph 1.52 ms; TF32 on; launch-bound`

    Args:
        host_ns: median of the host-to-host calls, nanoseconds.
    """
    named = (
        ("device-resident", device.resident_ns),
        ("H2D", device.h2d_ns),
        ("D2H", device.d2h_ns),
        ("submit", device.submit_ns),
    )
    measured = [f"{name} {_ms(values)}" for name, values in named if values]
    if measured:
        measured[0] += " ms"
    parts = [", ".join(measured)]
    if device.graph_ns:
        parts.append(f"CUDA graph {_ms(device.graph_ns)} ms")
    elif device.graph_reason:
        parts.append(f"no CUDA graph: {device.graph_reason}")
    if tf32 := device.options.get("tf32"):
        parts.append(f"TF32 {tf32}")
    if launch_bound(device):
        parts.append("launch-bound")
    if unsynchronised(device, host_ns):
        parts.append(f"returns {_ms(device.sync_ns)} ms before its answer is there")
    return wording.clean("; ".join(part for part in parts if part))


def _ms(values: Sequence[int]) -> str:
    milliseconds = median(values) / 1e6
    return wording.number(milliseconds, 3 if milliseconds >= 1 else 2)

"""Is this machine fit to measure on? Each circumstance that is known to spoil latencies: ok, warn or unknown.

Nothing is changed and nothing is refused: what is found goes into the report, beside the figures it may have touched.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from keronyx.control_groups import cpu_quota
from keronyx.types import Check, Fitness

MOST_STEAL = 0.02
MOST_PRESSURE = 10.0
"""Percent of the last ten seconds in which some task waited for a CPU (the kernel's accounting/psi.rst)."""

MOST_LOAD = 0.5
"""Load average of the last minute, per core."""

HOT_CELSIUS = 90.0


def preflight(root: Path = Path("/"), pause: Callable[[float], None] = time.sleep) -> tuple[Check, ...]:
    """All checks, in a fixed order. Takes a fifth of a second, for the steal time.

    Args:
        root: where `/proc` and `/sys` are.
        pause: waits the seconds it is given.
    """
    cores = os.cpu_count() or 1
    return (
        affinity(len(os.sched_getaffinity(0)), cores),
        quota(cpu_quota(root), cores),
        governor(root),
        boost(root),
        steal(root, pause),
        pressure(root),
        load(root, cores),
        thermal(root),
    )


def affinity(usable: int, cores: int) -> Check:
    """Whether this process may use every core; on some only, other processes may be pinned to the same."""
    if usable < cores:
        return Check("affinity", Fitness.WARN, f"only {usable} of {cores} cores may be used")
    return Check("affinity", Fitness.OK, f"all {cores} cores")


def quota(found: float | None, cores: int) -> Check:
    """Whether a control group throttles: a quota below the cores stops every thread at once, now and then."""
    if found is not None and found < cores:
        return Check("quota", Fitness.WARN, f"a CPU quota of {found:g} on {cores} cores throttles")
    return Check("quota", Fitness.OK, "no quota below the cores")


def governor(root: Path) -> Check:
    """Whether the clock frequency is left to follow the load."""
    text = _read(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    if not text:
        return Check("governor", Fitness.UNKNOWN, "the system does not tell (usual in virtual machines)")
    state = Fitness.OK if text == "performance" else Fitness.WARN
    return Check("governor", state, text if state is Fitness.OK else f"{text}: clocks follow the load")


def boost(root: Path) -> Check:
    """Whether clocks above the nominal one are on: they depend on temperature and on what other cores do."""
    generic = _read(root / "sys/devices/system/cpu/cpufreq/boost")
    intel = _read(root / "sys/devices/system/cpu/intel_pstate/no_turbo")
    if not generic and not intel:
        return Check("boost", Fitness.UNKNOWN, "the system does not tell")
    if generic == "1" or intel == "0":
        return Check("boost", Fitness.WARN, "on: clocks depend on temperature and on other cores")
    return Check("boost", Fitness.OK, "off")


def steal(root: Path, pause: Callable[[float], None]) -> Check:
    """Share of CPU time the hypervisor gives to others, over a fifth of a second."""
    before = _cpu_times(root)
    pause(0.2)
    after = _cpu_times(root)
    if len(before) < 8 or len(after) < 8:
        return Check("steal", Fitness.UNKNOWN, "the system does not tell")
    total = sum(after[:8]) - sum(before[:8])
    share = (after[7] - before[7]) / total if total > 0 else 0.0
    return Check("steal", Fitness.WARN if share > MOST_STEAL else Fitness.OK, f"{100 * share:.1f} %")


def pressure(root: Path) -> Check:
    """How long tasks waited for a CPU lately."""
    for line in _read(root / "proc/pressure/cpu").splitlines():
        words = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if line.startswith("some ") and "avg10" in words:
            waited = float(words["avg10"])
            state = Fitness.WARN if waited > MOST_PRESSURE else Fitness.OK
            return Check("pressure", state, f"tasks waited for a CPU {waited:g} % of the last 10 s")
    return Check("pressure", Fitness.UNKNOWN, "the kernel keeps no pressure figures")


def load(root: Path, cores: int) -> Check:
    """Load average of the last minute."""
    words = _read(root / "proc/loadavg").split()
    if not words:
        return Check("load", Fitness.UNKNOWN, "the system does not tell")
    average = float(words[0])
    return Check("load", Fitness.WARN if average > MOST_LOAD * cores else Fitness.OK, f"{average:g} on {cores} cores")


def thermal(root: Path) -> Check:
    """Temperature of the hottest sensor."""
    zones = [_read(path) for path in (root / "sys/class/thermal").glob("thermal_zone*/temp")]
    celsius = [int(text) / 1000 for text in zones if text.lstrip("-").isdigit()]
    if not celsius:
        return Check("thermal", Fitness.UNKNOWN, "no sensor")
    hottest = max(celsius)
    return Check("thermal", Fitness.WARN if hottest >= HOT_CELSIUS else Fitness.OK, f"{hottest:.0f} degrees Celsius")


def _cpu_times(root: Path) -> list[int]:
    first = _read(root / "proc/stat").split("\n", 1)[0].split()
    return [int(word) for word in first[1:] if word.isdigit()]


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""

"""How much CPU time and memory this process may use: what its control groups (versions 1 and 2) leave it."""

from __future__ import annotations

import os
from pathlib import Path

MEMORY_V1 = "memory.limit_in_bytes"


def memory_bytes(root: Path = Path("/")) -> int:
    """Memory this process may use, in bytes: the machine's, or the control group's limit where that is lower."""
    import psutil

    files = [folder / name for folder in _control_groups(root, "memory") for name in ("memory.max", MEMORY_V1)]
    limits = [int(text) for file in files if (text := _read(file)).isdigit()]
    return min([int(psutil.virtual_memory().total), *limits])


def cpu_quota(root: Path = Path("/")) -> float | None:
    """CPU time this process may use, in cores, as its control groups (version 1 or 2) limit it; None without a limit.

    Source: the kernel's documentation of `cpu.max` (cgroup-v2.rst) and `cpu.cfs_quota_us` (sched-bwc.rst).
    """
    cores = []
    for folder in _control_groups(root, "cpu"):
        unified = _read(folder / "cpu.max").split()
        legacy = [_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")]
        cores += [int(quota) / int(period) for quota, period in (unified or ["", ""], legacy) if quota.isdigit()]
    return min(cores, default=None)


def usable_cores() -> int:
    """Cores this process may run on: its affinity, bounded by a control group's quota."""
    cores = len(os.sched_getaffinity(0))
    quota = cpu_quota()
    return cores if quota is None else min(cores, max(1, int(quota)))


def throttled_s(root: Path = Path("/")) -> float:
    """Seconds for which a quota has kept this process's control groups off the CPU, summed over CPUs; 0 without one.

    Source: `throttled_usec` of `cpu.stat` (cgroup-v2.rst), or `throttled_time` in nanoseconds (sched-bwc.rst).
    """
    longest = 0.0
    for folder in _control_groups(root, "cpu"):
        for line in _read(folder / "cpu.stat").splitlines():
            key, _, number = line.partition(" ")
            unit = {"throttled_usec": 1e-6, "throttled_time": 1e-9}.get(key)
            if unit and number.isdigit():
                longest = max(longest, int(number) * unit)
    return longest


def _control_groups(root: Path, controller: str) -> list[Path]:
    """Folders of this process' control group and its ancestors, whose limits bind it as well.

    A group whose path is not mounted here (a container sees only its own part of the tree) has no files to read.
    """
    folders: list[Path] = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, controllers, group = line.split(":", 2)
        if number == "0" or controller in controllers.split(","):
            mount = root / "sys/fs/cgroup" / controllers  # version 2 has one tree and names no controllers
            own = mount / group.strip("/")
            folders += [own, *(parent for parent in own.parents if parent.is_relative_to(mount))]
    return folders


def _read(file: Path) -> str:
    """Text of a file the kernel may or may not offer; "" when it does not."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def available_memory_mib() -> float:
    """Memory a new process could use without swapping, MiB: the machine's, or what a control group allows if less."""
    import psutil

    return float(min(psutil.virtual_memory().available, memory_bytes())) / 2**20

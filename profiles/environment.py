"""What the machine is, and what it does while rounds are measured."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from keronyx.control_groups import throttled_s
from keronyx.control_groups import usable_cores as usable_cores
from keronyx.profiles import canary
from keronyx.types import Environment, RoundReading

CPU_FOLDER = Path("/sys/devices/system/cpu")


def read_environment(packages: Iterable[str]) -> Environment:
    """The machine as it is now, and the versions of the distributions that are installed."""
    import psutil

    found = {name: package_version(name) for name in sorted(set(packages))}
    return Environment(
        cpu=_cpu_name(),
        logical_cores=os.cpu_count() or 1,
        usable_cores=usable_cores(),
        memory_mib=psutil.virtual_memory().total // 2**20,
        last_level_cache_mib=last_level_cache_bytes() / 2**20,
        os=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        packages={name: number for name, number in found.items() if number},
        gpu=_gpu_names(),
        governor=_text(CPU_FOLDER / "cpu0/cpufreq/scaling_governor"),
        load_1min=round(os.getloadavg()[0], 2),
    )


def package_version(name: str) -> str:
    """Version of an installed distribution, or an empty string."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def last_level_cache_bytes() -> int:
    """Size of the largest cache of the first core; 0 when the system does not tell."""
    sizes = [_text(path) for path in (CPU_FOLDER / "cpu0/cache").glob("index*/size")]
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    return max((int(size[:-1]) * units[size[-1]] for size in sizes if size and size[-1] in units), default=0)


class SystemSensors:
    """Reads /proc once at each end of a round, never around a call.

    Args:
        workers: row id -> process id, whose CPU time is not "other".
        proc: where the kernel tells.
    """

    def __init__(self, workers: Mapping[str, int], proc: Path = Path("/proc")) -> None:
        self._pids = list(workers.values())
        self._proc = proc

    def begin(self) -> None:
        self._canary = canary.sing()
        self._throttled = throttled_s()
        self._before = self._read()

    def end(self, order: tuple[str, ...]) -> RoundReading:
        (machine, own), (machine_after, own_after) = self._before, self._read()
        total, steal, busy = (b - a for a, b in zip(machine, machine_after, strict=True))
        # A worker that died in the round took its count of CPU time with it.
        pairs = [(own[pid], own_after[pid]) for pid in own if pid in own_after]
        work = sum(b[0] - a[0] for a, b in pairs)
        switches = sum(b[1] - a[1] for a, b in pairs)
        total = max(total, 1e-9)
        return RoundReading(
            order,
            max(0.0, steal / total),
            max(0.0, (busy - work) / total),
            max(0, switches),
            canary_ns=self._canary[0],
            canary_cpu_ns=self._canary[1],
            throttled=max(0.0, throttled_s() - self._throttled) / total,
        )

    def _read(self) -> tuple[tuple[float, float, float], dict[int, tuple[float, int]]]:
        """Seconds of all CPU time, of steal and of work; for each of our processes its work and its switches.

        Sources: proc(5), /proc/stat (its first line counts guests in user and nice already) and /proc/pid/stat.
        """
        tick = os.sysconf("SC_CLK_TCK")
        fields = [int(value) / tick for value in (self._proc / "stat").read_text().split("\n", 1)[0].split()[1:9]]
        user, nice, system, _, _, irq, softirq, steal = fields
        own = {}
        for pid in [os.getpid(), *self._pids]:
            stat = _text(self._proc / f"{pid}/stat").rpartition(")")[2].split()
            if len(stat) > 12:
                own[pid] = ((int(stat[11]) + int(stat[12])) / tick, self._switches(pid))
        return (sum(fields), steal, user + nice + system + irq + softirq), own

    def _switches(self, pid: int) -> int:
        """Involuntary context switches of all threads (/proc/pid/status alone has those of the first)."""
        lines = [line for file in (self._proc / f"{pid}/task").glob("*/status") for line in _text(file).splitlines()]
        return sum(int(line.split()[1]) for line in lines if line.startswith("nonvoluntary_ctxt_switches:"))


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _cpu_name() -> str:
    for line in _text(Path("/proc/cpuinfo")).splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpu_names() -> str:
    names = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        names += [line.partition(":")[2].strip() for line in _text(path).splitlines() if line.startswith("Model:")]
    return ", ".join(names)

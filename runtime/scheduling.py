"""What the kernel's scheduler did to this process: how long its threads waited for a CPU, how often one lost it."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path

TASKS = Path("/proc/self/task")


@dataclass(frozen=True)
class Scheduling:
    """Totals since each thread started.

    `waited_ns` is run delay, the time ready to run without a CPU, by thread; empty where the kernel does not tell.
    `switches` counts involuntary context switches of the process.
    """

    waited_ns: dict[str, int]
    switches: int

    def since(self, before: Scheduling) -> tuple[int | None, int]:
        """Nanoseconds waited by threads that lived all along, or None; and switches."""
        waited = [ns - before.waited_ns[thread] for thread, ns in self.waited_ns.items() if thread in before.waited_ns]
        return (sum(waited) if waited else None), self.switches - before.switches


def read(tasks: Path = TASKS) -> Scheduling:
    """The totals now, from /proc/self/task/*/schedstat (the kernel's sched-stats.rst) and getrusage(2)."""
    waited = {}
    for folder in tasks.iterdir():
        try:
            waited[folder.name] = int((folder / "schedstat").read_text().split()[1])
        except (OSError, IndexError, ValueError):  # a thread that has just ended, or a kernel without these figures
            continue
    return Scheduling(waited, resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw)

"""What `profile` was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProfileOptions:
    """What `profile` was asked for.

    `runtimes` None means all; a thread count of 0 all usable cores; `budget_s` None what ten rounds need, between one
    minute and two and a half, shared among the settings; `processes` None as many process sets as the budget bears.
    """

    providers: tuple[str, ...] = ("cpu",)
    runtimes: tuple[str, ...] | None = None
    batches: tuple[int, ...] = (1,)
    threads: tuple[int, ...] = (0,)
    concurrency: tuple[int, ...] = (1,)
    processes: int | None = None
    budget_s: float | None = None
    max_rounds: int = 400
    turn_ms: float = 20.0
    timeout_s: float = 300.0
    memory_limit_mib: float | None = None
    seed: int = 0
    hot: bool = False
    data: Path | None = None
    image_size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Setting:
    """What all rows of one set of rounds have in common. `threads_named` says that the run compares thread counts."""

    batch: int
    threads: int
    concurrency: int = 1
    threads_named: bool = False

    @property
    def row_threads(self) -> int | None:
        """What `Row.threads` holds: the number only where a run compares several."""
        return self.threads if self.threads_named else None

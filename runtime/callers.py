"""Threads that call one session together."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from types import TracebackType


class Callers:
    """Threads that call together, kept from turn to turn, since a session may hold something for each of them.

    Close them at the end, or use them in a `with`.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count, "caller", _wake_promptly)

    def together(self, task: Callable[[int, threading.Event], None]) -> None:
        """Run `task(caller, stop)` for callers 0 .. count - 1, each in a thread of its own, and wait for all of them.

        What a task raises is raised here when all have returned. `stop` is set as soon as one has failed, or waiting
        for them was interrupted: tasks look at it before each call.
        """
        stop, assembled = threading.Event(), threading.Barrier(self.count)

        def guarded(caller: int) -> None:
            assembled.wait()  # so that no thread takes two of the tasks
            try:
                task(caller, stop)
            except BaseException:
                stop.set()
                raise

        futures = [self._pool.submit(guarded, caller) for caller in range(self.count)]
        try:
            wait(futures)
        finally:
            stop.set()
        for future in futures:
            future.result()

    def close(self) -> None:
        self._pool.shutdown()

    def __enter__(self) -> Callers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _wake_promptly() -> None:
    """Let this thread's sleeps end within microseconds: Linux otherwise lets them be 50 us late, in every latency.

    prctl(PR_SET_TIMERSLACK), see prctl(2). Halves the delay seen of about 100 us; the rest is the scheduler's.
    """
    if sys.platform == "linux":
        pr_set_timerslack = 29
        ctypes.CDLL(None).prctl(pr_set_timerslack, 1, 0, 0, 0)

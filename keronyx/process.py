"""A child process that takes orders: what isolates a conversion or a runtime from everything else.

The parent holds a `Child`; the child runs `serve` with its handlers. Orders and answers are JSON over a socket pair, so
nothing either side sends can execute code in the other, and whatever a library prints goes to the child's own log.
A crash, a hang or an exhausted memory ends the child alone and becomes one of the WorkerErrors.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import keronyx.errors as errors
from keronyx.errors import KeronyxError, WorkerError, WorkerMemoryError, WorkerTimeoutError

Message = dict[str, Any]
Handler = Callable[[Message], Message]

MIB = 2**20
POLL_S = 0.2
"""How often a watched child's memory is read (never during a timed round)."""

CLOSE_S = 5.0
"""How long a child may take to leave by itself."""

NOISE = re.compile(r"[IW]\d{4} |WARNING: All log messages before absl")
"""What TensorFlow writes at every start."""


class Child:
    """A running child process.

    Args:
        module: what `python -m` runs; it must call `serve`.
        env: environment variables added to the parent's.
        title: what error messages call it.

    The time from construction until `wait_ready` returns is the cost of starting Python itself.
    """

    def __init__(self, module: str, env: Mapping[str, str] | None = None, title: str = "") -> None:
        self.title = title or module
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        ours, theirs = socket.socketpair()
        package_parent = str(Path(__file__).resolve().parents[1])
        python_path = os.pathsep.join(p for p in (os.environ.get("PYTHONPATH", ""), package_parent) if p)
        self.started_ns = time.perf_counter_ns()
        # -P keeps the current folder off the path: a user's `onnx.py` must not shadow the library.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,  # Ctrl-C reaches the parent alone, which then ends the run in order
            env={**os.environ, "PYTHONPATH": python_path, **(env or {})},
        )
        theirs.close()
        self._channel = Connection(ours.detach())
        self._oom_kills = _oom_kills()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def wait_ready(self, timeout_s: float) -> float:
        """Wait until the child takes orders; return the seconds since it was started."""
        self._receive(timeout_s, None)
        return (time.perf_counter_ns() - self.started_ns) / 1e9

    def ask(self, order: str, timeout_s: float, memory_limit_mib: float | None = None, **arguments: Any) -> Message:
        """Send one order and wait for its answer.

        Raises the KeronyxError the child raised, or WorkerTimeoutError, WorkerMemoryError (with `memory_limit_mib`,
        when its resident memory passes it), WorkerError when the process died. The child is dead after these three.
        """
        try:
            self._channel.send_bytes(json.dumps({"order": order, **arguments}).encode())
        except OSError:
            raise self._death() from None
        return self._receive(timeout_s, memory_limit_mib)

    def _receive(self, timeout_s: float, memory_limit_mib: float | None) -> Message:
        deadline = time.monotonic() + timeout_s
        while True:
            left = deadline - time.monotonic()
            try:
                answered = self._channel.poll(max(0.0, left if memory_limit_mib is None else min(left, POLL_S)))
                answer = json.loads(self._channel.recv_bytes()) if answered else None
            except (EOFError, OSError):
                raise self._death() from None
            if answer is not None:
                return _raise_if_error(answer)
            if memory_limit_mib is not None and (used := resident_mib(self.pid)) > memory_limit_mib:
                self.kill()
                raise WorkerMemoryError(
                    f"{self.title} used {used:,.0f} MiB, more than its limit of {memory_limit_mib:,.0f} MiB",
                    "use a smaller model or batch, or raise --memory-limit",
                )
            if time.monotonic() >= deadline:
                self.kill()
                raise WorkerTimeoutError(
                    f"{self.title} did not answer within {timeout_s:g} s", "raise --timeout if it only needs longer"
                )

    def _death(self) -> WorkerError:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._process.wait()
        said = self.log_tail()
        ending = f": {said}" if said else ""
        if code == -signal.SIGKILL:
            if _oom_kills() > self._oom_kills:
                return WorkerMemoryError(f"{self.title} was killed: the system ran out of memory", "free some memory")
            return WorkerError(
                f"{self.title} was killed (SIGKILL)", "often the system running out of memory: see dmesg"
            )
        if code < 0:
            return WorkerError(f"{self.title} crashed ({signal.Signals(-code).name}){ending}")
        return WorkerError(f"{self.title} ended with exit code {code}{ending}")

    def log_tail(self, lines: int = 3) -> str:
        """The last lines that say something of what the child wrote, joined into one."""
        try:
            size = self._log.seek(0, os.SEEK_END)
            self._log.seek(max(0, size - 8192))
            text = self._log.read().decode(errors="replace")
        except ValueError:  # already closed
            return ""
        kept = [line.strip() for line in text.splitlines() if line.strip() and not NOISE.match(line)]
        return " | ".join(kept[-lines:])

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """End the child: it leaves by itself when the channel closes, and is killed when it does not."""
        self._channel.close()
        try:
            self._process.wait(timeout=CLOSE_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._log.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(handlers: Mapping[str, Handler]) -> None:
    """Run in the child: announce readiness, then answer orders until the parent goes away.

    A KeronyxError raised by a handler reaches the parent as itself; any other exception as a WorkerError with its
    type and message, its traceback going to the log.
    """
    _die_with_parent()
    channel = Connection(int(sys.argv[1]))
    channel.send_bytes(b"{}")
    while True:
        try:
            message = json.loads(channel.recv_bytes())
        except (EOFError, OSError):
            break
        try:
            answer = json.dumps(handlers[message.pop("order")](message))
        except KeronyxError as error:
            answer = _error(type(error).__name__, error.message, error.remedy)
        except MemoryError:
            answer = _error("WorkerMemoryError", "ran out of memory", "free some memory")
        except BaseException as error:
            traceback.print_exc()
            answer = _error("WorkerError", first_line(error))
        try:
            channel.send_bytes(answer.encode())
        except OSError:
            break
    # Interpreter shutdown of TensorFlow and of GPU libraries takes seconds and can crash; nothing is left to save.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _error(kind: str, message: str, remedy: str = "") -> str:
    return json.dumps({"error": kind, "message": message, "remedy": remedy})


def one_line(error: BaseException, limit: int = 240) -> str:
    """What an exception says, on one line, without terminal colours; its type when it says nothing."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    return " ".join(text.split())[:limit] or type(error).__name__


def first_line(error: BaseException, limit: int = 300) -> str:
    """An exception as one line: its type and what it says."""
    kind, said = type(error).__name__, one_line(error, limit)
    return (kind if said == kind else f"{kind}: {said}")[:limit]


def resident_mib(pid: int | None = None) -> float:
    """Resident memory of a process, MiB; 0 when it is gone."""
    try:
        pages = int(Path(f"/proc/{pid or os.getpid()}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def peak_resident_mib() -> float:
    """Highest resident memory this process ever had, MiB (VmHWM; `ru_maxrss` also counts what was inherited)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _raise_if_error(answer: Message) -> Message:
    if "error" not in answer:
        return answer
    kind = getattr(errors, str(answer["error"]), WorkerError)
    if not (isinstance(kind, type) and issubclass(kind, KeronyxError)):
        kind = WorkerError
    raise kind(str(answer["message"]), str(answer["remedy"]))


def _die_with_parent() -> None:
    """Leave no process behind when the parent is killed, and let the OOM killer take this one before its parent."""
    with contextlib.suppress(OSError, AttributeError):
        pr_set_pdeathsig = 1  # linux/prctl.h
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _oom_kills() -> int:
    """How often the OOM killer struck: in this control group, or on the machine where that is not told."""
    for path, key in (("/sys/fs/cgroup/memory.events", "oom_kill"), ("/proc/vmstat", "oom_kill")):
        with contextlib.suppress(OSError):
            for line in Path(path).read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == key:
                    return int(value)
    return 0

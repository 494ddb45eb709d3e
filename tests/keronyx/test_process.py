"""A child process may crash, hang, leak, lie and shout; the parent gets one line, and keeps going."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from keronyx.errors import ExportError, KeronyxError, WorkerError, WorkerMemoryError, WorkerTimeoutError
from keronyx.process import Child, first_line, one_line, peak_resident_mib, resident_mib

WORKER = """
import os, signal, sys, time
from keronyx.errors import ExportError
from keronyx.process import serve

kept = []

def fail(order):
    raise ExportError("cannot", "try")

def crash(order):
    os.kill(os.getpid(), order["signal"])

def unknown(order):
    class Odd(ExportError):
        pass
    raise Odd("odd", "still")

def several_lines(order):
    raise ValueError("first\\n\\n  second")

def leave(order):
    sys.stderr.write("I0000 00:00 noise\\nlast words\\n")
    sys.stderr.flush()
    os._exit(order["code"])

def grow(order):
    kept.append(bytearray(os.urandom(1) * (order["mib"] * 2**20)))
    time.sleep(order["seconds"])
    return {}

def shout(order):
    print('{"error": "on stdout"}' * 5000)
    os.write(1, b"\\x00\\xff" * 1000)
    os.write(2, b"{}" * 1000)
    return {"heard": order["text"]}

def exhaust(order):
    raise MemoryError

serve({
    "echo": lambda order: order,
    "fail": fail, "crash": crash, "unknown": unknown, "several_lines": several_lines, "leave": leave, "grow": grow,
    "shout": shout, "exhaust": exhaust,
    "exit": lambda order: sys.exit(3),
    "hang": lambda order: time.sleep(60) or {},
    "unserialisable": lambda order: {"x": object()},
})
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "obedient_worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "obedient_worker"


@pytest.fixture
def child(module: str) -> Iterator[Child]:
    with Child(module, title="the row") as started:
        assert started.wait_ready(30) > 0
        yield started


def test_an_order_is_answered(child: Child) -> None:
    assert child.ask("echo", 10, text="ä", numbers=[1, None, 2.5]) == {"text": "ä", "numbers": [1, None, 2.5]}


def test_what_libraries_print_reaches_neither_the_channel_nor_the_terminal(
    child: Child, capfd: pytest.CaptureFixture[str]
) -> None:
    assert child.ask("shout", 10, text="x") == {"heard": "x"}
    assert child.ask("echo", 10, text="y") == {"text": "y"}
    assert capfd.readouterr() == ("", "")


def test_an_error_arrives_as_itself_and_the_child_lives(child: Child) -> None:
    with pytest.raises(ExportError) as error:
        child.ask("fail", 10)
    assert (error.value.message, error.value.remedy) == ("cannot", "try")
    assert child.ask("echo", 10) == {}


@pytest.mark.parametrize(
    ("order", "kind", "message"),
    [
        ("unknown", WorkerError, "odd"),
        ("several_lines", WorkerError, "ValueError: first second"),
        ("exhaust", WorkerMemoryError, "ran out of memory"),
        ("exit", WorkerError, "SystemExit: 3"),
        ("no such order", WorkerError, "KeyError: 'no such order'"),
        ("unserialisable", WorkerError, "TypeError: Object of type object is not JSON serializable"),
    ],
)
def test_any_other_exception_is_a_worker_error_of_one_line(
    child: Child, order: str, kind: type[KeronyxError], message: str
) -> None:
    with pytest.raises(kind) as error:
        child.ask(order, 10)
    assert error.value.message == message
    assert child.ask("echo", 10) == {}


def test_an_error_class_that_does_not_exist_is_a_worker_error(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    from keronyx import process

    for name in ("Nothing", "annotations", "__doc__"):
        with pytest.raises(WorkerError, match="said"):
            process._raise_if_error({"error": name, "message": "said", "remedy": ""})


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT"])
def test_a_crash_is_named_by_its_signal(child: Child, name: str) -> None:
    with pytest.raises(WorkerError, match=rf"the row crashed \({name}\)"):
        child.ask("crash", 10, signal=getattr(signal, name))
    assert not child.alive
    with pytest.raises(WorkerError, match="crashed"):
        child.ask("echo", 10)


def test_being_killed_is_told_from_running_out_of_memory(child: Child) -> None:
    with pytest.raises(WorkerError, match="was killed") as error:
        child.ask("crash", 10, signal=signal.SIGKILL)
    assert not isinstance(error.value, WorkerMemoryError)


def test_an_exit_code_comes_with_the_last_words_and_without_noise(child: Child) -> None:
    with pytest.raises(WorkerError) as error:
        child.ask("leave", 10, code=7)
    assert error.value.message == "the row ended with exit code 7: last words"


def test_a_hang_ends_in_time_and_leaves_no_process(child: Child) -> None:
    with pytest.raises(WorkerTimeoutError, match=r"the row did not answer within 0\.3 s"):
        child.ask("hang", 0.3)
    assert not psutil.pid_exists(child.pid)


def test_a_child_past_its_memory_limit_is_killed(child: Child) -> None:
    limit = resident_mib(child.pid) + 100
    with pytest.raises(WorkerMemoryError, match="more than its limit"):
        child.ask("grow", 60, memory_limit_mib=limit, mib=300, seconds=60)
    assert not child.alive


def test_a_child_within_its_memory_limit_answers(child: Child) -> None:
    assert child.ask("grow", 60, memory_limit_mib=resident_mib(child.pid) + 300, mib=10, seconds=0.5) == {}


def test_a_module_that_cannot_start_says_why(tmp_path: Path) -> None:
    with Child("no_such_module_anywhere") as started, pytest.raises(WorkerError, match="No module named"):
        started.wait_ready(30)


def test_closing_twice_and_after_a_crash_is_harmless(module: str) -> None:
    child = Child(module)
    child.wait_ready(30)
    pid = child.pid
    child.close()
    child.close()
    assert not psutil.pid_exists(pid)
    with Child(module) as crashed:
        crashed.wait_ready(30)
        crashed.kill()
        crashed.kill()
    assert crashed.log_tail() == ""


def test_closing_ends_a_child_that_does_not_listen(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from keronyx import process

    monkeypatch.setattr(process, "CLOSE_S", 0.2)
    child = Child(module)
    child.wait_ready(30)
    child._channel.send_bytes(b'{"order": "hang"}')
    time.sleep(0.3)
    child.close()
    assert not child.alive


def test_the_child_dies_with_its_parent(module: str, tmp_path: Path) -> None:
    script = (
        "import os, sys, time\n"
        "from keronyx.process import Child\n"
        f"child = Child({module!r}); child.wait_ready(30)\n"
        'print(child.pid, flush=True); child._channel.send_bytes(b\'{"order": "hang"}\'); time.sleep(60)\n'
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert psutil.pid_exists(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.05)


def test_a_module_of_the_users_named_like_a_library_does_not_shadow_it(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "json.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(elsewhere)
    with Child(module) as child:
        child.wait_ready(30)


def test_one_line_is_one_line_without_colours() -> None:
    assert one_line(ValueError("\x1b[1mbold\x1b[0m\n\n  more\t!")) == "bold more !"
    assert one_line(ValueError("")) == "ValueError"
    assert first_line(ValueError("x\ny")) == "ValueError: x y"
    assert first_line(ValueError("")) == "ValueError"
    assert len(first_line(ValueError("x" * 1000))) == 300


def test_memory_figures_are_of_the_process_asked_for() -> None:
    assert 1 < resident_mib() <= peak_resident_mib() + 1
    assert resident_mib(os.getpid()) == pytest.approx(resident_mib(), rel=0.2)
    assert resident_mib(2**22 + 1) == 0.0

"""A row's own process: what it answers, and what becomes of the run when it crashes, hangs or eats the memory."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from keronyx.errors import WorkerError, WorkerMemoryError, WorkerTimeoutError
from keronyx.runtime.handle import Worker, environment
from keronyx.types import ModelSpec, SessionRequest, TensorSpec

SPEC = ModelSpec("m", "m", (TensorSpec("x", (1, 2), "float32"),), (TensorSpec("y", (1, 3), "int32"),), 0, "")
REQUEST = SessionRequest("nowhere", SPEC, "cpu", 1)


@pytest.fixture
def inputs(tmp_path: Path) -> list[Path]:
    np.save(tmp_path / "input-0.npy", np.zeros((2, 1, 2), "float32"))
    return [tmp_path / "input-0.npy"]


def after(calls: int):
    """Warm after so many calls, the first included."""
    return lambda milliseconds: len(milliseconds) >= calls


def worker(runtime: str, timeout_s: float = 60, memory_limit_mib: float | None = None) -> Worker:
    return Worker("row", f"keronyx.runtime.fake:{runtime}", REQUEST, timeout_s, memory_limit_mib)


def test_a_worker_opens_warms_up_and_takes_turns(inputs, tmp_path):
    one = worker("WELL_BEHAVED")
    try:
        opened = one.open(inputs, 2, tmp_path, after(4))
        assert opened.outputs == SPEC.outputs and opened.inputs == SPEC.inputs
        assert len(opened.cold.warmup_ms) == 3 and len(opened.files) == 2
        assert np.load(opened.files[1][0]).shape == (1, 3)
        assert opened.cold.start_s > 0 and opened.cold.peak_rss_mib > 5
        taken = one.turn(5, 5_000_000)
        assert len(taken.wall_ns) == len(taken.cpu_ns) >= 1 and min(taken.wall_ns) >= 1_000_000
        assert one.profile().assigned == {"cpu": 1}
    finally:
        one.close()
    assert not Path(f"/proc/{one.pid}").exists()


def test_a_worker_answers_what_is_streamed_to_it_without_warming_up(tmp_path):
    one = worker("HONEST")
    np.save(tmp_path / "x.npy", np.full((1, 2), 1.5, "float32"))
    try:
        assert one.load().assigned == {"cpu": 1}
        first = one.answer([tmp_path / "x.npy"], tmp_path)
        given = np.load(first.files[0])
        assert given.tolist() == [(100 + 100 * np.sin(np.arange(3) + 1.5)).astype("int32").tolist()]
        np.save(tmp_path / "x.npy", np.zeros((1, 2), "float32"))
        again = one.answer([tmp_path / "x.npy"], tmp_path)
        assert again.files == first.files and (np.load(again.files[0]) != given).any() and again.milliseconds > 0
    finally:
        one.close()


def test_a_worker_that_is_open_for_turns_answers_too(inputs, tmp_path):
    one = worker("HONEST")
    np.save(tmp_path / "x.npy", np.ones((1, 2), "float32"))
    try:
        before = [np.load(files[0]) for files in one.open(inputs, 2, tmp_path, after(3)).files]
        one.answer([tmp_path / "x.npy"], tmp_path)
        assert one.turn(0, 1).wall_ns
        assert all((np.load(tmp_path / f"row-{k}-0.npy") == kept).all() for k, kept in enumerate(before))
    finally:
        one.close()


def test_a_crash_at_once_names_the_signal(inputs, tmp_path):
    with pytest.raises(WorkerError, match=r"^row crashed \(SIGSEGV\)"):
        worker("CRASHING_AT_ONCE").open(inputs, 1, tmp_path, after(4))


def test_a_crash_in_a_turn_ends_that_worker_alone(inputs, tmp_path):
    crashing, sound = worker("CRASHING"), worker("WELL_BEHAVED")
    crashing.open(inputs, 1, tmp_path, after(5))
    sound.open(inputs, 1, tmp_path, after(5))
    with pytest.raises(WorkerError, match="SIGSEGV"):
        crashing.turn(0, 50_000_000)
    with pytest.raises(WorkerError):  # and stays dead, without a hang
        crashing.turn(0, 50_000_000)
    assert sound.turn(0, 1).wall_ns
    crashing.close()
    sound.close()


def test_a_hang_is_a_timeout_and_the_process_is_gone(inputs, tmp_path):
    one = worker("HANGING")
    one.open(inputs, 1, tmp_path, after(5))
    one._timeout_s = 1
    with pytest.raises(WorkerTimeoutError, match="row did not answer within 1 s"):
        one.turn(0, 50_000_000)
    assert not Path(f"/proc/{one.pid}").exists()
    one.close()


def test_a_row_that_grows_past_its_limit_is_killed(inputs, tmp_path):
    with pytest.raises(WorkerMemoryError, match="more than its limit of 400 MiB"):
        worker("HUNGRY", memory_limit_mib=400).open(inputs, 1, tmp_path, after(2))


def test_a_worker_killed_from_outside_says_so(inputs, tmp_path):
    one = worker("WELL_BEHAVED")
    one.open(inputs, 1, tmp_path, after(2))
    os.kill(one.pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match="SIGKILL"):
        one.turn(0, 1)
    one.close()


def test_a_runtime_that_raises_is_an_error_in_one_line(inputs, tmp_path):
    with pytest.raises(WorkerError) as raised:
        worker("NO_SUCH_RUNTIME").open(inputs, 1, tmp_path, after(2))
    assert "NO_SUCH_RUNTIME" in str(raised.value) and "\n" not in str(raised.value)


def test_only_gpu_rows_see_a_gpu():
    assert environment("cpu", 3)["CUDA_VISIBLE_DEVICES"] == "-1"
    assert "CUDA_VISIBLE_DEVICES" not in environment("cuda", 3)
    assert environment("cuda", 3)["OMP_NUM_THREADS"] == "3"

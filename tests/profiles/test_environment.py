"""The machine, and what it did in a round, read from a /proc made for the test."""

from __future__ import annotations

import os

import pytest

from keronyx import control_groups
from keronyx.profiles import environment
from keronyx.profiles.environment import SystemSensors, last_level_cache_bytes, package_version, read_environment

TICK = os.sysconf("SC_CLK_TCK")
WORKER = 4_000_001  # above the kernel's largest process id


def machine(proc, user=0, idle=0, steal=0, guest=0, processes=None):
    """Seconds of each kind; for each process its seconds and the switches of its threads."""
    counts = [user * TICK, 0, 0, idle * TICK, 0, 0, 0, steal * TICK, guest * TICK, 0]
    (proc / "stat").write_text("cpu  " + " ".join(map(str, counts)) + "\ncpu0 1 2 3\nintr 5\n")
    for pid, (seconds, threads) in (processes or {}).items():
        (proc / f"{pid}").mkdir(exist_ok=True)
        before = " ".join(["0"] * 10)
        (proc / f"{pid}/stat").write_text(f"{pid} (odd) name (x) S {before} {seconds * TICK} 0 0 0\n")
        for number, switches in enumerate(threads):
            (proc / f"{pid}/task/{number}").mkdir(parents=True, exist_ok=True)
            text = f"Name:\tx\nvoluntary_ctxt_switches:\t9\nnonvoluntary_ctxt_switches:\t{switches}\n"
            (proc / f"{pid}/task/{number}/status").write_text(text)


def read(proc, before, after):
    machine(proc, **before)
    sensors = SystemSensors({"row": WORKER}, proc)
    sensors.begin()
    after(proc)
    return sensors.end(("row", "control"))


def test_steal_and_the_work_of_others_are_shares_of_all_cpu_time(tmp_path):
    reading = read(
        tmp_path,
        {"user": 100, "idle": 50, "steal": 10, "guest": 77, "processes": {WORKER: (30, [5, 6])}},
        lambda proc: machine(proc, 106, 52, 12, 99, {WORKER: (34, [7, 9])}),
    )
    assert reading.order == ("row", "control")
    assert reading.steal == pytest.approx(0.2)  # 2 of 10 seconds; guest time is in user already
    assert reading.other == pytest.approx(0.2)  # 6 of work, 4 of them the worker's
    assert reading.involuntary_switches == 5  # of both threads


def test_a_worker_that_dies_takes_its_count_along_and_is_nobody_elses_work(tmp_path):
    def dies(proc):
        machine(proc, 104, 56)
        (proc / f"{WORKER}/stat").unlink()

    reading = read(tmp_path, {"user": 100, "idle": 50, "processes": {WORKER: (30, [5])}}, dies)
    assert reading.other == pytest.approx(0.4) and reading.involuntary_switches == 0


def test_a_round_shorter_than_a_tick_divides_by_nothing(tmp_path):
    reading = read(tmp_path, {"user": 100}, lambda proc: None)
    assert (reading.steal, reading.other, reading.involuntary_switches) == (0, 0, 0)


def test_the_real_proc_can_be_read():
    sensors = SystemSensors({"row": os.getpid()})
    sensors.begin()
    reading = sensors.end(())
    assert 0 <= reading.steal <= 1 and reading.other >= 0


def test_the_environment_names_the_machine_and_only_what_is_installed():
    found = read_environment(["numpy", "no-such-distribution", "numpy"])
    assert list(found.packages) == ["numpy"] and found.packages["numpy"] == package_version("numpy")
    assert found.cpu and found.memory_mib > 100 and 1 <= found.usable_cores <= found.logical_cores


def test_the_last_level_cache_is_the_largest_of_the_first_core(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "CPU_FOLDER", tmp_path)
    assert last_level_cache_bytes() == 0
    for index, size in enumerate(["48K", "2048K", "33M", "junk", ""]):
        (tmp_path / f"cpu0/cache/index{index}").mkdir(parents=True)
        (tmp_path / f"cpu0/cache/index{index}/size").write_text(size + "\n")
    assert last_level_cache_bytes() == 33 * 2**20


@pytest.mark.parametrize(("quota", "cores"), [(1.5, 1), (None, 8), (0.5, 1), (16.0, 8)])
def test_a_quota_bounds_the_usable_cores(quota, cores, monkeypatch):
    monkeypatch.setattr(control_groups, "cpu_quota", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    assert environment.usable_cores() == cores

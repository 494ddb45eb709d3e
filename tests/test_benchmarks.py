"""The benchmarks of keronyx's own measuring: what they conclude where the truth is known, and that they run."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from keronyx.profiles import environment
from keronyx.profiles.measure import Measured
from keronyx.profiles.stats import Comparison
from keronyx.runtime.fake import FakeClock, FakeSession
from keronyx.types import Plan, RoundReading, Samples, Turn

FOLDER = Path(__file__).parents[1] / "benchmarks"
MACHINE = environment.read_environment([])
PLAN = Plan((), {"b1": "reference"}, 0, 1, 60.0, 20, 32, 20.0, 1.0, "x", 8)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a benchmark, which finds the files beside it, by its name."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for name in ("trials", "judging", "measuring", "slowed", "floor"):
        sys.modules.pop(name, None)


@pytest.fixture
def judging(load: Any) -> Any:
    return load("judging")


def trial(
    judging: Any, seed: int, noise: float, process_set: int = 1, block_drift: float = 0.0, **slower: float
) -> Any:
    """Twenty rounds of one call, with what all rows share and noise of their own; blocks that drift one by one.

    `slower` says by how much a row is slower than the reference, as a logarithm, by its name with `_` for `-`.
    """
    random = np.random.default_rng(seed)
    shared = random.normal(0, 0.2, 20)

    def samples(name: str) -> Samples:
        logs = shared + random.normal(0, noise, 20) + slower.get(name.replace("-", "_"), 0.0)
        wall = tuple((round(5e6 * float(np.exp(log))),) for log in logs)
        return Samples(wall, wall)

    rows = {name: samples(name) for name in (judging.REFERENCE, *judging.EQUAL, judging.SLOWED)}
    readings = tuple(RoundReading(tuple(rows), 0.0, 0.0, 0) for _ in range(20))
    blocks = {}
    for i, name in enumerate((judging.REFERENCE, *judging.EQUAL)):
        walls = tuple(round(5e6 * float(np.exp(log))) for log in random.normal(i * block_drift, 0.02, 80))
        blocks[name] = Turn(walls, walls)
    trials = sys.modules["trials"]
    return trials.Trial(process_set, Measured(rows, samples("control"), readings, {}, "rounds"), blocks)


def by_name(judging: Any, trials: list[Any]) -> dict[str, Any]:
    return {count.name: count for count in judging.counts(trials, PLAN, MACHINE)}


def test_drift_fools_blocks_and_not_rounds(judging):
    found = by_name(judging, [trial(judging, seed, 0.01, block_drift=0.1, slowed=0.0953) for seed in range(20)])
    assert found["equal row called different: keronyx's verdict"].k == 0
    assert found["- one after the other, Mann-Whitney p < 0.05"].k == 20
    assert found["- one after the other, the same on CPU time"].k == 20
    assert found["- one after the other, means more than 5 % apart"].k == 20
    assert found["slowdown of 10 % called slower: keronyx's verdict"].k == 20
    assert found["slowdown of 10 % called faster"].k == 0


def test_either_equal_row_counts_and_neither_the_slowed_nor_a_calm_block(judging):
    found = by_name(judging, [trial(judging, seed, 0.01, equal_2=-0.1, slowed=0.0953) for seed in range(5)])
    assert found["equal row called different: keronyx's verdict"].k == 5
    assert found["- margin 2 % whatever A/A' shows"].k == found["- no margin"].k == 5
    assert found["- one after the other, means more than 5 % apart"].k == 0
    calm = by_name(judging, [trial(judging, seed, 0.01, slowed=0.0953) for seed in range(5)])
    assert calm["- margin 2 % whatever A/A' shows"].k == 0


def test_the_interval_holds_the_true_slowdown_as_often_as_it_says(judging):
    reports = [
        judging.report_of([trial(judging, seed, 0.03, slowed=float(np.log(1.1)))], PLAN, MACHINE) for seed in range(200)
    ]
    assert 190 <= sum(judging.holds(report, judging.SLOWED, 1.1) for report in reports) <= 200
    assert sum(judging.holds(report, judging.SLOWED, 1.2) for report in reports) <= 5


def test_pooled_runs_take_one_trial_of_each_of_five_process_sets(judging):
    trials = [trial(judging, 10 * k + i, 0.01, process_set=k) for k in range(1, 12) for i in range(3)]
    runs = judging.pooled(trials)
    assert [[one.process_set for one in run] for run in runs] == [[1, 2, 3, 4, 5]] * 3 + [[6, 7, 8, 9, 10]] * 3
    assert len({id(one) for run in runs for one in run}) == 30
    report = judging.report_of(runs[0], PLAN, MACHINE)
    assert len(report.rounds) == len(report.control["b1"].wall_ns) == 100
    assert [one.process_set for one in report.rounds] == [k for k in range(1, 6) for _ in range(20)]


def test_a_process_with_bad_luck_fools_one_set_and_not_five(judging):
    luck = enumerate((-0.06, 0.05, -0.04, 0.06, -0.05), 1)
    trials = [trial(judging, 10 * k + i, 0.005, process_set=k, equal_1=slower) for k, slower in luck for i in range(10)]
    found = by_name(judging, trials)
    assert found["equal row called different: keronyx's verdict"].k >= 45
    assert found["- rounds of 5 process sets together"].k == 0


def test_spread_between_processes_is_told_from_that_within(judging):
    luck = np.random.default_rng(1).normal(0, 0.03, (2, 31))
    trials = [
        trial(judging, 10 * k + i, 0.02, process_set=k, equal_1=float(luck[0, k]), equal_2=float(luck[1, k]))
        for k in range(1, 31)
        for i in range(3)
    ]
    control, others = judging.spreads(trials)
    assert 0.7 <= control.factor <= 1.4
    assert others.between == pytest.approx(0.03, rel=0.25) and others.factor > 4


def test_two_process_sets_have_no_spread(judging):
    assert judging.spreads([trial(judging, k, 0.02, process_set=k) for k in (1, 2)]) == []


@pytest.mark.parametrize(("k", "missed"), [(0, False), (2, False), (5, False), (6, True), (40, True)])
def test_the_bound_is_clearly_missed_from_six_of_a_hundred(judging, k, missed):
    assert judging.Count("x", k, 100, 0.02).clearly_missed() is missed
    assert not judging.Count("x", k, 100).clearly_missed()


def test_exact_intervals_are_clopper_and_pearsons(judging):
    low, high = judging.Count("x", 0, 100).interval()
    assert low == 0 and high == pytest.approx(1 - 0.025 ** (1 / 100))
    assert judging.Count("x", 0, 0).interval() == (0.0, 1.0)


def test_cpu_time_is_judged_by_cpu_time(judging):
    one = trial(judging, 1, 0.01, equal_1=0.1)
    quiet = {name: replace(s, cpu_ns=one.rounds.samples["reference"].wall_ns) for name, s in one.rounds.samples.items()}
    control = replace(one.rounds.control, cpu_ns=one.rounds.samples["reference"].wall_ns)
    one = replace(one, rounds=replace(one.rounds, samples=quiet, control=control))
    assert judging.verdicts(judging.report_of([one], PLAN, MACHINE))["equal-1"] is Comparison.SLOWER
    assert judging.verdicts(judging.report_of([one], PLAN, MACHINE, cpu=True))["equal-1"] is Comparison.EQUIVALENT


# --- the slowed row ---------------------------------------------------------------------------------------------------


def test_the_slowed_row_takes_a_tenth_longer_and_answers_the_same(load):
    slowed = load("slowed")
    clock = FakeClock()

    def ticking() -> int:
        clock.advance(1_000)
        return clock.now

    session = slowed.SlowedSession(FakeSession(clock, lambda call: 5_000_000), ticking)
    before = clock.now
    assert session.run([np.ones(1)]) == [np.ones(1)]
    assert clock.now - before == pytest.approx(5_500_000, rel=0.001)


# --- the page ---------------------------------------------------------------------------------------------------------


def test_only_what_is_between_the_markers_is_replaced(load):
    measuring = load("measuring")
    page = f"before\n{measuring.BEGIN}\nold\n{measuring.END}\nafter\n"
    once = measuring.replaced(page, "| new |\n")
    assert once == f"before\n{measuring.BEGIN}\n| new |\n{measuring.END}\nafter\n"
    assert measuring.replaced(once, "| new |\n") == once
    with pytest.raises(SystemExit):
        measuring.replaced("no markers", "x")


def test_the_page_on_measuring_has_the_markers(load):
    page = (FOLDER.parent / "docs" / "measuring.md").read_text()
    assert "x y z" in load("measuring").replaced(page, "x y z")


def test_the_table_says_share_interval_and_bound(load):
    measuring, judging = load("measuring"), load("judging")
    counts = [judging.Count("a", 1, 100, 0.02), judging.Count("b", 3, 100, 0.02), judging.Count("c", 9, 100, 0.02)]
    page = measuring.markdown([*counts, judging.Count("d", 0, 0)], [judging.Spread("s", 0.03, 0.01)], ["machine"])
    assert "| a | 1 of 100 | 1.0% [0.0%, 5.4%] | <= 2%: met |" in page
    assert "| b | 3 of 100 | 3.0% [0.6%, 8.5%] | <= 2%: not met, and not clearly missed |" in page
    assert "| c | 9 of 100 | 9.0% [4.2%, 16.4%] | <= 2%: missed |" in page
    assert "| d | 0 of 0 |  |  |" in page
    assert "| s | 3.00% | 1.00% | 3.0 |" in page and page.endswith("\n- machine\n")
    lines = [line.split() for line in measuring.plain(page).splitlines()]
    assert ["a", "1", "of", "100", "1.0%", "[0.0%,", "5.4%]", "<=", "2%:", "met"] in lines
    assert not any("|" in word for line in lines for word in line)


def test_the_page_names_what_repeats_the_run_and_no_path(load):
    asked = SimpleNamespace(
        trials=2, rounds=6, threads=1, network="enet", image_size="96x120", export=Path("/home/me/enet"), json="/tmp/x"
    )
    command = load("measuring").command(asked)
    assert command == "python benchmarks/measuring.py --trials 2 --rounds 6 --threads 1 --export enet"
    asked.export = None
    assert load("measuring").command(asked).endswith("--network enet --image-size 96x120")


# --- the real thing ---------------------------------------------------------------------------------------------------


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_trials_run_through_real_workers_and_come_out_as_table_json_and_page(segmenter_export, tmp_path):
    page, stored = tmp_path / "page.md", tmp_path / "trials.json"
    page.write_text("<!-- measured: begin --><!-- measured: end -->")
    options = ["--trials", 2, "--rounds", 6, "--export", segmenter_export, "--json", stored, "--write", page]
    done = run(FOLDER / "measuring.py", *options, "--markdown")
    assert done.returncode == 0, done.stderr
    found = json.loads(stored.read_text())
    assert len(found["trials"]) == 2 and found["counts"][0]["of"] == 2
    rows = found["trials"][0]["wall_ns"]
    assert set(rows) == {"reference", "equal-1", "equal-2", "slowed", "control"}
    assert all(len(values) == 6 and min(values) > 0 for values in rows.values())
    assert all(len(block["wall_ns"]) > 20 for block in found["trials"][0]["blocks"].values())
    assert done.stdout.startswith("| what | trials |") and done.stdout.rstrip() in page.read_text()


@pytest.mark.slow
def test_the_floor_is_called_in_c_answers_right_and_every_bound_has_a_verdict():
    """The benchmark itself refuses a wrong answer, which a wrong place in OrtApi would give, or a crash."""
    if not shutil.which("cc"):
        pytest.skip("no C compiler")
    done = run(FOLDER / "floor.py")
    assert done.returncode == 0, done.stderr
    assert "OrtApi::Run in C" in done.stdout and "left out" not in done.stdout
    assert done.stdout.count("above the floor") == 3 and done.stdout.count("to hold: <= ") == 2


def test_without_a_compiler_the_floor_is_left_out(load, tmp_path, monkeypatch):
    floor = load("floor")
    monkeypatch.setattr(floor, "shutil", SimpleNamespace(which=lambda name: None))
    assert floor.in_c(tmp_path, tmp_path / "model.onnx") == "no C compiler"


@pytest.mark.slow
def test_what_the_timed_loop_adds_is_printed_with_its_bound():
    done = run(FOLDER / "overhead.py")
    assert done.returncode == 0 and "to hold: <= 0.3 us" in done.stdout, done.stderr

"""Runs of several settings, sets of processes, callers; runs that are resumed, and two models interleaved."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest

from keronyx import pipeline
from keronyx.errors import ReportError, UsageError, WorkerError
from keronyx.pipeline import ProfileOptions, Silent, opening, preparation, profile, rounds, sweep
from keronyx.pipeline.asked import Setting
from keronyx.pipeline.resume import first_rounds, refuse_other_machine
from keronyx.profiles import store, table
from keronyx.profiles.compare import compare, interleaved
from keronyx.types import Gate, Plan, Row, Samples, Status, Verdict

OPTIONS = ProfileOptions(max_rounds=3, budget_s=20, timeout_s=60, threads=(1,), processes=1, hot=False)
MS = 1_000_000


def of(export: Path, **changes):
    """Profile with the exported files at whatever batch."""
    progress = Silent()
    exported = preparation(export, None, progress)(1, ("keras",))
    return profile(lambda *_: exported, dataclasses.replace(OPTIONS, **changes), progress)


def names(report):
    return [row.id.partition(":")[2] for row in report.rows]


# --- which settings


def test_batches_are_swept_for_each_thread_count_and_number_of_callers():
    options = ProfileOptions(batches=(1, 8), threads=(1, 2), concurrency=(1, 4))
    found = sweep.sweep_settings(options)
    assert [len(one) for one in found] == [2, 2, 2, 2]
    assert found[1] == [Setting(1, 1, 4, True), Setting(8, 1, 4, True)]
    assert Setting(1, 2).row_threads is None and Setting(1, 2, threads_named=True).row_threads == 2


def result(batch, **milliseconds):
    """A setting in which these runtimes took so long; the first is the reference, None could not run."""
    rows = []
    for name, ms in milliseconds.items():
        status, wall = (Status.OK, ((int(ms * MS),),) * 6) if ms else (Status.UNAVAILABLE, ())
        rows.append(Row(f"{name}/{batch}", name, "cpu", "fp32", batch, status, samples=Samples(wall_ns=wall)))
    return SimpleNamespace(rows=rows, plan=SimpleNamespace(reference={f"b{batch}": rows[0].id}))


def runtimes(*names):
    return tuple(SimpleNamespace(name=name, provider="cpu") for name in names)


def going_on(before, now, *names):
    kept, said = sweep.still_gaining(runtimes(*names), before, now)
    return [one.name for one in kept], said


def test_a_row_leaves_the_sweep_when_its_throughput_gains_less_than_5_percent():
    before = result(1, ref=10, gains=10, stalls=10)
    kept, said = going_on(before, result(2, ref=15, gains=19.0, stalls=19.1), "ref", "gains", "stalls")
    assert kept == ["ref", "gains"]
    assert said == ["stalls/cpu: no larger batch tried, 2 brought 4.7 % more items per second"]


def test_the_reference_stays_while_any_other_row_does_and_the_sweep_ends_with_the_last():
    before = result(1, ref=10, other=10)
    assert going_on(before, result(2, ref=20, other=12), "ref", "other") == (["ref", "other"], [])
    kept, said = going_on(before, result(2, ref=20, other=20), "ref", "other")
    assert kept == [] and len(said) == 2


def test_rows_that_cannot_run_neither_prolong_nor_shorten_a_sweep():
    before = result(1, ref=10, absent=None)
    assert going_on(before, result(2, ref=12, absent=None), "ref", "absent")[0] == ["ref", "absent"]
    assert going_on(before, result(2, ref=20, absent=None), "ref", "absent")[0] == []
    assert going_on(None, before, "ref", "absent") == (["ref", "absent"], [])


@pytest.mark.slow
def test_a_sweep_ends_where_nothing_gains_and_the_report_says_so(fakes, segmenter_export, monkeypatch):
    fakes("WELL_BEHAVED")
    monkeypatch.setattr(sweep.throughput, "gain", lambda row, smaller: 0.5 if row.batch == 2 else 0.01)
    report = of(segmenter_export, batches=(1, 2, 4, 8))
    assert [row.batch for row in report.rows] == [1, 2, 4]
    assert set(report.plan.reference) == set(report.control) == {"b1", "b2", "b4"}
    assert any("no larger batch tried, 4 brought 1.0 %" in warning for warning in report.warnings)
    assert [one.setting for one in report.rounds] == ["b1"] * 3 + ["b2"] * 3 + ["b4"] * 3


@pytest.mark.slow
def test_threads_and_callers_are_rows_each_with_parity(fakes, segmenter_export):
    fakes("HONEST")
    report = of(segmenter_export, threads=(1, 2), concurrency=(1, 2), max_rounds=2)
    assert [one.partition("/fp32/")[2] for one in names(report)] == ["b1/t1", "b1/t1/c2", "b1/t2", "b1/t2/c2"]
    assert [(row.threads, row.concurrency) for row in report.rows] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    for row in report.rows:
        assert row.status is Status.OK and row.parity.verdict is Verdict.PASS, row
        assert bool(row.samples.window_calls) is (row.concurrency == 2)
        assert len(row.samples.wall_ns) == 2
    shown = {column.key for column in table.build(report).columns}
    assert {"threads", "callers", "items_per_s"} <= shown
    assert store.loads(store.dumps(report).encode()) == report


# --- sets of processes


@pytest.mark.slow
def test_rounds_go_on_in_fresh_processes(fakes, segmenter_export, monkeypatch):
    fakes("WELL_BEHAVED", "HONEST")
    started = []
    real = opening.Worker
    monkeypatch.setattr(opening, "Worker", lambda *a: started.append(real(*a)) or started[-1])
    report = of(segmenter_export, processes=3, max_rounds=7)
    assert [one.process_set for one in report.rounds] == [1, 1, 1, 2, 2, 3, 3]
    assert len({worker.pid for worker in started}) == 6
    for row in report.rows:
        assert len(row.samples.wall_ns) == 7 and len(row.cold_repeats) == 2 and row.cold is not None
    assert len(report.control["b1"].wall_ns) == 7
    orders = [one.order for one in report.rounds]
    assert len(set(orders)) > 1


@pytest.mark.slow
def test_no_more_rounds_than_asked_for_whatever_the_sets(fakes, segmenter_export):
    fakes("WELL_BEHAVED")
    assert len(of(segmenter_export, processes=5, max_rounds=2).rounds) == 2


@pytest.mark.slow
def test_a_row_that_does_not_start_again_keeps_its_samples_and_says_so(fakes, segmenter_export, monkeypatch):
    fakes("WELL_BEHAVED", "HONEST")
    real, count = opening.Bench.warm_up, {"HONEST": 0}

    def warm_up(bench, worker, callers=1):
        if "HONEST" in worker.row:
            count["HONEST"] += 1
            if count["HONEST"] == 2:
                raise WorkerError("killed at its second start")
        return real(bench, worker, callers)

    monkeypatch.setattr(opening.Bench, "warm_up", warm_up)
    report = of(segmenter_export, processes=3, max_rounds=6)
    sound, lost = report.rows
    assert lost.status is Status.FAILED and lost.reason == "killed at its second start"
    assert len(lost.samples.wall_ns) == 2 and len(sound.samples.wall_ns) == 6 and count["HONEST"] == 2


@pytest.mark.slow
def test_sets_that_the_budget_does_not_bear_are_left_out_with_a_word(fakes, segmenter_export, monkeypatch):
    fakes("WELL_BEHAVED")
    real = rounds.take_sets  # starting took longer than the whole budget, however quick this machine is
    monkeypatch.setattr(rounds, "take_sets", lambda sides, startup_s: real(sides, 1000.0))
    report = of(segmenter_export, processes=50, budget_s=0.3, max_rounds=400)
    assert {one.process_set for one in report.rounds} == {1}
    assert any("1 of 50 sets of processes" in warning for warning in report.warnings)


# --- work that was not done


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cheat", "gate"),
    [("CACHED", "uncached"), ("STALE", "follows"), ("EARLY", "complete"), ("NAN_LATER", "follows")],
)
def test_runtimes_that_cheat_are_wrong_rows(cheat, gate, fakes, segmenter_export):
    fakes("HONEST", cheat)
    honest, cheating = of(segmenter_export, max_rounds=8).rows
    assert honest.parity.verdict is Verdict.PASS
    assert cheating.status is Status.OK and cheating.parity.verdict is Verdict.FAIL
    assert {one.name for one in cheating.parity.gates if one.verdict is Verdict.FAIL} >= {gate}


# --- resuming


def again(report, export, **changes):
    progress = Silent()
    exported = preparation(export, None, progress)(1, ("keras",))
    return pipeline.resume(report, lambda *_: exported, dataclasses.replace(OPTIONS, **changes), progress)


@pytest.mark.slow
def test_resuming_adds_rounds_in_fresh_processes_to_every_setting(fakes, segmenter_export):
    fakes("WELL_BEHAVED", "HONEST")
    first = of(segmenter_export, batches=(1, 2), seed=5)
    more = again(first, segmenter_export, max_rounds=2)
    assert [(one.setting, one.process_set) for one in more.rounds] == [
        *[("b1", 1)] * 3, *[("b1", 2)] * 2, *[("b2", 1)] * 3, *[("b2", 2)] * 2
    ]  # fmt: skip
    for old, new in zip(first.rows, more.rows, strict=True):
        assert new.samples.wall_ns[:3] == old.samples.wall_ns and len(new.samples.wall_ns) == 5
        assert new.cold == old.cold and len(new.cold_repeats) == 1
    assert len(more.control["b2"].wall_ns) == 5 and more.plan.seed == 5 and len(more.resumed) == 1
    assert more.created == first.created and more.wall_s > first.wall_s
    assert store.loads(store.dumps(more).encode()) == more


@pytest.mark.slow
def test_resuming_leaves_failed_rows_alone_and_drops_what_ctrl_c_cut_short(fakes, segmenter_export):
    fakes("WELL_BEHAVED", "HONEST")
    first = of(segmenter_export)
    sound, other = first.rows
    cut = dataclasses.replace(sound.samples, wall_ns=(*sound.samples.wall_ns, (1,)))
    died = dataclasses.replace(
        other, status=Status.FAILED, reason="killed (in round 3)", samples=first_rounds(other.samples, 2)
    )
    rows = (dataclasses.replace(sound, samples=cut), died)
    more = again(dataclasses.replace(first, rows=rows), segmenter_export, max_rounds=1)
    assert more.rows[1].status is Status.FAILED and len(more.rows[1].samples.wall_ns) == 2
    assert len(more.rows[0].samples.wall_ns) == 4 and (1,) not in more.rows[0].samples.wall_ns


def test_another_machine_or_version_is_refused():
    report = store.load(Path(__file__).parent / "profiles" / "fixtures" / "schema2.json")
    machine = report.environment
    refuse_other_machine(machine, machine)
    for change in ({"cpu": "Other CPU"}, {"usable_cores": 64}, {"packages": {**machine.packages, "tensorflow": "9"}}):
        with pytest.raises(UsageError, match=r"another .* now "):
            refuse_other_machine(machine, dataclasses.replace(machine, **change))
    with pytest.raises(UsageError, match="nothing was measured"):
        plan: Plan = dataclasses.replace(report.plan, reference={})
        here = pipeline.resume.__globals__["environment"].read_environment([])
        pipeline.resume(dataclasses.replace(report, plan=plan, environment=here), lambda *_: None, OPTIONS, Silent())


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("seed", lambda r: dataclasses.replace(r, plan=dataclasses.replace(r.plan, seed=-1))),
        ("turn_ms", lambda r: dataclasses.replace(r, plan=dataclasses.replace(r.plan, turn_ms=float("nan")))),
        ("reference", lambda r: dataclasses.replace(r, plan=dataclasses.replace(r.plan, reference={"b9": "x"}))),
        ("rounds", lambda r: dataclasses.replace(r, rounds=(dataclasses.replace(r.rounds[0], process_set=-5),))),
        ("batch", lambda r: dataclasses.replace(r, rows=(dataclasses.replace(r.rows[0], batch=0),))),
        ("rows", lambda r: dataclasses.replace(r, rows=(r.rows[0], r.rows[0]))),
        ("samples", lambda r: dataclasses.replace(r, rounds=(*r.rounds, *r.rounds))),
    ],
)
def test_a_report_that_no_run_can_have_written_is_not_resumed(name, damage):
    report = store.load(Path(__file__).parent / "profiles" / "fixtures" / "schema2.json")
    with pytest.raises(ReportError, match=f"damaged.*{name}"):
        pipeline.resume(damage(report), lambda *_: None, OPTIONS, Silent())


@pytest.mark.slow
def test_a_row_that_cheated_once_stays_wrong_however_it_behaves_later(fakes, segmenter_export):
    fakes("HONEST")
    first = of(segmenter_export)
    (row,) = first.rows
    caught = Gate("uncached", Verdict.FAIL, "answers came from a cache")
    parity = dataclasses.replace(row.parity, verdict=Verdict.FAIL, gates=(*row.parity.gates[:4], caught))
    wrong = dataclasses.replace(first, rows=(dataclasses.replace(row, parity=parity),))
    more = again(wrong, segmenter_export, max_rounds=1)
    assert more.rows[0].parity.verdict is Verdict.FAIL and caught in more.rows[0].parity.gates


@pytest.mark.slow
def test_a_model_that_has_changed_is_refused(fakes, segmenter_export):
    fakes("WELL_BEHAVED")
    first = of(segmenter_export)
    changed = dataclasses.replace(first, model=dataclasses.replace(first.model, content_hash="other"))
    with pytest.raises(UsageError, match="is not the model of that run"):
        again(changed, segmenter_export)


# --- two models interleaved


@pytest.mark.slow
def test_two_models_are_measured_in_the_same_rounds_and_compared_by_round(fakes, segmenter_export):
    fakes("WELL_BEHAVED", "HONEST")
    progress = Silent()
    exported = preparation(segmenter_export, None, progress)(1, ("keras",))
    options = dataclasses.replace(OPTIONS, max_rounds=8, processes=2)
    old, new = pipeline.live(lambda *_: exported, lambda *_: exported, options, progress)
    assert interleaved(old, new) and not interleaved(old, dataclasses.replace(new, interleaved=""))
    assert old.rounds == new.rounds and len(old.rounds) == 8 and {one.process_set for one in old.rounds} == {1, 2}
    for report in (old, new):
        assert [row.status for row in report.rows] == [Status.OK] * 2
        assert all(len(row.samples.wall_ns) == 8 and row.parity is not None for row in report.rows)
        assert len(report.control["b1"].wall_ns) == 8
        assert report.plan.reference == {"b1": report.rows[0].id}
    assert old.rows[0].samples != new.rows[0].samples and old.control != new.control
    names = {name for one in old.rounds for name in one.order}
    assert len(names) == 6 and {name.partition(":")[0] for name in names} == {"old", "new", "control"}
    found = compare(old, new)
    assert [change.ratio.n for change in found.rows] == [8, 8]

"""What may be concluded from two runs made at different times."""

from __future__ import annotations

import dataclasses
from xml.etree import ElementTree

import numpy as np
import pytest

from keronyx.errors import UsageError
from keronyx.profiles import changes, stats
from keronyx.profiles.compare import compare, independent_ratio
from keronyx.profiles.stats import Comparison
from keronyx.types import Report, Samples, Status, Verdict

ROW = "openvino/cpu/fp32/1"


def slowed(report: Report, factor: float, row: str = ROW) -> Report:
    """The same run with one row's latencies multiplied."""

    def scaled(samples: Samples) -> Samples:
        wall = tuple(tuple(round(call * factor) for call in one) for one in samples.wall_ns)
        return dataclasses.replace(samples, wall_ns=wall)

    return changed(report, row, lambda r: dataclasses.replace(r, samples=scaled(r.samples)))


def changed(report, row, change):
    rows = tuple(change(one) if one.id == row else one for one in report.rows)
    assert rows != report.rows
    return dataclasses.replace(report, rows=rows)


def in_sets(report: Report, sets: int = 5) -> Report:
    """The report as if its rounds had been made in so many sets of processes."""
    each = -(-len(report.rounds) // sets)
    rounds = [dataclasses.replace(one, process_set=1 + i // each) for i, one in enumerate(report.rounds)]
    return dataclasses.replace(report, rounds=tuple(rounds))


def found(result, row=ROW):
    return next(change for change in result.rows if change.row == row)


def test_a_run_against_itself_has_no_regression_and_calls_nothing_different(report):
    result = compare(report, report)
    assert not result.regressions
    assert {change.comparison for change in result.rows} <= {Comparison.EQUIVALENT, Comparison.UNDECIDED, None}


def test_a_row_ten_percent_slower_is_a_regression_and_the_other_way_round_is_not(report):
    report = in_sets(report)
    slower = slowed(report, 1.10)
    result = compare(report, slower)
    assert found(result).comparison is Comparison.SLOWER
    assert [change.row for change in result.regressions] == [ROW]
    back = compare(slower, report)
    assert found(back).comparison is Comparison.FASTER and not back.regressions


def test_fail_slower_sets_what_counts_as_a_regression(report):
    report = in_sets(report)
    slower = slowed(report, 1.15)
    assert not compare(report, slower, fail_slower=0.2).regressions
    assert compare(report, slower, fail_slower=0.05).regressions


def test_a_small_difference_is_undecided_and_says_how_many_rounds_would_decide(report):
    report = in_sets(report)
    change = found(compare(report, slowed(report, 1.03)))
    assert change.comparison is Comparison.UNDECIDED and change.more_rounds and not change.regression


def test_an_untrusted_run_calls_nothing_different(report):
    busy = tuple(dataclasses.replace(reading, other=0.5) for reading in report.rounds)
    result = compare(report, dataclasses.replace(slowed(report, 2.0), rounds=busy))
    assert found(result).comparison is Comparison.UNDECIDED and not result.regressions
    assert any(why.startswith("new: other processes") for why in result.distrust)


@pytest.mark.parametrize("what", ["threads", "machine"])
def test_another_machine_or_thread_count_is_refused_unless_asked_for(report, what):
    if what == "threads":
        other = dataclasses.replace(report, plan=dataclasses.replace(report.plan, threads=1))
    else:
        other = dataclasses.replace(report, environment=dataclasses.replace(report.environment, cpu="another"))
    with pytest.raises(UsageError, match="the runs differ in"):
        compare(report, other)
    assert compare(report, other, across_machines=True).rows


def test_runs_without_a_common_row_are_refused(report):
    rows = tuple(dataclasses.replace(row, id=f"{row.id}x") for row in report.rows)
    with pytest.raises(UsageError, match="no row in common"):
        compare(report, dataclasses.replace(report, rows=rows))


def test_wrong_answers_are_a_regression_whatever_the_latency(report):
    parity = next(row.parity for row in report.rows if row.id == ROW)
    wrong = changed(
        report, ROW, lambda r: dataclasses.replace(r, parity=dataclasses.replace(parity, verdict=Verdict.FAIL))
    )
    assert "wrong" in found(compare(report, wrong)).problem and compare(report, wrong).regressions


def test_a_row_that_no_longer_runs_is_a_regression_that_says_why(report):
    gone = changed(
        report,
        ROW,
        lambda r: dataclasses.replace(r, status=Status.FAILED, reason="it crashed", samples=Samples()),
    )
    change = found(compare(report, gone))
    assert change.regression and "it crashed" in change.problem and change.ratio is None


def test_the_interval_of_two_independent_runs_covers_the_true_ratio():
    random = np.random.default_rng(11)
    level, trials, covered = stats.LEVEL**0.5, 1000, 0
    for _ in range(trials):
        old, new = (stats.estimate(list(scale * random.lognormal(0, 0.1, 20)), level) for scale in (1.0, 1.2))
        interval = independent_ratio(new, old).interval
        covered += interval.low <= 1.2 <= interval.high
    assert covered / trials >= 0.95


def test_junit_counts_regressions_and_undecided_rows(report):
    suite = ElementTree.fromstring(changes.junit(compare(report, slowed(report, 1.5))))
    assert suite.get("failures") == "1" == str(len(suite.findall("testcase/failure")))
    assert suite.get("skipped") == str(len(suite.findall("testcase/skipped")))
    assert len(suite.findall("testcase")) == int(suite.get("tests"))


def test_every_format_says_regression_and_survives_hostile_names(report, hostile_report):
    for render in changes.FORMATS.values():
        assert "REGRESSION" in render(compare(report, slowed(report, 1.5)))
        text = render(compare(hostile_report, hostile_report))
        assert "\x1b" not in text
        assert render is changes.text or "<script>" not in text
    ElementTree.fromstring(changes.junit(compare(hostile_report, hostile_report)))


def test_below_three_sets_of_processes_a_few_percent_are_luck(report):
    for factor, comparison in ((1.06, Comparison.EQUIVALENT), (1.5, Comparison.SLOWER)):
        result = compare(report, slowed(report, factor))
        assert result.margin == 0.10 and "luck of the process" in changes.text(result)
        assert found(result).comparison in (comparison, Comparison.UNDECIDED)
        assert bool(result.regressions) is (comparison is Comparison.SLOWER)
    assert "luck of the process" not in changes.text(compare(in_sets(report), in_sets(report)))


def test_no_limit_makes_a_regression_of_what_is_not_slower(report):
    """A limit below what the runs can tell apart is that, and no less."""
    for factor in (1.01, 1.02, 1.04):
        result = compare(report, slowed(report, factor), fail_slower=0.001)
        assert not result.regressions


def test_equal_models_with_luck_of_the_process_are_no_regression(report):
    """Each of five sets of processes of either model is some percent off for as long as it lives."""
    report, wrong, trials = in_sets(report), 0, 200
    base = report.rows[0].samples.wall_ns
    for seed in range(trials):
        random = np.random.default_rng(seed)
        runs = []
        for _ in range(2):
            luck = random.normal(0, 0.03, 5)[[one.process_set - 1 for one in report.rounds]]
            wall = tuple((int(calls[0] * np.exp(x)),) for calls, x in zip(base, luck, strict=True))
            rows = [
                dataclasses.replace(row, samples=dataclasses.replace(row.samples, wall_ns=wall))
                if row.id == ROW
                else row
                for row in report.rows
            ]
            runs.append(dataclasses.replace(report, rows=tuple(rows), interleaved="the same"))
        wrong += found(compare(*runs)).comparison in (Comparison.SLOWER, Comparison.FASTER)
    assert wrong / trials <= 0.05


def test_a_row_that_vanished_is_in_the_junit_file(report):
    fewer = dataclasses.replace(report, rows=report.rows[:-1])
    suite = ElementTree.fromstring(changes.junit(compare(report, fewer)))
    assert suite.get("tests") == str(len(report.rows))
    assert any(case.get("message") == "not in the new run" for case in suite.findall("testcase/skipped"))

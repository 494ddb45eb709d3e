"""Few, coarse, constant, uneven and absurd samples through rankings, trust, table, every format and compare.

Nothing crashes, no figure is NaN or infinite, no percentile is claimed from too few calls, and no row is called faster
or slower than its equal. Samples are seeded or come from the real timed loop on a fake clock that ticks every 15.6 ms.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keronyx.errors import WorkerError
from keronyx.profiles import changes, render, stats, table, throughput
from keronyx.profiles.compare import compare
from keronyx.profiles.measure import CONTROL, measure
from keronyx.profiles.ranking import rankings
from keronyx.profiles.stats import Comparison, Estimate, Interval
from keronyx.runtime.fake import FakeClock, FakeSession, FakeWorker
from keronyx.types import Cold, Plan, RoundReading, Row, Samples, Status, Turn

MS = 1_000_000
TICK = 15_625_000
DIFFERENT = (Comparison.FASTER, Comparison.SLOWER)
NO_FIGURE = re.compile(r"(?<![\w-])[-+]?(nan|inf|infinity)(?!\w)", re.IGNORECASE)


class TickingClock(FakeClock):
    """Time moves on, but what it shows only every 15.625 ms, as some systems' clocks do."""

    def __call__(self):
        return self.now // TICK * TICK


class Calm:
    def begin(self):
        pass

    def end(self, order):
        return RoundReading(order, 0.0, 0.0, 0)


class Scripted:
    """A worker whose turns are written down beforehand; it dies when there are no more."""

    def __init__(self, turns):
        self.turns = iter(turns)

    def turn(self, start, turn_ns):
        try:
            return next(self.turns)
        except StopIteration:
            raise WorkerError("killed") from None


def plan(rows, seed=0, rounds=20):
    return Plan(tuple(rows), {"b1": "ref"}, seed, 1, 1e12, rounds, 4, 20.0, 1.0, "x", 8)


def report_of(report, samples, control, rounds=(), concurrency=1, failed=()):
    """The report of these samples; `report` lends the machine and the model."""
    cold = Cold(0.1, 0.1, 0.1, 0.0, 0.1, (1.0,), 100.0)
    rows = tuple(
        Row(
            name,
            name,
            "cpu",
            "fp32",
            1,
            Status.FAILED if name in failed else Status.OK,
            cold=cold,
            samples=one,
            concurrency=concurrency,
        )
        for name, one in samples.items()
    )
    reference = dict.fromkeys((row.setting for row in rows), "ref")
    return dataclasses.replace(
        report,
        rows=rows,
        plan=dataclasses.replace(plan(samples), reference=reference),
        control=dict.fromkeys(reference, control),
        rounds=tuple(dataclasses.replace(one, setting=rows[0].setting) for one in rounds),
    )


def measured_report(report, turns, concurrency=1):
    """The report of rounds in which every row took its scripted turns; the reference's are for the control too."""
    rounds = max(map(len, turns.values()))
    both = [turn for turn in turns["ref"] for _ in range(2)]
    workers = {name: Scripted(both if name == "ref" else own) for name, own in turns.items()}
    found = measure(workers, "ref", plan(turns, 0, rounds), FakeClock(), Calm())
    return report_of(report, found.samples, found.control, found.rounds, concurrency, found.failures)


def once(values):
    """One call a round."""
    return [Turn((int(value),), (int(value),)) for value in values]


def everything_said(made):
    """All formats of a report, and of its comparison with itself; what they say, by format."""
    built = table.build(made)
    texts = {suffix: renderer(built) for suffix, renderer in render.RENDERERS.items()}
    unchanged = compare(made, made)
    return texts | {f"compare {suffix}": form(unchanged) for suffix, form in changes.FORMATS.items()}


def assert_sound(made):
    """Every format can be made, and none shows a figure that is none."""
    for suffix, text in everything_said(made).items():
        assert not (found := NO_FIGURE.search(text)), f"{suffix}: {text[max(0, found.start() - 60) : found.end() + 60]}"


def verdicts(made):
    return {s.row.id: s.comparison for ranking in rankings(made) for s in ranking.standings}


def cells(made, column):
    """Text of one column by row, as the table and the CSV file have it: the two must be empty together."""
    built = table.build(made)
    index = [one.key for one in built.columns].index(column)
    shown = {line.row.id: line.cells[index] for line in built.lines}
    written = {line["runtime"]: line[column] for line in csv.DictReader(io.StringIO(render.csv(built)))}
    assert all(bool(cell.text) == bool(written[name]) for name, cell in shown.items())
    return {name: cell.value for name, cell in shown.items()}


def lognormal(seed, n, milliseconds=30.0, noise=0.02):
    return milliseconds * MS * np.random.default_rng(seed).lognormal(0, noise, n)


# --- percentiles


@pytest.mark.parametrize(("q", "least"), [(90, 29), (95, 59), (99, 299)])
def test_no_percentile_is_claimed_from_fewer_calls_than_bound_it(report, q, least):
    for count, claimed in ((least - 1, False), (least, True)):
        rows = {name: once(lognormal(seed, count, noise=0.3)) for seed, name in enumerate(("ref", "a"))}
        made = measured_report(report, rows)
        calls = stats.calls(made.rows[1].samples.wall_ns)
        assert len(calls) == count
        assert (stats.percentile(calls, q) is not None) is claimed
        assert (throughput.latency_percentile(made.rows[1], q) is not None) is claimed
        if q == 95:
            assert [value is not None for value in cells(made, "p95_ms").values()] == [claimed] * 2


def test_p95_is_that_of_calls_and_never_of_round_medians(report):
    """One call in three is slow in every round, which no median shows."""
    turns = [Turn((30 * MS, 90 * MS + i, 30 * MS + i), (MS,) * 3) for i in range(20)]
    found = cells(measured_report(report, {"ref": turns, "a": turns}), "p95_ms")
    calls = [call / MS for turn in turns for call in turn.wall_ns]
    assert found == {name: pytest.approx(np.percentile(calls, 95)) for name in ("ref", "a")}
    assert found["a"] > 89


@pytest.mark.parametrize(("paced", "claimed"), [(2, False), (3, True)])
def test_p95_of_concurrent_callers_is_that_of_paced_requests_and_never_of_the_saturated_part(report, paced, claimed):
    random = np.random.default_rng(0)

    def turns():
        latencies = random.lognormal(math.log(30 * MS), 0.02, (20, paced)).astype(int)
        return [Turn(tuple(map(int, one)), (MS,), None, None, 500 * MS, 500) for one in latencies]

    made = measured_report(report, {"ref": turns(), "a": turns()}, concurrency=4)
    assert min(made.rows[1].samples.window_calls) == 500
    for name, value in cells(made, "p95_ms").items():
        assert (value is not None) is claimed, name
        assert value is None or 29 < value < 33  # a call of the saturated part took 1 ms
    assert_sound(made)


# --- one report after another


def uneven(n_ref, n_a):
    return {"ref": once(lognormal(1, n_ref)), "a": once(lognormal(2, n_a))}


def many_calls(n, calls):
    values = lognormal(4, n * calls).astype(int).reshape(n, calls)
    return [Turn(tuple(map(int, one)), tuple(map(int, one))) for one in values]


def with_outlier(values, factor):
    values[7] *= factor
    return values


EQUAL = {
    "constant": {"ref": once([30 * MS] * 20), "a": once([30 * MS] * 20)},
    "constant but one": {"ref": once([30 * MS] * 20), "a": once([30 * MS] * 19 + [31 * MS])},
    "zero durations": {"ref": once([0] * 20), "a": once([0] * 20)},
    "one row of zeros": {"ref": once(lognormal(1, 20)), "a": once([0] * 20)},
    "a reference of zeros": {"ref": once([0] * 20), "a": once(lognormal(1, 20))},
    "a nanosecond": {"ref": once([1] * 20), "a": once([1] * 20)},
    "hours": {"ref": once([2**53] * 20), "a": once([2**53 + 1] * 20)},
    "one round": uneven(1, 1),
    "five rounds": uneven(5, 5),
    "six rounds": uneven(6, 6),
    "died in round 1": uneven(50, 0),
    "died in round 37": uneven(50, 36),
    "the reference died in round 37": uneven(36, 50),
    "rounds without calls": {"ref": once(lognormal(1, 20)), "a": [Turn((), ())] * 10 + once(lognormal(2, 10))},
    "one call a round and many": {"ref": once(lognormal(1, 20)), "a": many_calls(20, 50)},
    "a huge outlier": {"ref": once(lognormal(1, 20)), "a": once(with_outlier(lognormal(2, 20), 1e6))},
    "an outlier of nothing": {"ref": once(lognormal(1, 20)), "a": once(with_outlier(lognormal(2, 20), 0))},
    "no CPU time": {"ref": [Turn((30 * MS,), ())] * 20, "a": [Turn((30 * MS,), (0,))] * 20},
}


@pytest.mark.parametrize("name", EQUAL)
def test_odd_samples_break_no_format_and_make_no_row_faster_or_slower_than_its_equal(report, name):
    made = measured_report(report, EQUAL[name])
    assert not set(verdicts(made).values()) & set(DIFFERENT)
    (ranking,) = rankings(made)
    assert len(ranking.winners) in (0, len(ranking.standings))
    assert not compare(made, made).regressions
    assert_sound(made)


@pytest.mark.parametrize(("rounds", "decided"), [(1, False), (5, False), (6, True)])
def test_fewer_than_six_rounds_rank_nothing_and_are_not_trusted(report, rounds, decided):
    made = measured_report(report, {"ref": once(lognormal(1, rounds)), "a": once(lognormal(2, rounds, 90))})
    assert (verdicts(made)["a"] is Comparison.SLOWER) is decided
    built = table.build(made)
    assert (built.ships[0].choice != "nothing yet") is decided
    assert built.trusted is decided and (f"too few rounds to say ({rounds}" in built.trust) is not decided


def test_a_row_that_died_has_no_figure_and_costs_the_others_none(report):
    turns = {"ref": once(lognormal(1, 50)), "b": once(lognormal(3, 50, 45))}
    made = measured_report(report, turns | {"a": once(lognormal(2, 36))})
    died = next(row for row in made.rows if row.id == "a")
    assert died.status is Status.FAILED and len(died.samples.wall_ns) == 36
    assert (
        verdicts(made)
        == verdicts(measured_report(report, turns))
        == {
            "ref": Comparison.EQUIVALENT,
            "b": Comparison.SLOWER,
        }
    )
    assert cells(made, "median_ms")["a"] is None and cells(made, "p95_ms")["a"] is None


def test_rows_of_unequal_length_pair_in_the_rounds_they_share(report):
    """The machine slows down by 2 % a round: other rounds than the row's own would make it look quicker."""
    slower = 1.02 ** np.arange(50)
    turns = {"ref": once(lognormal(1, 50) * slower), "a": once(lognormal(2, 36) * slower[:36])}
    made = measured_report(report, turns)
    alive = dataclasses.replace(made, rows=tuple(dataclasses.replace(row, status=Status.OK) for row in made.rows))
    standing = next(s for s in rankings(alive)[0].standings if s.row.id == "a")
    assert standing.ratio.n == 36 and standing.ratio.value == pytest.approx(1, abs=0.02)
    assert standing.comparison not in DIFFERENT
    assert_sound(alive)


def test_one_huge_outlier_changes_no_verdict_and_no_median(report):
    def made(factor):
        rows = {"ref": once(lognormal(1, 20)), "a": once(with_outlier(lognormal(2, 20, 45), factor))}
        return measured_report(report, rows)

    plain, struck = made(1), made(1e6)
    assert verdicts(struck) == verdicts(plain) == {"ref": Comparison.EQUIVALENT, "a": Comparison.SLOWER}
    assert cells(struck, "median_ms")["a"] == pytest.approx(cells(plain, "median_ms")["a"], rel=0.01)
    assert table.build(struck).trusted and table.build(plain).trusted


# --- a clock that ticks every 15.6 ms


def ticking(report, milliseconds, seed, rounds=12, noise=0.05):
    """Two equal rows, or as many as there are latencies, through the real timed loop on the coarse clock."""
    clock, random = TickingClock(), np.random.default_rng(seed)
    delays = iter(random.lognormal(0, noise, 10**5).tolist())
    workers = {
        name: FakeWorker(name, FakeSession(clock, lambda call, own=own: int(own * MS * next(delays))))
        for name, own in milliseconds.items()
    }
    found = measure(workers, "ref", plan(milliseconds, seed, rounds), clock, Calm())
    return report_of(report, found.samples, found.control, found.rounds)


def test_equal_rows_on_a_coarse_clock_are_called_different_in_at_most_five_percent_of_runs(report):
    trials, ranked, compared, zeros, last = 2000, 0, 0, 0, None
    for seed in range(trials):
        latency = float(np.exp(np.random.default_rng(seed // 2).uniform(math.log(6), math.log(60))))
        made = ticking(report, {"ref": latency, "a": latency}, seed)
        calls = stats.calls(made.rows[1].samples.wall_ns)
        assert not any(call % TICK for call in calls)
        zeros += calls.count(0) > 0
        (ranking,) = rankings(made)
        tied = len(ranking.winners) in (0, 2)
        ranked += not tied or any(s.comparison in DIFFERENT for s in ranking.standings)
        if seed % 2:
            compared += any(change.comparison in DIFFERENT for change in compare(last, made).rows)
        last = made
    assert zeros > trials / 4, "many calls must have taken no time at all, else this tests little"
    assert ranked / trials <= 0.05
    assert compared / (trials / 2) <= 0.05


@pytest.mark.parametrize("latency", [0.5, 5.0, 7.8, 15.6, 40.0, 200.0])
def test_a_coarse_clock_breaks_no_format(report, latency):
    assert_sound(ticking(report, {"ref": latency, "a": latency}, 0, rounds=20))


@pytest.mark.parametrize(("ref", "a"), [(14.0, 15.4), (30.0, 33.0), (500.0, 2.0)])
def test_a_clock_too_coarse_for_the_rows_is_not_trusted(report, ref, a):
    """Whatever it says of rows that differ by 10 %: it would call most of them equivalent."""
    for seed in range(20):
        verdict, reasons = table.trusted(ticking(report, {"ref": ref, "a": a}, seed, rounds=20))
        assert not verdict and any("clock" in reason for reason in reasons)


def test_a_clock_that_ticks_finely_enough_is_trusted(report):
    """15.6 ms of two seconds are less than 1 %."""
    assert table.trusted(ticking(report, {"ref": 2000.0, "a": 2200.0}, 0, rounds=20, noise=0.02))[0]


def test_an_interval_that_reaches_down_to_nothing_needs_nobody_knows_how_many_rounds():
    assert stats.rounds_needed(Estimate(1.0, Interval(0.0, 2.0, 0.95), 20)) is None
    assert stats.rounds_needed(Estimate(0.0, Interval(0.0, 2.0, 0.95), 20)) is None


# --- whatever the samples

calls_of_a_round = st.lists(st.sampled_from([0, 1, TICK, 2 * TICK, 3 * TICK, 30 * MS, 2**62]), max_size=3)
any_samples = st.lists(calls_of_a_round.map(tuple), max_size=30).map(tuple)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(any_samples, min_size=4, max_size=4), st.integers(1, 4), st.sampled_from([1, 4]))
def test_no_samples_at_all_break_a_format_or_a_comparison(report, wall, sets, callers):
    rows = dict(zip(("ref", "a", "b", CONTROL), (Samples(wall_ns=one, cpu_ns=one) for one in wall), strict=True))
    control = rows.pop(CONTROL)
    rounds = tuple(
        dataclasses.replace(RoundReading((), 0.0, 0.0, 0), process_set=1 + number % sets) for number in range(30)
    )
    made = report_of(report, rows, control, rounds, callers)
    assert_sound(made)
    other = report_of(report, dict(zip(rows, reversed(rows.values()), strict=True)), control, rounds, callers)
    for result in (compare(made, other), compare(other, made)):
        for form in changes.FORMATS.values():
            assert not NO_FIGURE.search(form(result))

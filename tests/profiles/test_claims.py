"""The statistical claims of docs/design.md, held by simulations that drive the real rounds, ranking and trust.

Seeded, on a fake clock: a failure is a change of the code, never of the machine.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats as oracle

from keronyx.profiles import contention, stats, table
from keronyx.profiles.measure import measure
from keronyx.profiles.ranking import rankings
from keronyx.profiles.stats import Comparison
from keronyx.profiles.trust import trusted
from keronyx.types import Cold, Plan, RoundReading, Row, Samples, Status, Turn

TRIALS = 2000
NOISE = {
    "normal": lambda random, n: random.normal(1, 0.05, n),
    "lognormal": lambda random, n: random.lognormal(0, 0.1, n),
    "exponential": lambda random, n: 1 + random.exponential(0.1, n),
    "heavy tail": lambda random, n: 1 + 0.05 * random.standard_t(2, n),
    "two modes": lambda random, n: np.where(random.random(n) < 0.4, 1.3, 1.0) * random.lognormal(0, 0.03, n),
}


class Clock:
    def __init__(self):
        self.now = 0

    def __call__(self):
        return self.now


class Calm:
    """Sensors of a machine on which something happens only by `reading(number of the round, from 0)`."""

    def __init__(self, reading=lambda number: {}):
        self.reading, self.number = reading, -1

    def begin(self):
        self.number += 1

    def end(self, order):
        return dataclasses.replace(RoundReading(order, 0.0, 0.0, 0), **self.reading(self.number))


class Simulated:
    """A worker whose latency in milliseconds is `base`, times what all rows share at that moment, times noise."""

    def __init__(self, clock, base, random, noise=0.03, shared=lambda now: 1.0):
        self.clock, self.base, self.random, self.noise, self.shared = clock, base, random, noise, shared

    def turn(self, start, turn_ns):
        wall = round(self.base * self.shared(self.clock.now) * math.exp(self.random.normal(0, self.noise)) * 1e6)
        self.clock.now += wall
        return Turn((wall,), (wall,))


class OnBusyHost(Simulated):
    """The same, on a host whose other work holds every turn up: wall time is CPU time and a delay of its own."""

    def turn(self, start, turn_ns):
        cpu = super().turn(start, turn_ns).wall_ns[0]
        wall = round(cpu * math.exp(abs(self.random.normal(0, 0.3))))
        return Turn((wall,), (cpu,))


class Waiting(Simulated):
    """The same, with a CPU for this share of the time."""

    share = 1.0

    def turn(self, start, turn_ns):
        wall = super().turn(start, turn_ns).wall_ns[0]
        return Turn((wall,), (round(wall * self.share),))


def plan(rows, seed, rounds):
    return Plan(tuple(rows), {"b1": "ref"}, seed, 1, 1e12, rounds, 4, 20.0, 1.0, "x", 8)


def simulate(bases, seed, rounds, noise=0.03, shared=lambda now: 1.0, kind=Simulated, sensors=None):
    clock, random = Clock(), np.random.default_rng(seed)
    workers = {row: kind(clock, base, random, noise, shared) for row, base in bases.items()}
    return measure(workers, "ref", plan(bases, seed, rounds), clock, sensors or Calm())


def report_of(report, measured, bases):
    """The report of simulated rounds; `report` lends the machine."""
    cold = Cold(0.1, 0.1, 0.1, 0.0, 0.1, (1.0,), 100.0)
    rows = tuple(Row(row, row, "cpu", "fp32", 1, Status.OK, cold=cold, samples=measured.samples[row]) for row in bases)
    return dataclasses.replace(
        report, rows=rows, plan=plan(bases, 0, 1), control={"b1": measured.control}, rounds=measured.rounds
    )


def ranking_of(report, measured, bases):
    """What the report would conclude from simulated rounds."""
    return rankings(report_of(report, measured, bases))[0]


def covers(interval, truth):
    return interval is not None and interval.low <= truth <= interval.high


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("n", [10, 20, 40])
def test_the_interval_of_the_median_covers_between_94_and_98_5_percent(noise, n):
    random = np.random.default_rng(n)
    draw = NOISE[noise]
    truth = float(np.median(draw(np.random.default_rng(1), 2_000_000)))
    hits = 0
    for _ in range(TRIALS):
        interval = stats.median_interval(draw(random, n))
        hits += covers(interval, truth)
    assert 0.94 <= hits / TRIALS <= 0.985


def test_coverage_after_optional_stopping_stays_above_95_percent():
    trials, hits, early = TRIALS, 0, 0
    for seed in range(trials):
        measured = simulate({"ref": 30, "a": 36}, seed, 120, noise=0.02)
        early += measured.stopped == "target"
        interval = stats.paired_ratio(measured.samples["a"], measured.samples["ref"]).interval
        hits += covers(interval, 1.2)
    assert early > trials / 3, "the rule must have stopped many of them, else this tests nothing"
    assert hits / trials >= 0.95


def test_the_printed_interval_covers_the_truth_after_three_sets_of_processes_that_each_have_their_luck(report):
    """Luck three times the standard error of one process; every set stops when its own looks have seen enough."""
    trials, noise, truths = 600, 0.008, {"ref": 30.0, "a": 36.0}
    luck = 3 * noise * math.sqrt(math.pi / 2 / 20)
    ratios = latencies = within = early = 0
    for seed in range(trials):
        clock, random, measured = Clock(), np.random.default_rng(seed), None
        for most in (40, 80, 120):
            lucky = {row: base * math.exp(random.normal(0, luck)) for row, base in truths.items()}
            workers = {row: Simulated(clock, base, random, noise) for row, base in lucky.items()}
            measured = measure(workers, "ref", plan(truths, seed, most), clock, Calm(), before=measured)
        standing = next(s for s in ranking_of(report, measured, truths).standings if s.row.id == "a")
        ratios += covers(standing.ratio.interval, 1.2)
        latencies += covers(standing.latency.interval, 36.0)
        within += covers(stats.paired_ratio(measured.samples["a"], measured.samples["ref"]).interval, 1.2)
        early += len(measured.rounds) < 120
    assert early > trials / 3, "the rule must have stopped many of them, else this tests nothing"
    assert within / trials < 0.8, "processes must differ, else this tests nothing"
    assert ratios / trials >= 0.93
    assert latencies / trials >= 0.93


def test_equal_rows_are_called_different_in_at_most_five_percent_of_runs(report):
    """A whole run counts as wrong when any of its four equal rows is called faster or slower, or does not tie with the
    quickest, though clocks wander."""
    bases = dict.fromkeys(("ref", "a", "b", "c"), 30.0)
    wrong, trials = 0, TRIALS
    for seed in range(trials):
        phase = np.random.default_rng(seed).random() * 6

        def mood(now, phase=phase):
            return 1 + 0.2 * math.sin(now / 3e9 + phase)

        measured = simulate(bases, seed, 19, noise=0.1, shared=mood)
        ranking = ranking_of(report, measured, bases)
        different = any(s.comparison in (Comparison.FASTER, Comparison.SLOWER) for s in ranking.standings)
        wrong += different or len(ranking.winners) < len(bases)
    assert wrong / trials <= 0.05


def test_many_rows_leave_no_more_false_verdicts_than_one(report):
    """Twelve rows that differ from the reference by what still counts as equal: each alone would be allowed its 5 %."""
    bases = {"ref": 30.0} | {f"row {number}": 30.0 * 1.0199 for number in range(12)}
    wrong, trials = 0, 400
    for seed in range(trials):
        standings = ranking_of(report, simulate(bases, seed, 12, noise=0.006), bases).standings
        wrong += any(s.comparison in (Comparison.FASTER, Comparison.SLOWER) for s in standings)
    assert wrong / trials <= 0.05


def test_a_drift_of_one_percent_a_round_biases_nothing_interleaved_and_much_one_after_the_other():
    def errors(sequential):
        found = []
        for seed in range(300):
            if sequential:
                clock, random = Clock(), np.random.default_rng(seed)
                call = iter(range(80))
                walls = [30 * 1.01 ** next(call) * math.exp(random.normal(0, 0.01)) for _ in range(80)]
                ref, row = (Samples(tuple((round(w * 1e6),) for w in walls[i : i + 40])) for i in (0, 40))
            else:
                clock, random, count = Clock(), np.random.default_rng(seed), [0]

                def drift(now, count=count):
                    count[0] += 1
                    return 1.01 ** (count[0] / 3)  # three turns a round

                workers = {r: Simulated(clock, 30, random, 0.01, drift) for r in ("ref", "a")}
                measured = measure(workers, "ref", plan(workers, seed, 40), clock, Calm())
                ref, row = measured.samples["ref"], measured.samples["a"]
            found.append(math.log(stats.paired_ratio(row, ref).value))
        return abs(float(np.mean(found)))

    assert errors(sequential=False) <= 0.001
    assert errors(sequential=True) > 0.1


def test_a_ten_percent_slowdown_is_found_within_20_rounds_and_never_the_wrong_way_round(report):
    found, trials = 0, 1000
    bases = {"ref": 30.0, "a": 33.0}
    for seed in range(trials):
        measured = simulate(bases, seed, 20, noise=0.02)
        verdict = {s.row.id: s.comparison for s in ranking_of(report, measured, bases).standings}["a"]
        assert verdict is not Comparison.FASTER
        found += verdict is Comparison.SLOWER
    assert found / trials >= 0.9


def test_a_busy_host_hides_a_ten_percent_slowdown_from_wall_time_and_not_from_cpu_time():
    """Within 20 rounds, which the host makes longer by almost a third on average."""
    trials, cpu, wall = 1000, [], []
    for seed in range(trials):
        samples = simulate({"ref": 30.0, "a": 33.0}, seed, 20, noise=0.02, kind=OnBusyHost).samples
        cpu.append(stats.compare(contention.cpu_ratio(samples["a"], samples["ref"])))
        wall.append(stats.compare(stats.paired_ratio(samples["a"], samples["ref"])))
    assert cpu.count(Comparison.SLOWER) / trials >= 0.9
    assert cpu.count(Comparison.FASTER) == 0
    assert wall.count(Comparison.SLOWER) / trials < 0.5, "the host must be busy, else this tests nothing"


@pytest.mark.parametrize(("share", "reason"), [(1.0, ""), (0.71, ""), (0.69, "cpu/wall"), (0.33, "cpu/wall")])
def test_rows_that_got_a_third_of_a_cpu_are_not_trusted(report, share, reason):
    kind = type("Starved", (Waiting,), {"share": share})
    bases = {"ref": 30.0, "a": 33.0}
    verdict, reasons = trusted(report_of(report, simulate(bases, 0, 20, kind=kind), bases))
    assert verdict is not bool(reason)
    assert [reason in one for one in reasons] == [True] * bool(reason)
    assert all(f"{row}/cpu got {share:.2f} of a CPU" in one for one in reasons for row in bases)


@pytest.mark.parametrize(
    ("reading", "reason"),
    [
        (lambda number: {}, ""),
        (lambda number: {"steal": 0.1}, "the hypervisor took 10.0 % of the CPU time"),
        (lambda number: {"throttled": 0.1}, "a CPU quota withheld 10.0 % of the CPU time"),
        (lambda number: {"other": 0.2}, "other processes used 20.0 % of the CPU time"),
        # Taken in bursts, it is what it is on average; other processes are no matter in a few rounds.
        (lambda number: {"steal": float(number % 10 == 0)}, "the hypervisor took 10.0 % of the CPU time"),
        (lambda number: {"throttled": float(number % 10 == 0)}, "a CPU quota withheld 10.0 % of the CPU time"),
        (lambda number: {"other": float(number % 10 == 0)}, ""),
        (lambda number: {"steal": math.nan, "other": math.nan}, ""),
        (lambda number: {"steal": 0.1 if number else math.nan}, "the hypervisor took 10.0 % of the CPU time"),
    ],
)
def test_what_the_sensors_saw_in_the_rounds_decides_whether_they_are_trusted(report, reading, reason):
    bases = {"ref": 30.0, "a": 33.0}
    made = report_of(report, simulate(bases, 0, 20, sensors=Calm(reading)), bases)
    verdict, reasons = trusted(made)
    assert verdict is not bool(reason)
    assert [reason in one for one in reasons] == [True] * bool(reason)
    assert table.build(made).trust.startswith("NOT TRUSTED: " + reason if reason else "TRUSTED")


def test_the_p_value_is_that_of_the_exact_binomial_test():
    random = np.random.default_rng(3)
    for n in (1, 5, 8, 30):
        logs = random.normal(0.05, 0.05, n)
        above, below = int((logs > math.log1p(0.02)).sum()), int((logs < -math.log1p(0.02)).sum())
        one_sided = oracle.binomtest(max(above, below), n, 0.5, alternative="greater").pvalue
        assert stats.difference_p_value(list(logs)) == pytest.approx(min(1, 2 * one_sided))
    assert stats.difference_p_value([]) == 1.0


def test_holm_rejects_in_order_until_the_first_that_may_not():
    assert stats.holm([0.03, 0.001, 0.02]) == [True, True, True]
    assert stats.holm([0.04, 0.03, 0.03]) == [False, False, False]
    assert stats.holm([0.001, 0.2, 0.024]) == [True, False, True]
    assert stats.holm([]) == []

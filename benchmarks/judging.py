"""What each method concludes from a trial in which the truth is known: rows are equal, or slower by a tenth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from trials import EQUAL, REFERENCE, ROWS, SETTING, SLOWED, Trial

from keronyx.profiles import stats
from keronyx.profiles.ranking import rankings, ratio_over_sets
from keronyx.profiles.stats import Comparison
from keronyx.profiles.trust import trusted
from keronyx.types import SCHEMA, Environment, ModelSpec, Plan, Report, Row, Samples, Status

DIFFERENT = (Comparison.FASTER, Comparison.SLOWER)
POOLED = 5
"""Process sets of a pooled run: the most that keronyx makes by itself."""

P_VALUE, TOLERANCE = 0.05, 0.05
"""What other tools judge by: a Mann-Whitney test at 5 %, or means more than 5 % apart."""

MOST_WRONG = 0.02
"""Share of trials in which keronyx may call an equal row different."""

NORMAL_95 = 1.96


def report_of(trials: Sequence[Trial], plan: Plan, environment: Environment, cpu: bool = False) -> Report:
    """The report that `profile` would make of these rounds, joined; on CPU time instead of wall time with `cpu`."""

    def joined(parts: Sequence[Samples]) -> Samples:
        wall = tuple(one for part in parts for one in (part.cpu_ns if cpu else part.wall_ns))
        return Samples(wall, tuple(one for part in parts for one in part.cpu_ns))

    def row(name: str) -> Row:
        samples = joined([trial.rounds.samples[name] for trial in trials])
        return Row(name, "ort", "cpu", "fp32", 1, Status.OK, samples=samples)

    return Report(
        schema=SCHEMA,
        keronyx="",
        created="",
        model=ModelSpec("", "", (), (), 0, ""),
        artifacts=(),
        environment=environment,
        plan=plan,
        rows=tuple(row(name) for name in ROWS),
        control={SETTING: joined([trial.rounds.control for trial in trials])},
        rounds=tuple(
            replace(one, setting=SETTING, process_set=trial.process_set)
            for trial in trials
            for one in trial.rounds.rounds
        ),
    )


def verdicts(report: Report) -> dict[str, Comparison]:
    """What keronyx says of each row against the reference."""
    return {standing.row.id: standing.comparison for standing in rankings(report)[0].standings}


def calls_equal_different(report: Report) -> bool:
    found = verdicts(report)
    return any(found[row] in DIFFERENT for row in EQUAL)


def slowed_is(report: Report, comparison: Comparison) -> bool:
    return verdicts(report)[SLOWED] is comparison


def differs_beyond(report: Report, margin: float) -> bool:
    """Whether an equal row's interval lies beyond a fixed margin, without the correction for several rows."""
    samples = {row.id: row.samples for row in report.rows}
    ratios = [stats.paired_ratio(samples[row], samples[REFERENCE]) for row in EQUAL]
    return any(stats.compare(ratio, margin) in DIFFERENT for ratio in ratios)


def holds(report: Report, row: str, truth: float) -> bool:
    """Whether the interval of a row's ratio to the reference holds the true one."""
    samples = {one.id: one.samples for one in report.rows}
    found = ratio_over_sets(samples[row], samples[REFERENCE], [one.process_set for one in report.rounds])
    return bool(found and found.interval and found.interval.low <= truth <= found.interval.high)


def mann_whitney(trial: Trial, cpu: bool = False) -> bool:
    """Whether the test calls the calls of an equal row's block different from those of the reference's."""
    from scipy.stats import mannwhitneyu

    calls = {row: turn.cpu_ns if cpu else turn.wall_ns for row, turn in trial.blocks.items()}
    return any(mannwhitneyu(calls[row], calls[REFERENCE]).pvalue < P_VALUE for row in EQUAL)


def means_apart(trial: Trial) -> bool:
    """Whether the mean of an equal row's block is beyond the tolerance from that of the reference's."""
    base = np.mean(trial.blocks[REFERENCE].wall_ns)
    ratios = [float(np.mean(trial.blocks[row].wall_ns) / base) for row in EQUAL]
    return any(abs(math.log(ratio)) > math.log1p(TOLERANCE) for ratio in ratios)


# --- all trials -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Count:
    """In how many of `of` trials something was so; `most` is the largest share that is to be held, if any."""

    name: str
    k: int
    of: int
    most: float | None = None

    def interval(self) -> tuple[float, float]:
        """Clopper and Pearson's exact 95 % interval of the share; 0..1 of no trials."""
        from scipy.stats import binomtest

        if not self.of:
            return 0.0, 1.0
        found = binomtest(self.k, self.of).proportion_ci(0.95, "exact")
        return float(found.low), float(found.high)

    def clearly_missed(self) -> bool:
        return self.most is not None and self.interval()[0] > self.most


def counts(trials: Sequence[Trial], plan: Plan, environment: Environment) -> list[Count]:
    """Every method over all trials, the one that is to be held first."""
    reports = [report_of([trial], plan, environment) for trial in trials]
    on_cpu = [report_of([trial], plan, environment, cpu=True) for trial in trials]
    pools = [report_of(pool, plan, environment) for pool in pooled(trials)]
    sound = [report for report in reports if trusted(report)[0]]

    def share(name: str, of: Sequence[Report], wrong: Callable[[Report], bool], most: float | None = None) -> Count:
        return Count(name, sum(map(wrong, of)), len(of), most)

    n, sets = len(trials), f"{POOLED} process sets together"
    return [
        share("equal row called different: keronyx's verdict", reports, calls_equal_different, MOST_WRONG),
        share("- in trials marked TRUSTED alone", sound, calls_equal_different),
        share(f"- rounds of {sets}", pools, calls_equal_different),
        share("- on CPU time", on_cpu, calls_equal_different),
        share("- margin 2 % whatever A/A' shows", reports, lambda one: differs_beyond(one, stats.MARGIN)),
        share("- no margin", reports, lambda one: differs_beyond(one, 0.0)),
        Count("- one after the other, Mann-Whitney p < 0.05", sum(map(mann_whitney, trials)), n),
        Count("- one after the other, the same on CPU time", sum(mann_whitney(one, cpu=True) for one in trials), n),
        Count("- one after the other, means more than 5 % apart", sum(map(means_apart, trials)), n),
        share(
            "slowdown of 10 % called slower: keronyx's verdict", reports, lambda one: slowed_is(one, Comparison.SLOWER)
        ),
        share("- in trials marked TRUSTED alone", sound, lambda one: slowed_is(one, Comparison.SLOWER)),
        share(f"- rounds of {sets}", pools, lambda one: slowed_is(one, Comparison.SLOWER)),
        share("- on CPU time", on_cpu, lambda one: slowed_is(one, Comparison.SLOWER)),
        share("slowdown of 10 % called faster", reports, lambda one: slowed_is(one, Comparison.FASTER)),
        share("interval holds the true ratio of 1.10", reports, lambda one: holds(one, SLOWED, 1.1)),
        share(f"- rounds of {sets}", pools, lambda one: holds(one, SLOWED, 1.1)),
    ]


def pooled(trials: Sequence[Trial]) -> list[list[Trial]]:
    """The i-th trials of each five process sets in a row: runs as `--processes 5` makes them. No trial is in two."""
    sets: dict[int, list[Trial]] = {}
    for trial in trials:
        sets.setdefault(trial.process_set, []).append(trial)
    groups = list(sets.values())
    return [
        list(run)
        for first in range(0, len(groups) - POOLED + 1, POOLED)
        for run in zip(*groups[first : first + POOLED], strict=False)
    ]


@dataclass(frozen=True)
class Spread:
    """How far a ratio, whose truth is 1, varies from one set of processes to the next.

    `between` is the standard deviation over process sets of their median log-ratio; `within` what one set's own
    interval says it should be (half of it divided by 1.96), the median over sets.
    """

    name: str
    between: float
    within: float

    @property
    def factor(self) -> float:
        return self.between / self.within if self.within > 0 else math.nan


def spreads(trials: Sequence[Trial]) -> list[Spread]:
    """Of the control, which runs in the reference's own process, and of equal rows, which run in others."""

    def logs(samples: Samples, trial: Trial) -> list[float]:
        return stats.log_ratios(samples, trial.rounds.samples[REFERENCE])

    found = [_spread("same process (A/A' control)", [[(t.process_set, logs(t.rounds.control, t)) for t in trials]])]
    others = [[(t.process_set, logs(t.rounds.samples[row], t)) for t in trials] for row in EQUAL]
    return [one for one in (*found, _spread("other processes (equal rows)", others)) if one is not None]


def _spread(name: str, rows: Sequence[Sequence[tuple[int, list[float]]]]) -> Spread | None:
    """Of several rows together; None for fewer than three process sets."""
    variances, halves = [], []
    for row in rows:
        sets: dict[int, list[float]] = {}
        for number, logs in row:
            sets.setdefault(number, []).extend(logs)
        intervals = [stats.median_interval(logs) for logs in sets.values()]
        medians = [middle for logs in sets.values() if (middle := stats.median(logs)) is not None]
        if len(medians) < 3:
            return None
        variances.append(float(np.var(medians, ddof=1)))
        halves += [(one.high - one.low) / 2 for one in intervals if one is not None]
    return Spread(name, math.sqrt(float(np.mean(variances))), float(np.median(halves)) / NORMAL_95) if halves else None

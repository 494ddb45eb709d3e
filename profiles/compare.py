"""Two stored runs, row by row: faster, slower, equivalent or undecided.

Runs made at different times are different processes on a machine in a different mood: their rounds cannot be paired, so
their medians are compared, and nothing is called different by a run that is not trusted itself. Two reports of models
measured interleaved (`compare --live`) are compared round by round instead: only that finds narrow differences.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from keronyx.errors import UsageError
from keronyx.profiles import stats
from keronyx.profiles.plan import LEAST_PROCESS_SETS
from keronyx.profiles.ranking import Standing, latency_over_sets, parity_failed, rankings, ratio_over_sets
from keronyx.profiles.stats import Comparison, Estimate, Interval
from keronyx.profiles.trust import trusted
from keronyx.types import Environment, Report, Row

ONE_PROCESS_MARGIN = 0.10
"""Difference that counts where a run had fewer than three sets of processes: equal models in two processes are often
some percent apart for as long as these live, which no interval of theirs shows."""


@dataclass(frozen=True)
class Change:
    """One row in both runs.

    `old` and `new` are latencies in milliseconds, `ratio` is new over old (above 1 is slower). `comparison` is None
    where latencies cannot be compared; `problem` says why, or what got worse besides latency. `more_rounds` is about
    how many rounds of the new run would decide an undecided row.
    """

    row: str
    old: Estimate | None
    new: Estimate | None
    ratio: Estimate | None
    comparison: Comparison | None
    problem: str
    regression: bool
    more_rounds: int | None


@dataclass(frozen=True)
class Changes:
    """The comparison of two runs. `distrust` holds why a run is not trusted, with `old:` or `new:` in front."""

    old: Report
    new: Report
    rows: tuple[Change, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    margin: float
    distrust: tuple[str, ...]

    @property
    def regressions(self) -> tuple[Change, ...]:
        return tuple(change for change in self.rows if change.regression)


def compare(old: Report, new: Report, fail_slower: float | None = None, across_machines: bool = False) -> Changes:
    """Compare the rows two runs have in common.

    Args:
        fail_slower: a row is a regression when its whole interval lies beyond this relative slow-down, and beyond what
            counts as different at all: 2 %, what either run's A/A' control shows, or 10 % where a run had fewer than
            three sets of processes.
        across_machines: compare although the machine or the threads differ.

    Raises:
        UsageError: no row in common, or another machine or thread count without `across_machines`.
    """
    paired = interleaved(old, new)
    if not across_machines and not paired and (differences := _other_terms(old, new)):
        raise UsageError(f"the runs differ in {'; '.join(differences)}", "compare anyway with --across-machines")
    before, after = ({row.id: row for row in report.rows} for report in (old, new))
    common = [row_id for row_id in before if row_id in after]
    if not common:
        raise UsageError("the runs have no row in common", "profile the same runtimes, providers and batches")
    distrust = tuple(f"{name}: {why}" for name, run in (("old", old), ("new", new)) for why in trusted(run)[1])
    margin = max(ranking.margin for report in (old, new) for ranking in rankings(report))
    standings = [_standings(report) for report in (old, new)]
    if few_processes(old) or few_processes(new):
        margin = max(margin, ONE_PROCESS_MARGIN)
    changes = tuple(
        _change(
            (old, new),
            before[i],
            after[i],
            standings[0].get(i),
            standings[1].get(i),
            margin,
            fail_slower,
            bool(distrust),
            paired,
        )
        for i in common
    )
    return Changes(
        old,
        new,
        _together(changes, before, after, margin) if paired else changes,
        tuple(i for i in before if i not in after),
        tuple(i for i in after if i not in before),
        margin,
        distrust,
    )


def interleaved(old: Report, new: Report) -> bool:
    """Whether the rounds of two reports were made together, so that round i of one is round i of the other."""
    return bool(old.interleaved) and old.interleaved == new.interleaved


def _together(
    changes: tuple[Change, ...], before: dict[str, Row], after: dict[str, Row], margin: float
) -> tuple[Change, ...]:
    """Call a row different only if all rows together leave at most one false call in 20 comparisons (Holm)."""
    judged = [change for change in changes if change.ratio is not None]
    p_values = [
        stats.difference_p_value(stats.log_ratios(after[c.row].samples, before[c.row].samples), margin) for c in judged
    ]
    doubtful = {c.row for c, sure in zip(judged, stats.holm(p_values), strict=True) if not sure}
    different = (Comparison.FASTER, Comparison.SLOWER)
    return tuple(
        replace(c, comparison=Comparison.UNDECIDED, regression=bool(c.problem))
        if c.row in doubtful and c.comparison in different
        else c
        for c in changes
    )


def independent_ratio(new: Estimate, old: Estimate) -> Estimate:
    """Ratio of two medians from independent runs.

    Each median's interval is taken at the square root of the level, so that both hold together with at least 95 %; the
    ratio's interval spans their extremes. None as interval where either has none.
    """
    interval = None
    if new.interval is not None and old.interval is not None and old.interval.low > 0:
        level = new.interval.level * old.interval.level
        interval = Interval(new.interval.low / old.interval.high, new.interval.high / old.interval.low, level)
    return Estimate(new.value / old.value, interval, min(new.n, old.n))


def _change(
    runs: tuple[Report, Report],
    before: Row,
    after: Row,
    old: Standing | None,
    new: Standing | None,
    margin: float,
    fail_slower: float | None,
    distrust: bool,
    paired: bool,
) -> Change:
    level = math.sqrt(stats.LEVEL)
    first = _latency(runs[0], before, level) if old else None
    second = _latency(runs[1], after, level) if new else None
    problem = _worse(before, after, first, second)
    if first is None or second is None or not first.value > 0:
        return Change(before.id, first, second, None, None, problem or "not timed in both", bool(problem), None)
    together = ratio_over_sets(after.samples, before.samples, _sets(runs[0], before)) if paired else None
    ratio = together or independent_ratio(second, first)
    comparison = Comparison.UNDECIDED if distrust else stats.compare(ratio, margin)
    limit = max(margin, fail_slower or 0.0)
    slower = comparison is Comparison.SLOWER
    beyond = slower and ratio.interval is not None and ratio.interval.low > 1 + limit
    more = stats.rounds_needed(ratio, margin) if comparison is Comparison.UNDECIDED and not distrust else None
    return Change(before.id, first, second, ratio, comparison, problem, bool(problem) or beyond, more)


def _worse(before: Row, after: Row, old: Estimate | None, new: Estimate | None) -> str:
    """What a row has lost besides time."""
    if parity_failed(after) and not parity_failed(before):
        return "its answers are wrong now"
    if old is not None and new is None:
        return f"{after.status.value}: {after.reason}" if after.reason else after.status.value
    return ""


def _latency(report: Report, row: Row, level: float) -> Estimate | None:
    return latency_over_sets(row.samples, _sets(report, row), level)


def _sets(report: Report, row: Row) -> list[int]:
    """The set of processes that each round of the row's setting ran in."""
    return [one.process_set for one in report.rounds if one.setting == row.setting]


def few_processes(report: Report) -> bool:
    """Whether a run says too little of how much fresh processes differ."""
    sets = {(one.setting, one.process_set) for one in report.rounds}
    return any(sum(name == setting for name, _ in sets) < LEAST_PROCESS_SETS for setting, _ in sets)


def _standings(report: Report) -> dict[str, Standing]:
    return {standing.row.id: standing for ranking in rankings(report) for standing in ranking.standings}


def _other_terms(old: Report, new: Report) -> list[str]:
    """What makes two runs incomparable: machine, threads, what the models were fed."""

    def machine(e: Environment) -> dict[str, object]:
        return {"CPU": e.cpu, "cores": e.usable_cores, "GPU": e.gpu or "none"}

    def terms(report: Report) -> dict[str, object]:
        return {**machine(report.environment), "threads": report.plan.threads, "inputs in turn": report.plan.rotation}

    before, after = terms(old), terms(new)
    return [f"{key} ({before[key]} and {after[key]})" for key in before if before[key] != after[key]]

"""Which rows are fastest, by what their paired ratios prove: undecided pairs are never ranked.

Rows are compared within one setting (batch, threads, callers). A row whose parity fails takes part in no comparison
of winners.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from keronyx.profiles import plan, process_sets, stats
from keronyx.profiles.stats import Comparison, Estimate
from keronyx.types import TIMED, Report, Row, Samples, Verdict


@dataclass(frozen=True)
class Standing:
    """What the samples of one timed row say.

    `latency` is in milliseconds, over rounds. `ratio` is its latency over the reference's (None for the reference
    itself, or without a common round); `comparison` is the verdict of that ratio. `widened` says that its interval is
    that between sets of processes, which more rounds of the same processes cannot narrow.
    """

    row: Row
    latency: Estimate
    ratio: Estimate | None
    comparison: Comparison
    widened: bool = False


@dataclass(frozen=True)
class Ranking:
    """The timed rows of one setting, lowest median first.

    `control` is the A/A' ratio (truth: 1), `margin` the relative difference that counts as equal. `winners` are the
    quickest row with sound parity and every row not proven slower than it; empty while nothing can be said.
    `between_winners` is UNDECIDED as soon as one of those pairs is; `more_rounds` about how many rounds would decide.
    """

    setting: str
    reference: Row | None
    control: Estimate | None
    margin: float
    standings: tuple[Standing, ...]
    winners: tuple[Standing, ...]
    between_winners: Comparison
    more_rounds: int | None


def parity_failed(row: Row) -> bool:
    """Whether the row gives other answers than the reference."""
    return row.parity is not None and row.parity.verdict is Verdict.FAIL


def timed(row: Row) -> bool:
    """Whether the row's latency may be shown: its status allows it and there are samples."""
    return row.status in TIMED and any(row.samples.wall_ns)


def rankings(report: Report) -> tuple[Ranking, ...]:
    """One ranking for each setting in the report: by batch, then threads, then callers."""
    settings = {row.setting: (row.batch, row.threads or 0, row.concurrency) for row in report.rows}
    return tuple(_rank(report, setting) for setting in sorted(settings, key=settings.__getitem__))


def latency_over_sets(samples: Samples, sets: Sequence[int], level: float | None = None) -> Estimate | None:
    """Median latency in milliseconds, over rounds; `sets` says which set of processes each round ran in.

    The interval is the wider of that within and that between processes, where there are three sets at least.
    """
    medians = {i: ns / 1e6 for i, ns in enumerate(stats.round_medians(samples.wall_ns)) if ns is not None}
    if len(set(sets)) < plan.LEAST_PROCESS_SETS or any(ms <= 0 for ms in medians.values()):
        return stats.estimate(list(medians.values()), level)
    medians = {i: ms for i, ms in medians.items() if i < len(sets)}  # Ctrl-C cuts a round short, which then is none
    return _over_sets([math.log(ms) for ms in medians.values()], [sets[i] for i in medians], level)


def ratio_over_sets(
    row: Samples, reference: Samples, sets: Sequence[int], level: float | None = None
) -> Estimate | None:
    """`stats.paired_ratio`, with the wider of its intervals within and between sets of processes."""
    logs = stats.log_ratios_by_round(row, reference)
    if len(set(sets)) < plan.LEAST_PROCESS_SETS:
        return stats.paired_ratio(row, reference, level)
    logs = {i: log for i, log in logs.items() if i < len(sets)}
    return _over_sets(list(logs.values()), [sets[i] for i in logs], level)


def joint_level(rows: int) -> float:
    """Level at which so many intervals hold all together with 95 % (Bonferroni)."""
    return 1 - (1 - stats.LEVEL) / max(rows, 1)


def _widened(ratio: Estimate | None, row: Samples, reference: Samples) -> bool:
    """Whether fresh processes differ by more than the rounds within them."""
    within = stats.paired_ratio(row, reference)
    if ratio is None or ratio.interval is None or within is None or within.interval is None:
        return False
    return ratio.interval.high / ratio.interval.low > 1.001 * within.interval.high / within.interval.low


def _over_sets(logs: Sequence[float], sets: Sequence[int], level: float | None) -> Estimate | None:
    within = stats.estimate(logs, level)
    if within is None:
        return None
    return stats.exponential(process_sets.widened(within, logs, sets, level or stats.LEVEL))


def _rank(report: Report, setting: str) -> Ranking:
    rows = [row for row in report.rows if row.setting == setting]
    asked = report.plan.reference.get(setting)
    reference = next((row for row in rows if row.id == asked), None)
    base = reference.samples if reference is not None and timed(reference) else Samples()
    sets = [one.process_set for one in report.rounds if one.setting == setting]
    control = ratio_over_sets(report.control.get(setting, Samples()), base, sets)
    margin = stats.equivalence_margin(control)

    standings = []
    for row in rows:
        latency = latency_over_sets(row.samples, sets) if timed(row) else None
        if latency is not None:
            ratio = None if row is reference else ratio_over_sets(row.samples, base, sets)
            comparison = Comparison.EQUIVALENT if row is reference else stats.compare(ratio, margin)
            standings.append(Standing(row, latency, ratio, comparison, _widened(ratio, row.samples, base)))
    standings = _together(standings, base, margin, sets)
    standings.sort(key=lambda standing: standing.latency.value)

    winners, between, more = _winners([s for s in standings if not parity_failed(s.row)], margin, sets)
    return Ranking(setting, reference, control, margin, tuple(standings), winners, between, more)


def _together(standings: list[Standing], base: Samples, margin: float, sets: Sequence[int]) -> list[Standing]:
    """Call a row faster or slower only if all rows together leave at most one false call in 20 runs.

    By Holm's method over the rounds; where fresh processes differ by more than rounds do, by Bonferroni's over them.
    """
    judged = [s for s in standings if s.ratio is not None]
    p_values = [stats.difference_p_value(stats.log_ratios(s.row.samples, base), margin) for s in judged]
    doubtful = {id(s) for s, sure in zip(judged, stats.holm(p_values), strict=True) if not sure}
    joint = joint_level(len(judged))
    for s in judged:
        if s.widened and stats.compare(ratio_over_sets(s.row.samples, base, sets, joint), margin) is not s.comparison:
            doubtful.add(id(s))
    different = (Comparison.FASTER, Comparison.SLOWER)
    return [
        replace(s, comparison=Comparison.UNDECIDED) if id(s) in doubtful and s.comparison in different else s
        for s in standings
    ]


def _winners(
    sound: list[Standing], margin: float, sets: Sequence[int]
) -> tuple[tuple[Standing, ...], Comparison, int | None]:
    """The quickest and those not proven slower, what holds between them, and rounds that would decide."""
    if not sound or sound[0].latency.interval is None:
        return (), Comparison.UNDECIDED, None
    quickest, *others = sound
    winners, needed = [quickest], []
    for other in others:
        ratio = ratio_over_sets(other.row.samples, quickest.row.samples, sets)
        verdict = stats.compare(ratio, margin)
        if verdict is Comparison.SLOWER and _widened(ratio, other.row.samples, quickest.row.samples):
            joint = ratio_over_sets(other.row.samples, quickest.row.samples, sets, joint_level(len(others)))
            verdict = stats.compare(joint, margin)
        if verdict is not Comparison.SLOWER:
            winners.append(other)
        if verdict is Comparison.UNDECIDED:
            widened = _widened(ratio, other.row.samples, quickest.row.samples)
            needed.append(None if widened else stats.rounds_needed(ratio, margin))
    between = Comparison.UNDECIDED if needed else Comparison.EQUIVALENT
    known = [count for count in needed if count is not None]
    return tuple(winners), between, max(known) if known and len(known) == len(needed) else None

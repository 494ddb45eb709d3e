"""Whether a measurement can be believed, and why not."""

from __future__ import annotations

import math

import numpy as np

from keronyx.profiles import stats, wording
from keronyx.profiles.ranking import Ranking, rankings
from keronyx.types import Report

LEAST_ROUNDS = 6
"""Below this an order-statistic interval of the median cannot reach 95 %."""

MOST_MARGIN = 0.10
"""Relative difference below which this run cannot tell rows apart; above this it decides too little to rely on."""

MOST_STEAL = 0.05
"""Share of CPU time taken by the hypervisor, averaged over rounds."""

MOST_THROTTLED = 0.05
"""Share of CPU time that a control group's quota withheld, averaged over rounds."""

LEAST_CPU_PER_WALL = 0.7
"""CPU time by wall time of a model that runs on the CPU: below, its threads waited for something else to end."""

MOST_OTHER = 0.10
"""Share of CPU time used by other processes in the median round."""


def trusted(report: Report, found: tuple[Ranking, ...] | None = None) -> tuple[bool, tuple[str, ...]]:
    """Whether the run measured what it claims, and every reason why not (empty when it did).

    Not trusted: an A/A' control whose interval excludes 1 by more than 2 %, is so wide that rows closer than 10 %
    cannot be told apart, or that is missing; fewer than 6 rounds;
    a CPU row that got less than 0.7 of a CPU while its caller waited; a clock whose ticks are longer than 2 % of a
    row's calls; steal above 5 % of CPU time on average, or a quota that withheld so much; other processes above 10 %
    of CPU time in the median round.
    `found` are the report's rankings where they are known already.
    """
    reasons: list[str] = []
    found = rankings(report) if found is None else found
    for ranking in found:
        where = f" at {ranking.setting}" if len(found) > 1 else ""
        reasons += [reason + where for reason in (*_control_reasons(ranking), *_starved(ranking), *_coarse(ranking))]
    if not found:
        reasons.append("the report has no rows")
    steal, other = _steal(report), _other(report)
    if steal is not None and not steal <= MOST_STEAL:
        reasons.append(
            f"the hypervisor took {wording.share(steal)} of the CPU time (limit {wording.share(MOST_STEAL)})"
        )
    throttled = sum(one.throttled for one in report.rounds) / max(len(report.rounds), 1)
    if not throttled <= MOST_THROTTLED:
        limit = wording.share(MOST_THROTTLED)
        reasons.append(f"a CPU quota withheld {wording.share(throttled)} of the CPU time (limit {limit})")
    if other is not None and not other <= MOST_OTHER:
        limit = wording.share(MOST_OTHER)
        reasons.append(f"other processes used {wording.share(other)} of the CPU time (limit {limit})")
    return not reasons, tuple(reasons)


def _starved(ranking: Ranking) -> list[str]:
    """CPU rows whose process got far less than one CPU while its caller waited."""
    starved = []
    for standing in ranking.standings:
        row = standing.row
        busy = stats.cpu_per_wall(row.samples)
        if row.provider == "cpu" and row.concurrency == 1 and busy is not None and busy < LEAST_CPU_PER_WALL:
            starved.append(f"{wording.label(row)} got {busy:.2f} of a CPU while its caller waited")
    if not starved:
        return []
    return [f"{wording.several(tuple(starved), 2)} (cpu/wall, at least {LEAST_CPU_PER_WALL})"]


def _coarse(ranking: Ranking) -> list[str]:
    """Rows whose durations the clock shows in steps too long to tell by 2 % how they differ."""
    rows = [standing.row for standing in ranking.standings if _ticks(stats.calls(standing.row.samples.wall_ns))]
    if not rows:
        return []
    labels = wording.several(tuple(wording.label(row) for row in rows), 2)
    return [f"the clock is too coarse for {labels} (a tick at most {wording.share(stats.MARGIN)} of a call)"]


def _ticks(calls: tuple[float, ...]) -> bool:
    """Whether these durations repeat although the closest of those that differ lie more than 2 % of a call apart.

    Where a clock of nanoseconds shows some durations twice, others lie next to each other. Of durations that are all
    the same, one tick may be as long as they are.
    """
    durations = np.unique(np.asarray(calls, dtype=float))
    if len(durations) == len(calls):
        return False
    steps = np.diff(durations) if len(durations) > 1 else durations
    return float(steps.min()) >= stats.MARGIN * float(np.median(calls))


def _control_reasons(ranking: Ranking) -> list[str]:
    if not ranking.standings:
        return ["no row was timed"]
    control = ranking.control
    if control is None:
        return ["no A/A' control: the reference row was not timed twice"]
    if control.n < LEAST_ROUNDS or control.interval is None:
        return [f"too few rounds to say ({control.n}, at least {LEAST_ROUNDS})"]
    if control.interval.low > 1 + stats.MARGIN or control.interval.high < 1 / (1 + stats.MARGIN):
        return [f"the reference differs from itself: A/A' {wording.ratio(control, '', 4)}"]
    if ranking.margin > MOST_MARGIN:
        limit = wording.share(MOST_MARGIN)
        return [f"rows closer than {wording.share(ranking.margin)} cannot be told apart (limit {limit})"]
    return []


def _steal(report: Report) -> float | None:
    readings = [one.steal for one in report.rounds if math.isfinite(one.steal)]
    return sum(readings) / len(readings) if readings else None


def _other(report: Report) -> float | None:
    return stats.median([one.other for one in report.rounds if math.isfinite(one.other)])


def _of_control(ranking: Ranking, threads: int) -> list[str]:
    """What the A/A' control of a run of one setting says, and how busy its reference kept the CPU."""
    signs = [f"A/A' {wording.ratio(ranking.control, '', 4)}", f"tells {wording.share(ranking.margin)} apart"]
    busy = stats.cpu_per_wall(ranking.reference.samples) if ranking.reference is not None else None
    if busy is not None:
        signs.append(f"cpu/wall {busy:.2f} on {threads} thread" + ("" if threads == 1 else "s"))
    return signs


def vital_signs(report: Report, found: tuple[Ranking, ...]) -> str:
    """The figures behind the verdict: `A/A' 1.004 [0.991, 1.020] · cpu/wall 1.94 on 2 threads · steal 0.1 %`."""
    controlled = [ranking for ranking in found if ranking.control is not None]
    if len(found) > 1:
        apart = ", ".join(f"{ranking.setting} {wording.share(ranking.margin)}" for ranking in controlled)
        signs = [f"tells apart: {apart}"] if apart else []
    else:
        signs = [sign for ranking in controlled for sign in _of_control(ranking, report.plan.threads)]
    steal, other = _steal(report), _other(report)
    if steal is not None:
        signs.append(f"steal {wording.share(steal)}")
    if other is not None:
        signs.append(f"others {wording.share(other)}")
    canary = [one.canary_cpu_ns / 1e6 for one in report.rounds if one.canary_cpu_ns > 0]
    if canary:
        low, high = (float(value) for value in np.percentile(canary, (10, 90)))
        signs.append(
            f"canary {wording.number(stats.median(canary), 3)} ms ±{wording.share((high - low) / (high + low))}"
        )
    floors = [row.harness_ns for row in report.rows if row.harness_ns is not None]
    if floors:
        signs.append(f"harness {max(floors) / 1000:.1f} us a call")
    return " · ".join(signs)

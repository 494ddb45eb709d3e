"""The sentences of a report: what is said about a row, the run, the machine, and what the words mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from keronyx.profiles import conduct, stats, wording
from keronyx.profiles.ranking import Ranking, Standing, parity_failed
from keronyx.profiles.stats import Comparison
from keronyx.types import TIMED, Fitness, Gate, Report, Row, Status, Verdict

OF_THE_EXPORT = re.compile(r"structure, contract|conversion \d|gates \d|graph passes |\w+ \d+ -> \d+ nodes")
"""How evidence begins that tells how the file was made: said once, below the table, not in every row of the file."""

WORTH_A_NOTE_S = 1.0
"""A start later by less than this repays itself unnoticed."""


def about(row: Row, standing: Standing, ranking: Ranking, label: Callable[[Row], str]) -> str:
    """The note of a timed row: its rank, what it owes its speed to, what must be known before it is chosen."""
    parts = []
    if standing in ranking.winners:
        parts.append("fastest" if len(ranking.winners) == 1 else "fastest (tie)")
    if parity_failed(row):
        parts.append("wrong answers, not ranked")
        parts += [f"{gate.name}: {gate.detail}" for gate in _failed_gates(row) if gate.detail][:1]
    if row.status is Status.PARTIAL:
        parts.append(_elsewhere(row))
    found = (_against_reference(standing, ranking, label), _repays(standing, ranking), *conduct.remarks(row, ranking))
    parts += [text for text in found if text]
    parts += [said for said in row.evidence if not OF_THE_EXPORT.match(said)]
    return "; ".join(parts)


def _failed_gates(row: Row) -> list[Gate]:
    return [gate for gate in row.parity.gates if gate.verdict is Verdict.FAIL] if row.parity else []


def _elsewhere(row: Row) -> str:
    """Which nodes ran on another provider, and that provider's share of the kernel time."""
    placement = row.placement
    others = {name: part for name, part in placement.executed.items() if not _is_provider(name, row.provider)}
    where = ", ".join(f"{name} {wording.share(part)} of kernel time" for name, part in sorted(others.items()))
    nodes = wording.several(placement.nodes_elsewhere)
    text = f"ran elsewhere: {nodes}" if nodes else "some nodes ran elsewhere"
    return f"{text} ({where})" if where else text


def _is_provider(name: str, provider: str) -> bool:
    """Whether `name` as a runtime prints it (CUDAExecutionProvider) is keronyx's `provider` (cuda)."""
    return name.casefold().startswith(provider.casefold())


def _against_reference(standing: Standing, ranking: Ranking, label: Callable[[Row], str]) -> str:
    if standing.ratio is None or ranking.reference is None:
        return ""
    if standing.comparison is Comparison.EQUIVALENT:
        return f"equivalent to {label(ranking.reference)}"
    if standing.comparison is Comparison.UNDECIDED:
        head = f"undecided vs {label(ranking.reference)}"
        if standing.widened:
            return f"{head}: fresh processes differ, more of them would decide (--processes)"
        more = stats.rounds_needed(standing.ratio, ranking.margin)
        return head + (f": about {more:,} more rounds" if more else "")
    return ""


def _repays(standing: Standing, ranking: Ranking) -> str:
    """Whether a later start is worth it: `compile 12 s: repays after 9,800 calls`, `starts 2 s later: never repays`."""
    row, reference = standing.row, ranking.reference
    base = next((other for other in ranking.standings if other.row is reference), None)
    if base is None or base is standing or row.cold is None:
        return ""
    cold_s, base_s = stats.cold_s(row), stats.cold_s(base.row)
    if cold_s is None or base_s is None or cold_s - base_s < WORTH_A_NOTE_S:
        return ""
    head = f"starts {wording.seconds(cold_s - base_s)} s later"
    if row.cold.compile_s >= WORTH_A_NOTE_S:
        head = f"compile {wording.seconds(row.cold.compile_s)} s"
    if standing.comparison is Comparison.UNDECIDED:
        return f"{head}: no gain proven to repay it"
    calls = stats.break_even_calls(cold_s, base_s, standing.latency.value, base.latency.value)
    if standing.comparison is not Comparison.FASTER or not calls:
        return f"{head}: never repays"
    return f"{head}: repays after {calls:,} calls"


def why_absent(row: Row) -> str:
    """`reason: remedy` of a row without a latency; it never holds a figure of a measurement."""
    reason = row.reason or ("no call was timed" if row.status in TIMED else "no reason was recorded")
    return wording.clean(f"{reason}: {row.remedy}" if row.remedy else reason)


def remarks(report: Report, label: Callable[[Row], str]) -> tuple[str, ...]:
    """Every warning of the run and of its rows, and how measuring ended."""
    found = [f"measuring ended: {report.stopped}"] if report.stopped else []
    found += report.warnings
    found += conduct.of_machine(report)
    found += [f"resumed {when}" for when in report.resumed]
    found += [f"{check.name}: {check.detail}" for check in report.preflight if check.state is Fitness.WARN]
    found += [f"{label(row)}: {warning}" for row in report.rows for warning in row.warnings]
    return tuple(wording.clean(text) for text in found)


# --- the run --------------------------------------------------------------------------------------------------------


def facts(report: Report) -> str:
    """What was measured: inputs, size, threads, rounds."""
    model = report.model
    parts = [" + ".join(wording.tensor(spec) for spec in model.inputs), f"{model.parameters:,} parameters"]
    if model.macs is not None:
        parts.append(f"{wording.number(2 * model.macs / 1e9, 3)} GFLOP")
    threads = sorted({row.threads or report.plan.threads for row in report.rows} or {report.plan.threads})
    parts.append(
        " and ".join(map(str, threads[:-1])) + (" and " if threads[1:] else "") + _plural(threads[-1], "thread")
    )
    sets = [one.setting for one in {(one.setting, one.process_set): one for one in report.rounds}.values()]
    most = max((sets.count(setting) for setting in sets), default=0)
    parts.append(_plural(len(report.rounds), "round") + (f" in {most} sets of processes" if most > 1 else ""))
    parts.append(f"{wording.seconds(report.wall_s)} s in all")
    return " · ".join(part for part in parts if part)


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def exports(report: Report) -> tuple[str, ...]:
    """How long each file took to make, and its peak memory."""
    return tuple(
        wording.clean(
            f"{artifact.kind} {artifact.path}: {wording.number(artifact.bytes / 2**20, 3)} MiB, made in "
            f"{wording.seconds(artifact.seconds)} s, peak memory {artifact.peak_mib:,.0f} MiB"
            + (f" ({wording.several(artifact.evidence)})" if artifact.evidence else "")
        )
        for artifact in report.artifacts
    )


def environment(report: Report) -> str:
    """The machine and the software on one line."""
    machine = report.environment
    parts = [
        machine.cpu,
        f"{machine.usable_cores} of {machine.logical_cores} cores",
        f"{machine.memory_mib / 1024:,.1f} GiB",
        f"last-level cache {wording.number(machine.last_level_cache_mib, 3)} MiB",
        machine.gpu,
        f"governor {machine.governor}" if machine.governor else "",
        f"load {machine.load_1min:.1f}",
        machine.os,
        f"Python {machine.python}",
        *(f"{name} {version}" for name, version in sorted(machine.packages.items()) if name != "keronyx"),
        f"keronyx {report.keronyx}",
    ]
    return " · ".join(wording.clean(part) for part in parts if part)


def words(
    found: tuple[Ranking, ...], label: Callable[[Row], str], columns: Collection[str]
) -> tuple[tuple[str, str], ...]:
    """What the column headers and verdicts mean, with the margin this run allows. `columns` are keys of those shown."""
    margin = max((ranking.margin for ranking in found), default=stats.MARGIN)
    names = {label(ranking.reference) for ranking in found if ranking.reference is not None}
    reference = names.pop() if len(names) == 1 else "the reference"
    meanings = (
        ("median [95 %]", "over rounds, with its order-statistic interval; a round counts by the median of its calls"),
        (
            f"vs {reference}",
            "speed-up: median over rounds of the latency ratio within a round; above 1 is faster",
        ),
        ("equivalent", f"the whole interval is within {wording.share(margin)}, the larger of 2 % and what A/A' shows"),
        ("undecided", "the interval allows more than one verdict: such rows are not ranked"),
        ("p95", "over all calls; empty below 59 of them, which is too few to claim it"),
        ("items/s", "throughput: with one caller batch by latency, with several what all of them are served together"),
        ("callers", "several at a time share one session; latency then runs from when a request was due, at 80 % load"),
        ("cpu/wall", "cores kept busy while the caller waits"),
        ("cpu ms", "CPU time of a call, over all threads: true on a busy machine too"),
        ("cold", "process start, import, load, compile and first call; median over sets of processes"),
        ("steady", "calls before the steady state, the first included; - where none was reached"),
        ("outliers", "calls beyond Tukey's fences, 1.5 and 3 (severe) quartile ranges off; none is left out"),
        ("parity", _parity_words(found)),
        ("A/A'", f"{reference} timed a second time in every round, against itself: the truth is 1"),
    )
    hidden = {word for word, column in (("items/s", "items_per_s"), ("callers", "callers")) if column not in columns}
    return tuple((word, meaning) for word, meaning in meanings if word not in hidden)


def _parity_words(found: tuple[Ranking, ...]) -> str:
    """What the figure in the parity column is: of a run with an oracle, or of one of an earlier version."""
    checked = [s.row.parity for ranking in found for s in ranking.standings if s.row.parity is not None]
    named = {parity.reference for parity in checked}
    reference = wording.clean(named.pop()) if len(named) == 1 else "the parity reference"
    yardsticks = {parity.yardstick for parity in checked if parity.ratio is not None}
    if yardsticks:
        own = wording.clean(yardsticks.pop()) if len(yardsticks) == 1 else "Keras' own error"
        return f"largest error to the {reference} in units of {own}: about 1 is as exact as Keras itself"
    return f"99th percentile of the error over the RMS of {reference}, worst output"

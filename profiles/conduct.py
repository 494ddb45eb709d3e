"""How rows and the machine behaved during the rounds: what a reader should know of a figure before using it."""

from __future__ import annotations

from keronyx.profiles import contention, drift, gpu_words, stats, warmup, wording
from keronyx.profiles.ranking import Ranking
from keronyx.types import Report, Row, Samples

WORTH_HARNESS = 0.02
"""Share of a latency that the harness may be without a word."""

WORTH_CONTENTION = 0.1
"""Share of rounds in which something else wanted the CPU, above which undisturbed rounds are shown apart."""


def remarks(row: Row, ranking: Ranking) -> list[str]:
    """What is said of a timed row, besides its rank; empty texts where there is nothing to say."""
    return [_steady(row), _drift(row), _harness(row), *_disturbed(row, ranking), _gpu(row)]


def calls_until_steady(row: Row) -> int | None:
    """Calls before the steady state, the first included; None when none was reached, or the row never ran."""
    return warmup.steady_after([1000 * row.cold.first_call_s, *row.cold.warmup_ms]) if row.cold else None


def _steady(row: Row) -> str:
    if row.cold is None or calls_until_steady(row) is not None:
        return ""
    calls = 1 + len(row.cold.warmup_ms)
    return f"no steady state seen in {calls} calls" if calls > warmup.LAST_CALLS else ""


def _drift(row: Row) -> str:
    found = drift.drift(stats.present(stats.round_medians(row.samples.wall_ns)))
    if found is None or not drift.noticeable(found):
        return ""
    word = "slower" if found.change > 0 else "faster"
    return f"became {wording.share(abs(found.change))} {word} during the run"


def _harness(row: Row) -> str:
    latency = stats.median(stats.present(stats.round_medians(row.samples.wall_ns)))
    if row.harness_ns is None or not latency or row.harness_ns < WORTH_HARNESS * latency:
        return ""
    return f"timing itself is {wording.share(row.harness_ns / latency)} of it"


def _disturbed(row: Row, ranking: Ranking) -> list[str]:
    """The ratios over undisturbed rounds and on CPU time, where others disturbed many rounds."""
    reference = ranking.reference
    if reference is None or row is reference:
        return []
    share = contention.share(row.samples, reference.samples)
    calm = contention.uncontended_ratio(row.samples, reference.samples)
    if share is None or share < WORTH_CONTENTION:
        return []
    work = contention.cpu_ratio(row.samples, reference.samples)
    return [
        f"{wording.ratio(calm.inverse())} over the {calm.n} undisturbed rounds alone" if calm is not None else "",
        f"{wording.ratio(work.inverse())} by CPU time" if work is not None else "",
    ]


def _gpu(row: Row) -> str:
    """The parts of a call on the GPU, and what the GPU did meanwhile."""
    parts = []
    latency = stats.median(stats.present(stats.round_medians(row.samples.wall_ns)))
    if row.device is not None and latency:
        parts.append(gpu_words.headline(row.device, latency))
    readings = row.samples.gpu
    if clocks := gpu_words.sm_mhz(readings):
        parts.append(f"SM {clocks[0]:,}-{clocks[1]:,} MHz")
    if reasons := gpu_words.throttle_reasons(readings):
        parts.append(f"throttled in {wording.share(gpu_words.throttled_share(readings))} of the rounds: {reasons}")
    energy = gpu_words.energy_mj_per_call(readings)
    if energy is not None:
        parts.append(f"{wording.number(energy / 1000, 3)} J a call")
    return "; ".join(part for part in parts if part)


def of_machine(report: Report) -> list[str]:
    """Whether the machine itself changed its speed during the run, by the canary."""
    notes = []
    for setting in dict.fromkeys(one.setting for one in report.rounds):
        songs = [one.canary_cpu_ns for one in report.rounds if one.setting == setting and one.canary_cpu_ns > 0]
        found = drift.drift(songs)
        if found is not None and drift.noticeable(found):
            word = "slower" if found.change > 0 else "faster"
            notes.append(f"the machine became {wording.share(abs(found.change))} {word} during the run (canary)")
    return notes


def cpu_ms(samples: Samples) -> float | None:
    """CPU time of a call in milliseconds, the median over rounds."""
    value = stats.median(stats.present(stats.round_medians(samples.cpu_ns)))
    return None if value is None else value / 1e6

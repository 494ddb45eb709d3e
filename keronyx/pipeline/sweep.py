"""Which settings a run has, and where a sweep over batch sizes ends."""

from __future__ import annotations

from collections.abc import Sequence

from keronyx.pipeline.asked import ProfileOptions, Setting
from keronyx.pipeline.run import SettingResult
from keronyx.profiles import throughput, wording
from keronyx.types import TIMED, Runtime

LEAST_GAIN = 0.05
"""A sweep over batch sizes goes on while a row's throughput grows by this share."""


def sweep_settings(options: ProfileOptions) -> list[list[Setting]]:
    """For each thread count and number of callers, the batch sizes in the order they were named."""
    named = len(options.threads) > 1
    return [
        [Setting(batch, threads, callers, named) for batch in options.batches]
        for threads in options.threads
        for callers in options.concurrency
    ]


def still_gaining(
    runtimes: Sequence[Runtime], before: SettingResult | None, now: SettingResult
) -> tuple[tuple[Runtime, ...], list[str]]:
    """The runtimes worth a larger batch, and for each that is not, a sentence that says so.

    The reference goes on as long as any other does, since ratios are taken to it. What cannot run goes on too: its
    rows cost nothing, and a row never vanishes.
    """
    if before is None:
        return tuple(runtimes), []
    gains = {}
    for row in now.rows:
        old = next((one for one in before.rows if (one.runtime, one.provider) == (row.runtime, row.provider)), None)
        if old is not None and row.status in TIMED and old.status in TIMED:
            gains[row.runtime, row.provider] = throughput.gain(row, old)
    if not gains:
        return tuple(runtimes), []
    ended = {name: gain for name, gain in gains.items() if gain is not None and gain < LEAST_GAIN}
    reference = next((row for row in now.rows if row.id in now.plan.reference.values()), None)
    kept = [one for one in runtimes if (one.name, one.provider) not in ended]
    if not any((one.name, one.provider) in gains for one in kept):
        kept = []
    elif reference is not None:
        kept = [
            one
            for one in runtimes
            if one in kept or (one.name, one.provider) == (reference.runtime, reference.provider)
        ]
    batch = now.rows[0].batch
    said = [
        f"{wording.clean(name)}/{provider}: no larger batch tried, "
        f"{batch} brought {wording.share(abs(gain))} {'more' if gain > 0 else 'fewer'} items per second"
        for (name, provider), gain in ended.items()
        if not any((one.name, one.provider) == (name, provider) for one in kept)
    ]
    return tuple(kept), said

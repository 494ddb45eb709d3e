"""Join what a row's worker proved about its timed calls to what parity found about its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from keronyx.profiles import gpu_words, stats
from keronyx.types import DeviceTimes, Gate, Parity, Samples, Verdict

NAMES = ("follows", "complete", "uncached", "synchronised")
"""Gates that a worker proves after rounds."""

_GRAVITY = (Verdict.NOT_RUN, Verdict.PASS, Verdict.FAIL)


def with_proofs(parity: Parity | None, gates: Sequence[Gate]) -> Parity | None:
    """The parity with these gates after its own, failed when any gate is; without a parity there is nothing to join.

    Of a gate proved in several sets of processes the gravest verdict stays: the rounds of one that failed are there.
    """
    if parity is None:
        return None
    joined = {gate.name: gate for gate in parity.gates}
    for gate in gates:
        before = joined.get(gate.name)
        if before is None or _GRAVITY.index(gate.verdict) >= _GRAVITY.index(before.verdict):
            joined[gate.name] = gate
    failed = parity.verdict is Verdict.FAIL or any(gate.verdict is Verdict.FAIL for gate in joined.values())
    return replace(parity, verdict=Verdict.FAIL if failed else parity.verdict, gates=tuple(joined.values()))


def synchronised(device: DeviceTimes | None, samples: Samples) -> tuple[Gate, ...]:
    """Gate `synchronised`: a host-to-host call returns no earlier than the device is done. None without a device."""
    host_ns = stats.median(stats.present(stats.round_medians(samples.wall_ns)))
    if device is None or not device.sync_ns or not host_ns:
        return ()
    waited = f"the device needs {stats.median(device.sync_ns) or 0:,.0f} ns more after a call has returned"
    failed = gpu_words.unsynchronised(device, host_ns)
    return (Gate("synchronised", Verdict.FAIL if failed else Verdict.PASS, waited),)

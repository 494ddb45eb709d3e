"""Join what a row's worker proved about its timed calls to what parity found about its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from keronyx.types import Gate, Parity, Verdict


def with_proofs(parity: Parity | None, gates: Sequence[Gate]) -> Parity | None:
    """The parity with these gates after its own, failed when any gate is; without a parity there is nothing to join."""
    if parity is None:
        return None
    failed = parity.verdict is Verdict.FAIL or any(gate.verdict is Verdict.FAIL for gate in gates)
    return replace(parity, verdict=Verdict.FAIL if failed else parity.verdict, gates=(*parity.gates, *gates))

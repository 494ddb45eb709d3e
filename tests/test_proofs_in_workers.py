"""Rows that are quick or wrong by cheating are caught through their real processes, and end as rows that never win."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from keronyx.profiles.proofs import with_proofs
from keronyx.runtime.handle import Worker
from keronyx.types import ModelSpec, Parity, SessionRequest, TensorSpec, Verdict

SPEC = ModelSpec("m", "m", (TensorSpec("x", (1, 20, 5), "float32"),), (TensorSpec("y", (1, 40), "float32"),), 0, "")
INPUTS, ROUNDS = 4, 10


@pytest.fixture
def inputs(tmp_path: Path) -> list[Path]:
    random = np.random.default_rng(0)
    np.save(tmp_path / "input-0.npy", random.random((INPUTS, 1, 20, 5), "float32") * 255)
    return [tmp_path / "input-0.npy"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("runtime", "caught"),
    [
        ("HONEST", None),
        ("CACHED", "uncached"),
        ("STALE", "follows"),
        ("EARLY", "complete"),
        ("NAN_LATER", "follows"),
    ],
)
def test_a_cheating_row_fails_its_proof_after_real_turns_and_an_honest_one_passes(
    runtime: str, caught: str | None, inputs: list[Path], tmp_path: Path
) -> None:
    request = SessionRequest("nowhere", SPEC, "cpu", 1)
    worker = Worker("row", f"keronyx.runtime.fake:{runtime}", request, 60)
    try:
        worker.open(inputs, INPUTS, tmp_path, lambda milliseconds: len(milliseconds) > INPUTS)
        for number in range(ROUNDS):
            assert worker.turn(number, 20_000_000).wall_ns
        gates = worker.prove()
    finally:
        worker.close()
    assert [gate.name for gate in gates] == ["follows", "complete", "uncached"]
    failed = {gate.name for gate in gates if gate.verdict is Verdict.FAIL}
    assert caught in failed if caught else not failed, gates  # a slow machine may see more than one gate fail
    joined = with_proofs(Parity(Verdict.PASS, "keras float32", INPUTS, ()), gates)
    assert joined is not None and joined.gates == gates
    assert joined.verdict is (Verdict.FAIL if caught else Verdict.PASS)

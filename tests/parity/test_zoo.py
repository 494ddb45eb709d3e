"""The accuracy parity suite: every network of the zoo on every runtime that can run here, against a float64 oracle.

`make parity` runs it at the networks' own 320x400, `make test` at a small size. A runtime that cannot run here is told
of as UNAVAILABLE, with what is missing; it is never left out.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from keronyx.accuracy import EXACT
from keronyx.pipeline import ParityOptions, Silent, certify, preparation, resolve, tasks
from keronyx.runtime import RUNTIMES
from keronyx.types import TIMED, Status, Verdict

NETWORKS = ("enet", "unet:16", "unet-spatial:16", "unet-dilated:16", "model-v4")
SCENES = "scenes:10"


@pytest.mark.parity
@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_every_runtime_answers_as_keras_does(
    network: str, parity_size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # exports go to the current folder
    prepare = preparation(resolve(network, image_size=parity_size), parity_size, Silent())
    options = ParityOptions(providers=("cpu", "cuda"), task=tasks.find([SCENES]), max_drop=0.002)
    found = certify(prepare, options, Silent())
    assert len(found.rows) == len([one for one in RUNTIMES if one.provider in ("cpu", "cuda")])
    usable = {(one.name, one.provider) for one in RUNTIMES if one.missing() is None}
    for row in found.rows:
        if (row.runtime, row.provider) not in usable:
            assert row.status is Status.UNAVAILABLE and row.reason
            continue
        assert row.status in TIMED and row.parity is not None, f"{row.id}: {row.reason}"
        failed = [f"{gate.name}: {gate.detail}" for gate in row.parity.gates if gate.verdict is Verdict.FAIL]
        assert row.parity.verdict is Verdict.PASS, f"{row.id}: {failed}"
        assert row.parity.reference == "float64 oracle"
        assert row.parity.ratio is not None and row.parity.ratio <= EXACT, f"{row.id}: {row.parity.ratio}"
        assert [one.name for one in row.parity.gates] == ["structure", "finite", "tensor", "argmax", "task"]
        assert all(abs(score.value - score.reference) < 2e-3 for score in row.parity.task), row.parity.task

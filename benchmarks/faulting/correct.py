"""Rows without a fault: what `keronyx parity` says of every runtime here, on several draws of inputs."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import ROOT

SCENES, FIRST_SERIES = 8, 100
TIMEOUT_S = 3600.0


@dataclass(frozen=True)
class CorrectRow:
    """One row of one run: `verdict` is empty, and `status` says why, where it could not be judged."""

    network: str
    row: str
    seed: int
    status: str
    verdict: str = ""
    ratio: float | None = None
    flips: float | None = None
    detail: str = ""


def check(network: str, folder: Path, seed: int) -> list[CorrectRow]:
    """All CPU rows of an export folder. Raises RuntimeError when the command gives no certificate."""
    line = [sys.executable, "-m", "keronyx", "parity", str(folder), "--json", "--quiet"]
    line += ["--data", f"scenes:{SCENES}:{FIRST_SERIES + seed}"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S)
    try:
        return [read(network, seed, row) for row in json.loads(done.stdout)["rows"]]
    except (ValueError, KeyError) as error:
        raise RuntimeError(f"no certificate of {network}: {done.stderr.strip()[-500:]}") from error


def read(network: str, seed: int, row: dict[str, object]) -> CorrectRow:
    """A row of a certificate's JSON."""
    name, status, parity = str(row["id"]), str(row["status"]), row.get("parity")
    if not isinstance(parity, dict):
        return CorrectRow(network, name, seed, status)
    ratios = [one["ratio"] for one in parity["outputs"] if one["ratio"] is not None]
    flips = [one["argmax_flips"] for one in parity["outputs"] if one["argmax_flips"] is not None and not one["view"]]
    failed = next((f"{gate['name']}: {gate['detail']}" for gate in parity["gates"] if gate["verdict"] == "fail"), "")
    return CorrectRow(
        network,
        name,
        seed,
        status,
        str(parity["verdict"]),
        max(ratios, default=None),
        max(flips, default=None),
        failed,
    )

"""One made-up run with every status in it, and the same run with hostile names."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from keronyx.types import (
    SCHEMA,
    Artifact,
    Check,
    Cold,
    Environment,
    Fitness,
    Gate,
    ModelSpec,
    OutputDifference,
    Parity,
    Placement,
    Plan,
    Report,
    RoundReading,
    Row,
    Samples,
    Status,
    TensorSpec,
    Verdict,
)

ROUNDS = 30
HOSTILE = "=cmd|'/c calc'!A1 <script>alert(\"x\")</script> `|` [bold]\x1b[31m\n\u202ereversed"


def _samples(milliseconds: float, seed: int, rounds: int = ROUNDS) -> Samples:
    """Noise of the row's own on top of what all rows of a round share."""
    shared = np.random.default_rng(7).lognormal(0, 0.03, size=rounds)
    own = np.random.default_rng(seed).lognormal(0, 0.015, size=(rounds, 2))
    wall = (milliseconds * 1e6 * shared[:, None] * own).astype(int)
    return Samples(
        wall_ns=tuple(tuple(map(int, one)) for one in wall),
        cpu_ns=tuple(tuple(int(1.94 * call) for call in one) for one in wall),
    )


def _cold(load_s: float, compile_s: float, rss_mib: float) -> Cold:
    return Cold(0.2, 0.31, load_s, compile_s, 0.25, (240.0, 150.5, 141.0), rss_mib)


def _parity(verdict: Verdict, relative_rms: float, flips: float) -> Parity:
    gates = (
        Gate("structure", Verdict.PASS, "1 output as declared"),
        Gate("finite", Verdict.PASS, ""),
        Gate("tensor", Verdict.PASS, f"relative RMS {relative_rms:.0e}"),
        Gate("argmax", verdict, f"{100 * flips:.1f} % of positions differ, 0.1 % allowed"),
    )
    output = OutputDifference(
        "softmax",
        40 * relative_rms,
        relative_rms,
        relative_rms,
        0.0,
        1 - relative_rms**2,
        flips,
        (3, 17, 211, 4),
        0.731,
        0.7309,
    )
    return Parity(verdict, "keras float32", 4, gates, (output,))


def _row(runtime: str, provider: str, status: Status = Status.OK, **fields: object) -> Row:
    name = f"{runtime}/{provider}/fp32/1"
    row = Row(name, runtime, provider, "fp32", 1, status, version="1.2.3", artifact_bytes=8_123_456)
    return dataclasses.replace(row, **fields)


def _timed(runtime: str, milliseconds: float, seed: int, provider: str = "cpu", **fields: object) -> Row:
    fields = {"cold": _cold(0.4, 0.0, 410.0), "parity": _parity(Verdict.PASS, 2e-7, 0.0), **fields}
    return _row(runtime, provider, samples=_samples(milliseconds, seed), **fields)


def _rows() -> tuple[Row, ...]:
    reference = _timed("tf-graph", 192, 1, parity=None, cold=_cold(1.9, 0.7, 905.0))
    return (
        reference,
        _timed("tf-eager", 470, 2, cold=_cold(1.8, 0.0, 880.0)),
        _timed("tf-optimized", 185, 3, evidence=("733 -> 104 ops",), cold=_cold(1.1, 0.4, 860.0)),
        _timed("tf-xla", 182, 4, cold=_cold(1.9, 12.4, 1100.0), warnings=("the first compile used 1 core",)),
        _timed("ort", 140, 5),
        _timed("litert", 110.4, 6, cold=_cold(0.02, 0.0, 260.0)),
        _timed("openvino", 110.0, 7, cold=_cold(0.1, 0.6, 415.0)),
        _timed("openvino-lossy", 61, 8, parity=_parity(Verdict.FAIL, 2e-2, 0.065)),
        _timed(
            "ort",
            150,
            9,
            provider="cuda",
            status=Status.PARTIAL,
            placement=Placement(
                {"CUDAExecutionProvider": 70, "CPUExecutionProvider": 4},
                {"CUDAExecutionProvider": 0.88, "CPUExecutionProvider": 0.12},
                ("Resize_1", "Resize_2", "Shape_7", "Cast_9"),
            ),
        ),
        _row(
            "ort",
            "tensorrt",
            Status.UNAVAILABLE,
            reason="libnvinfer.so.10 not found",
            remedy="install tensorrt-cu13<11",
        ),
        # A row that fell back did run: its samples must never be shown under the provider's name.
        _timed("tf-graph", 77.7, 10, provider="cuda", status=Status.FELL_BACK, reason="all 71 nodes ran on the CPU"),
        _row("litert", "gpu", Status.FAILED, reason="killed by signal 11", remedy="run it alone with --threads 1"),
        _row("tf-xla", "cuda", Status.TIMEOUT, reason="no answer for 120 s", remedy="raise --timeout"),
    )


def _report() -> Report:
    rows = _rows()
    image = TensorSpec("image", (1, 320, 400, 3), "float32")
    softmax = TensorSpec("softmax", (1, 320, 400, 8), "float32")
    rng = np.random.default_rng(3)
    order = tuple(row.id for row in rows[:9])
    return Report(
        schema=SCHEMA,
        keronyx="0.1.0",
        created="2026-01-02T03:04:05Z",
        model=ModelSpec("unet:16", "unet:16", (image,), (softmax,), 1_968_931, "ab" * 32, 6_850_000_000),
        artifacts=(
            Artifact("onnx", "unet-16.onnx", 8_123_456, "cd" * 32, 9.4, 1830.0, ("168 -> 88 nodes",)),
            Artifact("litert", "unet-16.tflite", 7_900_000, "ef" * 32, 11.0, 1710.0),
        ),
        environment=Environment(
            cpu="Example CPU @ 2.5 GHz",
            logical_cores=2,
            usable_cores=2,
            memory_mib=24_000,
            last_level_cache_mib=36.0,
            os="Linux 6.1",
            python="3.11.7",
            packages={"tensorflow": "2.21.0", "onnxruntime-gpu": "1.31.1"},
            governor="performance",
            load_1min=0.4,
        ),
        plan=Plan(
            rows=tuple(row.id for row in rows),
            reference={"b1": rows[0].id},
            seed=0,
            threads=2,
            budget_s=60.0,
            max_rounds=120,
            warmup_calls=3,
            turn_ms=50.0,
            timeout_s=120.0,
            inputs="random normal, seed 0",
            rotation=24,
        ),
        rows=rows,
        control={"b1": _samples(192.4, 11)},
        rounds=tuple(
            RoundReading(tuple(rng.permutation((*order, "control"))), 0.001, 0.02, int(rng.integers(4)))
            for _ in range(ROUNDS)
        ),
        wall_s=58.3,
        stopped="budget",
        preflight=(
            Check("affinity", Fitness.OK, "all 2 cores"),
            Check("governor", Fitness.UNKNOWN, "the system does not tell"),
            Check("boost", Fitness.WARN, "on: clocks depend on temperature and on other cores"),
        ),
        warnings=("the CPU frequency governor could not be read",),
    )


@pytest.fixture
def report() -> Report:
    """30 rounds: every status, a parity failure as the fastest row, a tie, a PARTIAL row, warnings."""
    return _report()


@pytest.fixture
def hostile_report() -> Report:
    """`report` with text in every free field that attacks terminals, HTML, Markdown and spreadsheets."""
    plain = _report()
    attack = {"reason": HOSTILE, "remedy": HOSTILE, "evidence": (HOSTILE,), "warnings": (HOSTILE,), "runtime": HOSTILE}
    rows = tuple(dataclasses.replace(row, **attack) for row in plain.rows)
    tensor = TensorSpec(HOSTILE, (None, 3), HOSTILE)
    return dataclasses.replace(
        plain,
        model=dataclasses.replace(plain.model, name=HOSTILE, source=HOSTILE, inputs=(tensor,)),
        artifacts=tuple(dataclasses.replace(one, path=HOSTILE, evidence=(HOSTILE,)) for one in plain.artifacts),
        environment=dataclasses.replace(plain.environment, cpu=HOSTILE, packages={HOSTILE: HOSTILE}),
        plan=dataclasses.replace(plain.plan, inputs=HOSTILE),
        rows=rows,
        warnings=(HOSTILE,),
    )

"""The parent's side of a worker: start it, warm it, ask it for turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from keronyx.errors import WorkerMemoryError
from keronyx.process import Child
from keronyx.types import (
    Cold,
    DeviceTimes,
    Gate,
    GpuReading,
    Placement,
    SessionRequest,
    TensorSpec,
    Turn,
    Verdict,
)

WORKER = "keronyx.runtime.worker"

LEAST_KEPT = 2
"""Answers that parity needs at least: one alone cannot show that a row always gives the same."""


@dataclass(frozen=True)
class Opened:
    """What a worker said when its session was open and warm.

    `outputs` has one list of files (`.npy`, one per model output) for each parity input.
    """

    cold: Cold
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    placement: Placement
    files: tuple[tuple[Path, ...], ...]
    harness_ns: int


@dataclass(frozen=True)
class Answer:
    """What a worker answered to one call: one `.npy` per model output, and what the call took (no benchmark)."""

    files: tuple[Path, ...]
    milliseconds: float


class Worker:
    """One row's process. Every method raises WorkerError (or a sub-class) when the process fails; it is dead then.

    Args:
        row: the row's id, used in messages.
        runtime: name in RUNTIMES, or `module:attribute` of a Runtime.
        memory_limit_mib: the process is killed when it grows past this while loading or warming up.
    """

    def __init__(
        self,
        row: str,
        runtime: str,
        request: SessionRequest,
        timeout_s: float,
        memory_limit_mib: float | None = None,
    ) -> None:
        self.row = row
        self._runtime = runtime
        self._request = request
        self._timeout_s = timeout_s
        self._memory_limit_mib = memory_limit_mib
        self._child = Child(WORKER, environment(request.provider, request.threads), title=row)

    @property
    def pid(self) -> int:
        return self._child.pid

    def open(
        self,
        inputs: Sequence[Path],
        keep: int,
        folder: Path,
        warm: Callable[[Sequence[float]], bool],
        rotation: int | None = None,
        callers: int = 1,
    ) -> Opened:
        """Load the model and warm it up.

        Args:
            inputs: one `.npy` per model input, shape (number of inputs, *input shape).
            keep: how many inputs' outputs are written to `folder` for parity at most; two at least.
            warm: told the milliseconds of all calls so far, the first included: whether that is enough.
            rotation: how many of the inputs timed calls rotate over; all without it.
            callers: how many threads call at a time in the turns.
        """
        start_s = self._child.wait_ready(self._timeout_s)
        opened = self._child.ask(
            "open",
            self._timeout_s,
            self._memory_limit_mib,
            runtime=self._runtime,
            provider=self._request.provider,
            request=asdict(self._request),
            inputs=[str(path) for path in inputs],
            rotation=rotation,
            callers=callers,
        )
        calls_ms: list[float] = [1000 * opened["first_call_s"]]
        files: list[tuple[Path, ...]] = []
        while len(files) < min(keep, LEAST_KEPT) or not warm(calls_ms):
            kept = len(files) < keep
            answer = self._child.ask(
                "warm_up",
                self._timeout_s,
                self._memory_limit_mib,
                call=len(calls_ms) - 1,
                folder=str(folder) if kept else "",
                prefix=self.row.replace("/", "_"),
            )
            calls_ms.append(answer["milliseconds"])
            if kept:
                files.append(tuple(Path(path) for path in answer["files"]))
        parked = self._child.ask("park", self._timeout_s, self._memory_limit_mib)
        peak, limit = parked["peak_rss_mib"], self._memory_limit_mib
        if limit is not None and peak > limit:  # faster than the parent looked
            raise WorkerMemoryError(f"{self.row} used {peak:,.0f} MiB, more than its limit of {limit:,.0f} MiB")
        cold = Cold(
            start_s,
            opened["import_s"],
            opened["load_s"],
            opened["compile_s"],
            opened["first_call_s"],
            tuple(calls_ms[1:]),
            peak,
        )
        return Opened(
            cold,
            _specs(opened["inputs"]),
            _specs(opened["outputs"]),
            _placement(opened["placement"]),
            tuple(files),
            parked["harness_ns"],
        )

    def load(self) -> Placement:
        """Load the model without inputs, calls or timing, for `answer` alone. Where its nodes are."""
        self._child.wait_ready(self._timeout_s)
        loaded = self._child.ask(
            "load",
            self._timeout_s,
            self._memory_limit_mib,
            runtime=self._runtime,
            provider=self._request.provider,
            request=asdict(self._request),
        )
        return _placement(loaded["placement"])

    def answer(self, inputs: Sequence[Path], folder: Path) -> Answer:
        """One call, after `open` or `load`.

        Args:
            inputs: one `.npy` per model input, of the input's shape with the batch.
            folder: where the outputs are written; those of the call before are replaced.
        """
        answer = self._child.ask(
            "answer",
            self._timeout_s,
            self._memory_limit_mib,
            inputs=[str(path) for path in inputs],
            folder=str(folder),
            prefix=self.row.replace("/", "_"),
        )
        return Answer(tuple(Path(path) for path in answer["files"]), answer["milliseconds"])

    def turn(self, start: int, turn_ns: int) -> Turn:
        """One turn (see `take_turn`), over inputs from `start`."""
        answer = self._child.ask("turn", self._timeout_s, start=start, turn_ns=turn_ns)
        gpu = answer["gpu"]
        return Turn(
            tuple(answer["wall_ns"]),
            tuple(answer["cpu_ns"]),
            answer["waited_ns"],
            answer["switches"],
            answer["window_ns"],
            answer["window_calls"],
            GpuReading(**gpu) if gpu else None,
        )

    def followed(self) -> Gate:
        """Gate `follows` over the rounds so far."""
        return _gate(self._child.ask("witness", self._timeout_s)["gate"])

    def prove(self) -> tuple[Gate, ...]:
        """Gates that prove that timed calls did the work (see `proof.prove`)."""
        gates = self._child.ask("prove", self._timeout_s, self._memory_limit_mib)["gates"]
        return tuple(_gate(gate) for gate in gates)

    def device_times(self) -> DeviceTimes | None:
        """The parts of a call on an accelerator; None for sessions that cannot tell."""
        found = self._child.ask("device", self._timeout_s, self._memory_limit_mib)["device"]
        if found is None:
            return None
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in found.items()}
        return DeviceTimes(**values)

    def profile(self) -> Placement:
        """Where the nodes executed, from a profiled call outside all timing."""
        return _placement(self._child.ask("profile", self._timeout_s, self._memory_limit_mib))

    def close(self) -> None:
        self._child.close()


def environment(provider: str, threads: int) -> dict[str, str]:
    """Environment of a worker: the same thread count for every library, and no GPU in sight of a CPU row."""
    values = {
        "OMP_NUM_THREADS": str(threads),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": "tensorflow",
        "OPENVINO_TELEMETRY_DISABLE": "1",
    }
    if provider == "cpu":
        values["CUDA_VISIBLE_DEVICES"] = "-1"
    return values


def _gate(values: dict[str, str]) -> Gate:
    return Gate(values["name"], Verdict(values["verdict"]), values["detail"])


def _specs(values: Sequence[dict[str, object]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(str(v["name"]), tuple(v["shape"]), str(v["dtype"])) for v in values)  # type: ignore[arg-type]


def _placement(values: dict[str, object]) -> Placement:
    return Placement(values["assigned"], values["executed"], tuple(values["nodes_elsewhere"]))  # type: ignore[arg-type]

"""The nouns of keronyx: plain data and two protocols. Nothing here computes, prints or imports more than numpy.

Units: durations named `*_ns` are integer nanoseconds, `*_s` seconds, `*_ms` milliseconds; memory named `*_mib` is MiB
(2**20 bytes); sizes named `bytes` are bytes. Everything with a `Report` at its root is stored as JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from numpy.typing import NDArray

Array = NDArray[Any]
Clock = Callable[[], int]
"""Returns nanoseconds that never step back; `time.perf_counter_ns` in production."""

SCHEMA = 3
"""Number of the report format. A change means a new number, an upgrade in `profiles/store.py` and an old fixture."""


# --- the model and the files made from it ---------------------------------------------------------------------------


@dataclass(frozen=True)
class TensorSpec:
    """One input or output. `shape` has None where a dimension is dynamic; `dtype` is numpy's name for it."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class ModelSpec:
    """What a model is called and what goes in and out of it, in the order of the Keras model.

    `content_hash` is the SHA-256 over configuration and weights; `macs` counts multiply-accumulates of one call at
    the artifact's batch (None when the ONNX graph has dynamic shapes).
    """

    name: str
    source: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: int
    content_hash: str
    macs: int | None = None


@dataclass(frozen=True)
class Artifact:
    """A file (or folder) a runtime loads. `kind` is one of keras, saved_model, onnx, frozen, litert.

    `path` is relative to the export folder. `seconds` and `peak_mib` are what making it took in a process of its own
    (the peak counts the whole process, Python and TensorFlow included). `evidence` are measured facts about it, such
    as operator counts before and after.
    """

    kind: str
    path: str
    bytes: int
    sha256: str
    seconds: float
    peak_mib: float
    evidence: tuple[str, ...] = ()


# --- runtimes -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Missing:
    """Why a runtime or provider cannot run here, and what brings it."""

    reason: str
    remedy: str


@dataclass(frozen=True)
class SessionRequest:
    """What a runtime needs to open a model: the artifact's absolute path, the model's signature and the terms.

    `batch` is the size it will be called with where the signature leaves that open. `custom_objects` is
    `module:attribute` naming a dictionary of Keras custom objects, or None.
    """

    path: str
    spec: ModelSpec
    provider: str
    threads: int
    batch: int = 1
    trust: bool = False
    custom_objects: str | None = None


@dataclass(frozen=True)
class Placement:
    """How many graph nodes each execution provider was given, as the runtime itself reports it.

    `executed` is the same from a profiled call, with each provider's share of the kernel time (0..1);
    empty when the runtime cannot tell.
    """

    assigned: dict[str, int] = field(default_factory=dict)
    executed: dict[str, float] = field(default_factory=dict)
    nodes_elsewhere: tuple[str, ...] = ()


class Session(Protocol):
    """A model loaded by one runtime, ready to be called."""

    inputs: tuple[TensorSpec, ...]
    """As the runtime itself reports them (names, shapes, dtypes), in the ModelSpec's order."""
    outputs: tuple[TensorSpec, ...]

    def prepare(self) -> None:
        """Trace and compile, if the runtime does that apart from loading; timed as `compile_s`."""

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """Host arrays in, complete host arrays out, both in the ModelSpec's order."""

    def placement(self) -> Placement:
        """Where the nodes ran. May open a second, profiled session: call it outside timed rounds."""


class Runtime(Protocol):
    """One way to execute an artifact on one provider. Constructing it imports nothing heavy."""

    @property
    def name(self) -> str: ...

    @property
    def provider(self) -> str: ...

    @property
    def artifacts(self) -> tuple[str, ...]:
        """Kinds of artifact it can load, preferred first."""

    @property
    def package(self) -> str:
        """Distribution that brings it, whose version is reported."""

    def missing(self) -> Missing | None:
        """None when it can run here. Cheap: no heavy import, no model."""

    def import_library(self) -> None:
        """Import the library; timed as `import_s`."""

    def open(self, request: SessionRequest) -> Session:
        """Load the artifact; timed as `load_s`. Raises UnavailableError when the provider turns out not to work."""


# --- one run --------------------------------------------------------------------------------------------------------


class Status(StrEnum):
    """What became of a row."""

    OK = "OK"
    PARTIAL = "PARTIAL"
    """Some nodes ran on another provider: `placement` says which."""
    FELL_BACK = "FELL_BACK"
    """The provider ran nothing; the row has no latency."""
    UNAVAILABLE = "UNAVAILABLE"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"


TIMED = frozenset({Status.OK, Status.PARTIAL})
"""Statuses whose latency may be shown and compared."""


@dataclass(frozen=True)
class Cold:
    """What the first call costs a fresh process, phase by phase, in the row's own worker; one for each process set."""

    start_s: float
    """Process started until it can take orders (the Python interpreter and keronyx's own imports)."""
    import_s: float
    load_s: float
    compile_s: float
    first_call_s: float
    warmup_ms: tuple[float, ...]
    """Every call from the second until the steady state is reached, or is not (see `profiles/warmup.py`)."""
    peak_rss_mib: float
    """Highest resident memory of the worker up to the end of warm-up."""


@dataclass(frozen=True)
class GpuReading:
    """What the GPU did during one turn, by NVML: clock and throttling at its end, power, energy over all its calls.

    `throttle` is NVML's bit mask of reasons (nvmlClocksEventReasons); `energy_mj` is millijoules of the whole board,
    None where the GPU does not count them; `calls` are those it was spent on, the dropped first one included.
    """

    sm_mhz: int
    throttle: int
    power_w: float
    energy_mj: int | None
    calls: int


@dataclass(frozen=True)
class Turn:
    """One row's turn in a round, nanoseconds per timed call, and what the machine did to it meanwhile.

    `waited_ns` is how long threads of the process were ready to run but had no CPU (the kernel's run delay, summed
    over threads), `switches` how often one was taken off its CPU; None where the system does not tell.
    `window_ns` and `window_calls` are the wall time and the number of calls of the turn's saturated part, in which
    every concurrent caller called again at once; 0 with one caller.
    """

    wall_ns: tuple[int, ...]
    cpu_ns: tuple[int, ...]
    waited_ns: int | None = None
    switches: int | None = None
    window_ns: int = 0
    window_calls: int = 0
    gpu: GpuReading | None = None


@dataclass(frozen=True)
class Samples:
    """Raw samples of one row: one entry per round.

    `wall_ns` is the time the caller waited in each timed call, `cpu_ns` the CPU time all threads of the process used
    meanwhile. With concurrent callers `wall_ns` runs from the scheduled start of a call, so that waiting for one's
    turn is in it, and `cpu_ns` has one entry per round. The others are as in `Turn`.
    """

    wall_ns: tuple[tuple[int, ...], ...] = ()
    cpu_ns: tuple[tuple[int, ...], ...] = ()
    waited_ns: tuple[int | None, ...] = ()
    switches: tuple[int | None, ...] = ()
    window_ns: tuple[int, ...] = ()
    window_calls: tuple[int, ...] = ()
    gpu: tuple[GpuReading | None, ...] = ()


@dataclass(frozen=True)
class DeviceTimes:
    """The parts of a call on an accelerator, nanoseconds per call, each measured apart outside the rounds.

    `resident_ns`: inputs and outputs stay on the device, until the result is there. `h2d_ns`, `d2h_ns`: copying the
    inputs to it, the outputs back. `submit_ns`: until the call returns without waiting for the device. `graph_ns`:
    as `resident_ns`, replaying a captured CUDA graph; empty where that is impossible, and `graph_reason` says why.
    `sync_ns`: waiting for the device after a host-to-host call has returned (nothing, when that call is complete).
    `options` are the settings that matter: TF32, CUDA graph, spinning.
    """

    resident_ns: tuple[int, ...] = ()
    h2d_ns: tuple[int, ...] = ()
    d2h_ns: tuple[int, ...] = ()
    submit_ns: tuple[int, ...] = ()
    graph_ns: tuple[int, ...] = ()
    sync_ns: tuple[int, ...] = ()
    graph_reason: str = ""
    options: dict[str, str] = field(default_factory=dict)


class Verdict(StrEnum):
    """Outcome of a parity gate."""

    PASS = "pass"
    FAIL = "fail"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Gate:
    """One parity check, in the order they are made: structure, finite, tensor, argmax, task; then those that prove that
    the timed calls did the work: follows, complete, uncached, and on a GPU synchronised."""

    name: str
    verdict: Verdict
    detail: str


@dataclass(frozen=True)
class OutputDifference:
    """How far one output is from the reference, over all parity inputs.

    In units of RMS(reference): `relative_rms` is the RMS of the error, `typical` its 99th percentile. `outliers` is the
    share of values whose error passes 1 % of it; `argmax_flips` the share of positions whose argmax over the last axis
    differs, near-ties not counted (None when that axis has fewer than two entries); `worst_index` locates `max_abs`.
    `view` is "logits" where an output of probabilities was judged by its logarithms. `ratio` is the error in units of
    Keras' own against the oracle (see `accuracy.py`; None where there was nothing to take it from), `keras_rms` the RMS
    of that error of Keras, relative to the oracle's.
    """

    name: str
    max_abs: float
    relative_rms: float
    typical: float
    outliers: float
    cosine: float
    argmax_flips: float | None
    worst_index: tuple[int, ...]
    worst_reference: float
    worst_actual: float
    view: str = ""
    ratio: float | None = None
    keras_rms: float | None = None


@dataclass(frozen=True)
class TaskScore:
    """One score of a row on labelled data beside Keras' on the same images.

    `low` and `high` bound `value - reference` in 95 of 100 sets of such images (a paired interval over `images`).
    """

    name: str
    value: float
    reference: float
    low: float
    high: float
    images: int


@dataclass(frozen=True)
class Parity:
    """Whether a row gives the reference's answers. `verdict` fails when any gate fails.

    `reference` says what the errors are taken to, `yardstick` whose own error they are judged by.
    """

    verdict: Verdict
    reference: str
    inputs: int
    gates: tuple[Gate, ...]
    outputs: tuple[OutputDifference, ...] = ()
    yardstick: str = ""
    task: tuple[TaskScore, ...] = ()

    @property
    def ratio(self) -> float | None:
        """The largest error of any output in units of Keras' own; None where none was judged that way."""
        return max((output.ratio for output in self.outputs if output.ratio is not None), default=None)


@dataclass(frozen=True)
class Row:
    """One line of the report: one runtime, provider, precision and setting. Never omitted, whatever happened."""

    id: str
    runtime: str
    provider: str
    precision: str
    batch: int
    status: Status
    version: str = ""
    reason: str = ""
    remedy: str = ""
    threads: int | None = None
    """Threads, where a run compares several; None for those of the plan."""
    concurrency: int = 1
    """Callers at a time."""
    cold: Cold | None = None
    cold_repeats: tuple[Cold, ...] = ()
    """The same of each later process set."""
    harness_ns: int | None = None
    """What timing adds to a call: the median call of a session that does nothing, in this row's own worker."""
    samples: Samples = Samples()
    parity: Parity | None = None
    placement: Placement = Placement()
    device: DeviceTimes | None = None
    artifact_bytes: int | None = None
    evidence: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def setting(self) -> str:
        """Name of the setting; rows of one setting are measured interleaved and compared: `b1`, `b8/t2`, `b1/c4`."""
        return setting_name(self.batch, self.threads, self.concurrency)


def setting_name(batch: int, threads: int | None = None, concurrency: int = 1) -> str:
    """`b1`; with `/t2` where thread counts are compared, and `/c4` for four callers at a time."""
    swept = f"/t{threads}" if threads is not None else ""
    return f"b{batch}{swept}" + (f"/c{concurrency}" if concurrency > 1 else "")


@dataclass(frozen=True)
class Plan:
    """What was asked for. The same plan and seed give the same order of calls."""

    rows: tuple[str, ...]
    """Row ids in the order they were asked for."""
    reference: dict[str, str]
    """Row that ratios are taken to, for each setting; it also runs a second time each round as the A/A' control."""
    seed: int
    threads: int
    budget_s: float
    max_rounds: int
    warmup_calls: int
    """Calls of the warm-up at most."""
    turn_ms: float
    """A turn repeats calls until this much time was spent in them; a call longer than that is made once."""
    timeout_s: float
    """A worker that does not answer for this long is killed."""
    inputs: str
    """What the models were fed, in words."""
    rotation: int
    """Number of distinct inputs that calls rotate over."""
    data: str = ""
    """Folder of images that was named, if any."""
    image_size: tuple[int, int] | None = None
    """Height and width that were named, if any."""


@dataclass(frozen=True)
class RoundReading:
    """What the machine did during one round. Shares are of all CPU time in the round (0..1)."""

    order: tuple[str, ...]
    """Row ids in the order they ran; the A/A' control is `control`."""
    steal: float
    other: float
    """CPU time used by anything but the workers."""
    involuntary_switches: int
    setting: str = "b1"
    """Setting whose rows ran in this round."""
    process_set: int = 1
    """Number of the set of processes they ran in, from 1."""
    canary_ns: int = 0
    """Wall time of a fixed calculation of about 1 ms before the round: how fast the machine was; 0 when not made."""
    canary_cpu_ns: int = 0
    throttled: float = 0.0
    """Share of CPU time that the control group's quota withheld."""


class Fitness(StrEnum):
    """Outcome of a preflight check."""

    OK = "ok"
    WARN = "warn"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Check:
    """One circumstance of the machine before measuring."""

    name: str
    state: Fitness
    detail: str


@dataclass(frozen=True)
class Environment:
    """The machine and the software, as far as it matters to a latency."""

    cpu: str
    logical_cores: int
    usable_cores: int
    memory_mib: int
    last_level_cache_mib: float
    os: str
    python: str
    packages: dict[str, str]
    gpu: str = ""
    governor: str = ""
    load_1min: float = 0.0


@dataclass(frozen=True)
class Report:
    """Everything one `profile` run found out; what is stored, and all that a rendering may use."""

    schema: int
    keronyx: str
    created: str
    """UTC, ISO 8601."""
    model: ModelSpec
    artifacts: tuple[Artifact, ...]
    environment: Environment
    plan: Plan
    rows: tuple[Row, ...]
    control: dict[str, Samples] = field(default_factory=dict)
    """Second samples of the reference row (A/A'), for each setting."""
    rounds: tuple[RoundReading, ...] = ()
    wall_s: float = 0.0
    """Whole run, exports and start-up included."""
    stopped: str = ""
    """Why measuring ended: target, budget, rounds, interrupted."""
    preflight: tuple[Check, ...] = ()
    warnings: tuple[str, ...] = ()
    resumed: tuple[str, ...] = ()
    """When rounds were added later (UTC, ISO 8601)."""
    interleaved: str = ""
    """The same text in two reports says that their rows were measured interleaved, round by round."""


# --- parity alone ---------------------------------------------------------------------------------------------------

RIGHT, DEPARTS, NOT_COMPARED = "right", "departs", "not compared"
SPOILED = "spoiled by an optimizer"
"""Verdicts on a layer in a bisection."""


@dataclass(frozen=True)
class LayerError:
    """One call of one Keras layer, given exact inputs rounded to the file's precision.

    `layer` is its path (`encoder/conv1`), `tensor` the tensor of the file that has its output. `error` and
    `keras_error` are root mean squares in units of the exact output's, of the file and of Keras in its own precision;
    `ratio` is the one over the other (over rounding once where Keras makes no error). `amplification` is the error that
    comes out over the error that goes in, which is rounding alone. All four are None where nothing was compared (the
    layer is one with a neighbour in the file), or where the output is not finite.
    """

    layer: str
    class_name: str
    tensor: str
    error: float | None
    keras_error: float | None
    ratio: float | None
    amplification: float | None
    verdict: str
    one_with: tuple[str, ...] = ()
    """Layers that are the same nodes of the file: a fault may be theirs just as well."""
    confirmed: bool = True
    """Whether the next layer is right once this one's exact output is put in its place."""


@dataclass(frozen=True)
class Bisection:
    """`layers` in the order they are computed. `guilty` is the first that departs, None if none does.

    `optimizers` are those of ONNX Runtime that spoil a file that is right without them, and `session_option` what to
    pass to `InferenceSession` to do without; empty where they do not.
    """

    layers: tuple[LayerError, ...]
    guilty: str | None
    optimizers: tuple[str, ...]
    session_option: str
    seconds: float

    def departing(self) -> tuple[LayerError, ...]:
        """Layers that depart, those that amplify most first."""
        found = [one for one in self.layers if one.verdict in (DEPARTS, SPOILED)]
        return tuple(sorted(found, key=lambda one: -(one.amplification or float("inf"))))


CERTIFICATE_SCHEMA = 1
"""Number of the certificate format."""


@dataclass(frozen=True)
class Certificate:
    """What one `parity` run found out: which files were checked, on what inputs, by what limits, with what verdicts.

    `verdict` is `fail` where any row's answers are wrong, `not run` where none was checked. `rows` are as in a report
    but without samples. `inputs_sha256` hashes the inputs themselves, `data_sha256` the items and labels that scores
    were taken on (`data`) by `metric`; `limits` holds every number that decided a verdict.
    """

    schema: int
    keronyx: str
    created: str
    """UTC, ISO 8601."""
    model: ModelSpec
    artifacts: tuple[Artifact, ...]
    environment: Environment
    threads: int
    inputs: str
    inputs_sha256: str
    limits: dict[str, float]
    rows: tuple[Row, ...]
    verdict: Verdict = Verdict.NOT_RUN
    data: str = ""
    data_sha256: str = ""
    metric: str = ""
    bisection: Bisection | None = None
    """Which layer of the ONNX file goes wrong, if that was asked."""
    wall_s: float = 0.0
    warnings: tuple[str, ...] = ()

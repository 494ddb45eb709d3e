"""Is a model ready for TensorRT? Asked of TensorRT itself, without a GPU.

TensorRT-RTX parses the model and builds an engine of it for each compute capability asked for, in a process of its own.
Beside that, or alone where it is not installed or builds nothing for a capability, stands what TensorRT 10 lists as
supported (`tensorrt_table`).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from keronyx.errors import KeronyxError, UnavailableError, UnwritableError, UsageError, WorkerTimeoutError
from keronyx.export import tensorrt_table
from keronyx.external_data import refuse_escaping_data
from keronyx.process import Child, Message
from keronyx.types import TensorSpec

CHILD = "keronyx.export.tensorrt_child"

CAPABILITIES = ("8.6", "8.9", "12.0")
"""What is built for unless something else is asked for: NVIDIA's Turing, Ampere, Ada and Blackwell."""

BATCHES = (1, 4, 8)
SIZES = (32, 128, 512)
"""Smallest, usual and largest of an open batch, and of any other open dimension, in the optimization profile."""

FILE = "tensorrt.json"
SCHEMA = 1


@dataclass(frozen=True)
class Refusal:
    """A node TensorRT does not take. `layer` is None where it cannot be told, `operator` and `node` are then empty when
    TensorRT names none (an input of the model, or a part of an engine)."""

    layer: str | None
    operator: str
    node: str
    why: str


@dataclass(frozen=True)
class Build:
    """One compute capability. `engine_bytes` is None when no engine came out: `refused` or `said` tell why.

    `table_only` is a capability this TensorRT-RTX builds nothing for.
    """

    capability: str
    engine_bytes: int | None = None
    seconds: float | None = None
    refused: tuple[Refusal, ...] = ()
    said: str = ""
    table_only: bool = False


@dataclass(frozen=True)
class Readiness:
    """What TensorRT says of one model.

    `version` is that of TensorRT-RTX, None when it was not asked: `said` and `remedy` then tell why. `layers` are those
    of its network, None when it refuses nodes: `refused` are these. `table` is what the operator table refuses.
    """

    schema: int
    ready: bool
    verdict: str
    version: str | None
    said: str
    remedy: str
    nodes: int | None
    layers: int | None
    refused: tuple[Refusal, ...]
    builds: tuple[Build, ...]
    table_name: str
    table: tuple[Refusal, ...]


def capabilities(texts: Iterable[str]) -> tuple[str, ...]:
    """`8.6`, `12.0` as they are, each once. Raises UsageError."""
    asked = tuple(dict.fromkeys(texts))
    for text in asked:
        if not re.fullmatch(r"\d{1,2}\.\d", text):
            raise UsageError(
                f"a compute capability is two numbers, not {text!r}", "for example --compute-capability 8.6,12.0"
            )
    return asked or CAPABILITIES


def check(
    model: Path,
    inputs: Sequence[TensorSpec],
    asked: Sequence[str] = CAPABILITIES,
    *,
    timeout_s: float = 180,
    progress: Callable[[str], None] = lambda _: None,
) -> Readiness:
    """Ask TensorRT about an ONNX file.

    Args:
        model: the file; its nodes may be labelled with their layers.
        inputs: its inputs; open dimensions get an optimization profile.
        asked: compute capabilities, as `8.6`.
        timeout_s: for each answer of the process, so for each engine. After one that takes longer no other is tried.

    Raises:
        UntrustedModelError: it names weights outside its folder.
        KeronyxError: the file cannot be read.
    """
    refuse_escaping_data(model)
    question = _Question(str(model.resolve()), _profile(inputs), timeout_s, progress)
    try:
        table = question.refusals(question.ask("table"))
        try:
            parsed = question.parse()
        except KeronyxError as error:
            return _judged(None, error, (), table, question.nothing(asked, error))
        builds = tuple(question.build(capability, parsed) for capability in asked)
        return _judged(parsed, None, question.refusals(parsed), table, builds)
    finally:
        question.close()


def write(readiness: Readiness, folder: Path) -> Path:
    """Store the answer in an export folder, atomically. Raises UnwritableError."""
    path, temporary = folder / FILE, folder / f".{FILE}.{os.getpid()}"
    try:
        temporary.write_text(json.dumps(asdict(readiness), indent=2) + "\n")
        os.replace(temporary, path)
    except OSError as error:
        raise UnwritableError(f"cannot write {path}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


class _Question:
    """A model and the process that is asked about it, started again when it has died."""

    def __init__(self, path: str, shapes: dict[str, Any], timeout_s: float, progress: Callable[[str], None]) -> None:
        self.path, self.shapes, self.timeout_s, self.progress = path, shapes, timeout_s, progress
        self.child: Child | None = None
        self.endless = ""

    def ask(self, order: str, **arguments: Any) -> Message:
        if self.child is None or not self.child.alive:
            self.close()
            self.child = Child(CHILD, {"CUDA_VISIBLE_DEVICES": "-1"}, title="TensorRT")
            self.child.wait_ready(self.timeout_s)
            if order == "build":
                self.child.ask("parse", self.timeout_s, path=self.path)
        return self.child.ask(order, self.timeout_s, path=self.path, **arguments)

    def parse(self) -> Message:
        self.progress("TensorRT parses the model")
        return self.ask("parse")

    def build(self, capability: str, parsed: Message) -> Build:
        """An engine for one capability; what ends the process, or takes too long, costs this one alone."""
        if capability not in parsed["capabilities"]:
            known = ", ".join(parsed["capabilities"])
            return Build(capability, said=f"TensorRT-RTX builds for {known} only", table_only=True)
        if parsed["layers"] is None:
            return Build(capability, said="not built: nodes are refused")
        if self.endless:
            return Build(capability, said=f"not built: {self.endless} took too long")
        self.progress(f"TensorRT builds for {capability}")
        try:
            made = self.ask("build", capability=capability, shapes=self.shapes)
        except KeronyxError as error:
            self.endless = capability if isinstance(error, WorkerTimeoutError) else ""
            return Build(capability, said=error.message)
        return Build(capability, made["bytes"], made["seconds"], self.refusals(made))

    def nothing(self, asked: Sequence[str], error: KeronyxError) -> tuple[Build, ...]:
        """What is left of the capabilities when the library is missing, or cannot parse the model."""
        absent = isinstance(error, UnavailableError)
        return tuple(Build(one, said="" if absent else "not built", table_only=absent) for one in asked)

    @staticmethod
    def refusals(answer: Message) -> tuple[Refusal, ...]:
        return tuple(Refusal(**one) for one in answer["refused"])

    def close(self) -> None:
        if self.child is not None:
            self.child.close()
        self.child = None


def _judged(
    parsed: Message | None,
    error: KeronyxError | None,
    refused: tuple[Refusal, ...],
    table: tuple[Refusal, ...],
    builds: tuple[Build, ...],
) -> Readiness:
    """TensorRT's own word counts; the table's where there is none."""
    failed = [build.capability for build in builds if build.engine_bytes is None and not build.table_only]
    by_table = any(build.table_only for build in builds) and bool(table)
    if refused:
        verdict = f"TensorRT refuses {_count(refused)}"
    elif error is not None and not isinstance(error, UnavailableError):
        verdict = f"TensorRT cannot parse the model: {error.message}"
    elif failed:
        verdict = f"TensorRT builds no engine for {', '.join(failed)}"
    elif by_table:
        verdict = f"the {tensorrt_table.NAME} refuses {_count(table)}"
    elif all(build.table_only for build in builds):
        verdict = f"the {tensorrt_table.NAME} has nothing against the model"
    else:
        verdict = "ready for TensorRT"
    return Readiness(
        schema=SCHEMA,
        ready=not (refused or failed or by_table),
        verdict=verdict,
        version=parsed["version"] if parsed else None,
        said=error.message if error else "",
        remedy=error.remedy if error else "",
        nodes=parsed["nodes"] if parsed else None,
        layers=parsed["layers"] if parsed else None,
        refused=refused,
        builds=builds,
        table_name=tensorrt_table.NAME,
        table=table,
    )


def _count(refused: Sequence[Refusal]) -> str:
    return f"{len(refused)} node{'s' if len(refused) != 1 else ''}"


def _profile(inputs: Sequence[TensorSpec]) -> dict[str, Any]:
    """(smallest, usual, largest) shape of each input with open dimensions."""
    return {
        tensor.name: [
            [
                size if size is not None else (SIZES if axis else BATCHES)[choice]
                for axis, size in enumerate(tensor.shape)
            ]
            for choice in range(3)
        ]
        for tensor in inputs
        if None in tensor.shape
    }

"""Parent side of a conversion to ONNX: the graph comes out of one process, the gates are in another.

In the end there is a file, or the reason why not, with the layer it is about where that can be found out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from keronyx.errors import ExportError, KeronyxError, WorkerError, WorkerMemoryError, WorkerTimeoutError
from keronyx.export.gates import Refusal
from keronyx.export.onnx_files import beside
from keronyx.export.source import hash_path
from keronyx.process import Child, Message
from keronyx.types import Artifact, ModelSpec

FINISHING = "keronyx.export.finishing"
ENVIRONMENT = {"CUDA_VISIBLE_DEVICES": "-1"}

NO_KERNEL = re.compile(r"Could not find an implementation for (\w+)\(\d+\)")
"""What ONNX Runtime says of an operator it has not in the precision a node asks for."""

PROBES = 8
"""Most probes for the layer that goes wrong."""


@dataclass
class Finish:
    """One conversion to ONNX. `converter` is the child with the model, `folder` where both processes work."""

    converter: Child
    folder: Path
    name: str
    spec: ModelSpec
    opset: int
    timeout_s: float
    progress: Callable[[str], None]
    child: Child | None = None
    conversions: list[Message] = field(default_factory=list)
    answers: list[Message] = field(default_factory=list)
    """What either process said, each time it was asked: all of it is what the file took."""

    def run(self) -> tuple[Artifact, int | None]:
        """Write the file into the folder. Returns what it is and its multiply-accumulates, if they are known.

        Raises:
            ExportError: it cannot be converted, or a gate refuses it: then the file's name ends with `.rejected`.
        """
        try:
            raw, done, refusal = self._converted()
            if refusal is not None and refusal.gate == "structure" and raw.get("float64"):
                raw, done, refusal = self._converted(_not_in_float64(refusal))
            if refusal is not None:
                error = self._refused(refusal, str(raw["precision"]))
                raise ExportError("; ".join([error.message, *_odd(raw)]), error.remedy)
        finally:
            self.close()
        return self._artifact(raw, done), done["macs"]

    def _converted(self, not_in_float64: str = "") -> tuple[Message, Message, Refusal | None]:
        """One conversion: what either process says, and why a gate refuses the file, if one does.

        Args:
            not_in_float64: why the file cannot compute in float64, when that is known.
        """
        raw = self.converter.ask("convert", self.timeout_s, folder=str(self.folder), not_in_float64=not_in_float64)
        self.conversions.append(raw)
        self.progress("checking the ONNX file against Keras")
        done = self._finished(str(raw["precision"]))
        refusal = Refusal(**done["refusal"]) if done["refusal"] else None
        if refusal is not None and refusal.gate == "numeric":
            # once more, knowing what rounding alone does to this model
            self.converter.ask("round", self.timeout_s, folder=str(self.folder), precision=raw["precision"])
            done = self._finished(str(raw["precision"]))
            refusal = Refusal(**done["refusal"]) if done["refusal"] else None
        return raw, done, refusal

    def _artifact(self, raw: Message, done: Message) -> Artifact:
        path = self.folder / self.name
        both = [*self.conversions, *self.answers]
        gates_s = sum(one["answers_s"] for one in self.conversions) + sum(one["gates_s"] for one in self.answers)
        cpu_s = sum(one["cpu_s"] for one in both)
        warnings = [f"warning: {said}" for said in _odd(raw)]
        evidence = (
            *done["evidence"][:1],
            *raw.get("computes", ()),
            *done["evidence"][1:],
            *raw["evidence"],
            *warnings,
            f"conversion {cpu_s:.1f} s of CPU",
            f"gates {gates_s:.1f} s",
        )
        return Artifact(
            "onnx",
            self.name,
            size(path),
            digest(path),
            sum(one["seconds"] for one in both),
            max(one["peak_mib"] for one in both),
            evidence,
        )

    def _finished(self, precision: str) -> Message:
        """What the second process says; where it crashes, once more without any graph pass. Crashing even then is a
        refusal, too."""
        terms: dict[str, Any] = {
            "folder": str(self.folder),
            "name": self.name,
            "spec": asdict(self.spec),
            "opset": self.opset,
            "precision": precision,
        }
        try:
            answer = self._ask("finish", skip=[], **terms)
        except (WorkerTimeoutError, WorkerMemoryError):
            raise
        except WorkerError as crash:
            try:
                answer = self._ask("finish", skip=["*"], **terms)
            except (WorkerTimeoutError, WorkerMemoryError):
                raise
            except WorkerError as error:
                self._ask("reject", folder=str(self.folder), name=self.name)
                return {"refusal": asdict(Refusal("structure", error.message))}
            answer["evidence"].append(f"DroppedPass all of them: {crash.message}")
        self.answers.append(answer)
        return answer

    def _ask(self, order: str, **arguments: Any) -> Message:
        if self.child is None or not self.child.alive:
            self.close()
            self.child = Child(FINISHING, ENVIRONMENT, title="ONNX Runtime, checking the file,")
            self.child.wait_ready(self.timeout_s)
        return self.child.ask(order, self.timeout_s, **arguments)

    def _refused(self, refusal: Refusal, precision: str) -> ExportError:
        if refusal.gate == "numeric" and not refusal.layer:
            self.progress("looking for the layer that goes wrong")
            try:
                refusal = Refusal(refusal.gate, refusal.said, self._guilty(refusal.trial, precision))
            except KeronyxError as error:
                return ExportError(f"{refusal}; which layer it is cannot be found out: {error.message}", REMEDY)
        return ExportError(str(refusal), REMEDY)

    def _guilty(self, trial: int, precision: str) -> str:
        """The first layer whose output is not Keras', of a functional or sequential model; empty if it is none."""
        after, upto, name = -1, None, ""
        for _ in range(PROBES):
            place: dict[str, Any] = {"folder": str(self.folder), "after": after, "upto": upto}
            made = self.converter.ask("probe", self.timeout_s, trial=trial, **place)
            indices = made["indices"]
            if not indices:
                return name
            departs = self._ask("departs", folder=str(self.folder), spec=made["spec"], precision=precision)["departs"]
            if True not in departs:
                return name
            first = departs.index(True)
            after, upto, name = indices[first - 1] if first else after, indices[first], made["names"][first]
            if upto - after <= 1:
                return str(name)
            upto -= 1  # it does depart: look only between
        return str(name)

    def close(self) -> None:
        if self.child is not None:
            self.child.close()
        self.child = None


REMEDY = "the refused file is kept beside, its name ends with .rejected"


def _not_in_float64(refusal: Refusal) -> str:
    """Why a file in float64 is refused, for the user."""
    where = f" (layer {refusal.layer})" if refusal.layer else ""
    if lacking := NO_KERNEL.search(refusal.said):
        return f"ONNX Runtime has no float64 kernel for {lacking[1]}{where}"
    return f"in float64 the structure gate refuses the file{where}"


def _odd(raw: Message) -> list[str]:
    """What to say of weights that are no numbers, if there are such."""
    odd = raw["odd_weights"]
    return [f"NaN or Inf in the weights {', '.join(odd[:3])}{' and others' if odd[3:] else ''}"] if odd else []


def size(path: Path) -> int:
    """Bytes of an ONNX file, with the weights beside it if they are in a file of their own."""
    data = beside(path)
    return path.stat().st_size + (data.stat().st_size if data.is_file() else 0)


def digest(path: Path) -> str:
    """SHA-256 of the same."""
    hashed = hashlib.sha256()
    found = hash_path(path, hashed)
    return hash_path(beside(path), hashed) if beside(path).is_file() else found


def save_optimized(folder: Path, spec: ModelSpec, timeout_s: float = 600.0) -> Message:
    """Save ONNX Runtime's optimized form of a folder's `model.onnx` (see `optimized.py`), in a process of its own."""
    child = Child(FINISHING, ENVIRONMENT, title="ONNX Runtime, saving its graph,")
    try:
        child.wait_ready(timeout_s)
        return child.ask("optimize", timeout_s, path=str(folder / "model.onnx"), spec=asdict(spec))
    finally:
        child.close()

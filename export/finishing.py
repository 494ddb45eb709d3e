"""The second process of a conversion to ONNX: `python -m keronyx.export.finishing`. Raw graph -> graph that ships.

Runs the graph passes, writes the file, puts it through the gates and compares its latency with that of the raw graph.
Knows nothing of TensorFlow; ONNX Runtime may crash here and takes nobody along.

Orders name a folder with `raw.onnx`, `answers.npz` and, once asked for, `rounded.npz`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keronyx import parity
from keronyx.errors import KeronyxError, UnwritableError
from keronyx.export import opset as opsets
from keronyx.export.gates import Refusal, contract, latency, numeric, options, structure, trials
from keronyx.export.gates.numeric import Judged
from keronyx.export.gates.trials import Trial
from keronyx.export.macs import count_macs
from keronyx.export.onnx_files import ANSWERS, PROBE, RAW, ROUNDED, rejected, save, without_weights
from keronyx.export.rewrite import Applied, passes, rewrite
from keronyx.process import Message, one_line, peak_resident_mib, serve
from keronyx.types import ModelSpec, TensorSpec, Verdict

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass
class _Work:
    """One model being finished: its terms, and what was found out so far."""

    folder: Path
    spec: ModelSpec
    opset: int
    name: str
    trials: list[Trial]
    rounded: list[Trial]
    tolerance: parity.Tolerance
    evidence: list[str] = field(default_factory=list)
    gates_ns: int = 0
    gates_cpu_ns: int = 0
    macs: int | None = None

    def build(self, skip: frozenset[str]) -> tuple[ir.Model, tuple[Applied, ...]]:
        """The graph after all passes but those in `skip`, at the operator set asked for."""
        import onnx_ir as ir

        model = ir.load(self.folder / RAW)
        applied = rewrite(model, skip)
        if model.opset_imports.get("") != self.opset:
            model = ir.from_proto(opsets.at_opset(ir.to_proto(model), self.opset))
            ir.external_data.set_base_dir(model.graph, self.folder)
        return model, applied

    def judge(self, path: Path, search: bool = True) -> Judged:
        """All gates on a model stored at `path`."""
        with self.gate():
            return self._judge(path, search)

    @contextmanager
    def gate(self) -> Iterator[None]:
        """What happens meanwhile belongs to the gates, not to the conversion."""
        wall, cpu = time.perf_counter_ns(), time.process_time_ns()
        before = self.gates_ns, self.gates_cpu_ns
        try:
            yield
        finally:
            self.gates_ns = before[0] + time.perf_counter_ns() - wall
            self.gates_cpu_ns = before[1] + time.process_time_ns() - cpu

    def _judge(self, path: Path, search: bool) -> Judged:
        import onnx

        proto = onnx.load(str(path), load_external_data=False)
        refusal = structure.refusal(proto, path) or contract.refusal(proto, self.spec)
        if refusal is not None:
            return Judged(refusal)
        del proto
        return numeric.judge(path, self.spec, self.trials, self.tolerance, self.rounded, search)

    def attempt(self, skip: frozenset[str], search: bool = False) -> Judged:
        """Judge the graph without the passes in `skip`; a pass that raises is refused, too."""
        path = self.folder / "attempt.onnx"
        try:
            model, _ = self.build(skip)
            save(model, path)
        except (OSError, KeronyxError):
            raise
        except Exception as error:
            return Judged(Refusal("structure", f"a graph pass fails: {one_line(error)}"))
        return self.judge(path, search)

    def without_guilty(self, names: list[str], disabled: tuple[str, ...]) -> frozenset[str]:
        """Passes to leave out so that the rest goes through the gates with no further optimizers of ONNX Runtime
        `disabled` than these: each is kept if it does with those before."""
        dropped = frozenset(names)
        for name in names:
            if self.attempt(dropped - {name}).within(disabled):
                dropped -= {name}
        return dropped


def finish(order: Message) -> Message:
    """Write `name` into the folder. Answers with what was found; `refusal` says why a gate keeps the file back.

    Without `rounded.npz` a refusal of the numeric gate is provisional, and nothing was tried against it.
    """
    started, cpu = time.perf_counter_ns(), time.process_time_ns()
    folder = Path(order["folder"])
    spec = _spec(order["spec"])
    work = _Work(
        folder, spec, int(order["opset"]), str(order["name"]), [], [], parity.TOLERANCES[str(order["precision"])]
    )
    work.trials = trials.read(folder / ANSWERS)
    kept, said = numeric.comparable(work.trials, spec)
    work.trials = [work.trials[i] for i in kept]
    second = (folder / ROUNDED).exists()
    if second:
        rounded = trials.read(folder / ROUNDED)
        work.rounded = [rounded[i] for i in kept]
    work.evidence += said
    try:
        every = frozenset(type(one).__name__ for one in passes())
        refusal = _finished(work, every if "*" in order["skip"] else frozenset(order["skip"]), second)
    except OSError as error:
        raise UnwritableError(f"cannot write {work.name}: {error.strerror or error}") from error
    seconds = (time.perf_counter_ns() - started - work.gates_ns) / 1e9
    return {
        "refusal": None if refusal is None else asdict(replace(refusal, trial=kept[refusal.trial] if kept else 0)),
        "evidence": work.evidence,
        "macs": work.macs,
        "seconds": seconds,
        "gates_s": work.gates_ns / 1e9,
        "cpu_s": (time.process_time_ns() - cpu - work.gates_cpu_ns) / 1e9,
        "peak_mib": peak_resident_mib(),
    }


def _finished(work: _Work, skip: frozenset[str], second: bool) -> Refusal | None:
    path = work.folder / work.name
    if not work.trials:
        reject(work.folder, work.folder / RAW, work.name)
        return Refusal("numeric", "Keras' own answers are nothing but NaN or Inf: nothing to compare")
    names = [type(one).__name__ for one in passes() if type(one).__name__ not in skip]
    try:
        _, applied = _write(work, skip, path)
        judged = work.judge(path, second)
    except (OSError, KeronyxError):
        raise
    except Exception as error:
        applied, judged = (), Judged(Refusal("structure", f"a graph pass fails: {one_line(error)}"))
    if judged.refusal is not None and judged.refusal.gate == "numeric" and not second:
        return judged.refusal
    if names and not judged.within(()):
        bare = work.attempt(skip | frozenset(names), search=judged.refusal is not None)
        if bare.within(()) or (judged.refusal is not None and bare.refusal is None):
            changed = [a.name for a in applied if a.changed] or names
            skip = skip | work.without_guilty(changed, bare.disabled)
            why = judged.refusal or f"right only without ONNX Runtime's own {', '.join(judged.disabled)}"
            _, applied = _write(work, skip, path)
            judged = work.judge(path)
            work.evidence.append(f"DroppedPass {', '.join(sorted(skip))}: with it {why}")
    if judged.refusal is not None:
        reject(work.folder, path if path.exists() else work.folder / RAW, work.name)
        return judged.refusal
    if any(a.changed for a in applied):
        with work.gate():
            applied, judged = _not_slower(work, path, skip, applied, judged)
    if judged.disabled:
        work.evidence.append(options.record_disabled(path, judged.disabled))
    proto = without_weights(path)
    if options.may_pay(proto):
        with work.gate():
            work.evidence += options.settle(path, judged, work.spec, work.trials, work.tolerance, work.rounded)
    work.macs = count_macs(proto)
    work.evidence.insert(0, f"{len(proto.graph.node)} ONNX nodes")
    work.evidence += [f"{a.name} {a.nodes_before} -> {a.nodes_after} nodes" for a in applied if a.changed]
    work.evidence.append(
        f"structure, contract and numeric gates passed on {len(work.trials)} inputs, typical error "
        f"{judged.typical:.1e} of RMS"
    )
    return None


def _write(work: _Work, skip: frozenset[str], path: Path) -> tuple[ir.Model, tuple[Applied, ...]]:
    model, applied = work.build(skip)
    save(model, path)
    return model, applied


def _not_slower(
    work: _Work, path: Path, skip: frozenset[str], applied: tuple[Applied, ...], judged: Judged
) -> tuple[tuple[Applied, ...], Judged]:
    """Leave out the pass that makes the graph slower, if they do; says how they compare with the raw graph. Returns
    which passes made the file in the end, and what the gates say of it."""
    raw = work.folder / RAW

    def ratio(first: Path, second: Path) -> latency.Ratio:
        calls = []
        for one in (first, second):
            session = numeric.open_session(one, disabled=judged.disabled)
            calls.append(lambda session=session: numeric.run(session, work.spec, work.trials[0].inputs))
        return latency.compare(calls[0], calls[1], time.perf_counter_ns)

    def without(names: frozenset[str]) -> Path:
        other = work.folder / "other.onnx"
        _write(work, skip | names, other)
        return other

    changed = [a.name for a in applied if a.changed]
    try:
        decided = latency.decide(changed, lambda: ratio(raw, path), lambda names: ratio(raw, without(names)))
    except (OSError, KeronyxError, MemoryError):
        raise
    except Exception as error:  # a graph that lacks a pass need not even load
        work.evidence.append(f"graph passes not compared with the graph without them: {one_line(error)}")
        return applied, judged
    if decided.dropped:
        attempt = work.folder / "attempt.onnx"
        model, rest = _write(work, skip | decided.dropped, attempt)
        found = work.judge(attempt)
        if found.within(judged.disabled):
            save(model, path)
            applied, judged = rest, found
        else:  # right comes before quick
            why = found.refusal or f"right only without ONNX Runtime's own {', '.join(found.disabled)}"
            work.evidence.append(f"kept {', '.join(sorted(decided.dropped))}, though slower with it: without it {why}")
            return applied, judged
    work.evidence += decided.evidence
    return applied, judged


def reject(folder: Path, path: Path, name: str) -> None:
    """Store the model at `path` as one that a gate refused."""
    import onnx_ir as ir

    save(ir.load(path), rejected(folder / name))


def reject_raw(order: Message) -> Message:
    """Store the raw graph as refused, when no more can be done with it."""
    folder = Path(order["folder"])
    reject(folder, folder / RAW, str(order["name"]))
    return {}


def departs(order: Message) -> Message:
    """Run the probe, a graph that gives every layer's output. Answers with whether each is Keras', in their order."""
    folder, spec = Path(order["folder"]), _spec(order["spec"])
    (trial,) = trials.read(folder / f"{PROBE}.npz")
    tolerance = parity.TOLERANCES[str(order["precision"])]
    for optimized in (False, True):
        session = numeric.open_session(folder / f"{PROBE}.onnx", optimized)
        answers = numeric.run(session, spec, trial.inputs)
        verdicts = []
        for k, tensor in enumerate(spec.outputs):
            found = parity.check(
                parity.Answers((tensor,), [[answers[k]]]),
                parity.Answers((tensor,), [[trial.answers[k]]]),
                (tensor,),
                "Keras",
                tolerance,
            )
            compared = np.isfinite(np.asarray(trial.answers[k], np.float64)).any()
            verdicts.append(bool(compared and found.verdict is Verdict.FAIL))
        if any(verdicts):
            break
    return {"departs": verdicts}


def optimize(order: Message) -> Message:
    """Save ONNX Runtime's optimized form beside a model that passed the gates."""
    from keronyx.export import optimized

    return optimized.save(Path(order["path"]), _spec(order["spec"]))


def _spec(told: Message) -> ModelSpec:
    def tensors(values: list[Message]) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(v["name"], tuple(v["shape"]), v["dtype"]) for v in values)

    return ModelSpec(**{**told, "inputs": tensors(told["inputs"]), "outputs": tensors(told["outputs"])})


if __name__ == "__main__":
    serve({"finish": finish, "reject": reject_raw, "departs": departs, "optimize": optimize})

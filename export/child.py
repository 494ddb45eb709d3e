"""The conversion's own process: `python -m keronyx.export.child`. Loads one source, then writes artifacts of it.

A conversion can take gigabytes, crash or be killed; here it takes nobody along, and its memory is its own figure.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from keronyx.errors import ExportError, KeronyxError, UnwritableError, UsageError
from keronyx.export import saved_model
from keronyx.export.dims import NOTHING, Asked
from keronyx.export.gates.trials import Trial
from keronyx.export.in_float32 import NEVER, PRECISION, SOMETIMES, in_float32, told
from keronyx.export.onnx_files import ANSWERS, RAW, ROUNDED, save_raw
from keronyx.export.source import Source, hash_path
from keronyx.process import Message, first_line, one_line, peak_resident_mib, serve
from keronyx.recast import computed
from keronyx.types import Artifact, ModelSpec


class _Loaded:
    """What the process holds between orders."""

    model: Any = None
    asked: Asked = NOTHING
    spec: ModelSpec
    trials: Sequence[Trial] = ()
    notes: Sequence[str] = ()
    replaced: frozenset[str] = frozenset()
    """What the ONNX file computes in float32 instead."""


def load(order: Message) -> Message:
    """Load the source. Answers with its ModelSpec, and the coarsest precision it computes in."""
    from keronyx.export import dims, signature, state
    from keronyx.export.gates import references
    from keronyx.export.source import load as load_source

    source = Source(**order["source"])
    batch, size = order["batch"], order["image_size"]
    image_size = (int(size[0]), int(size[1])) if size else None
    asked, leave_open = dims.parse(order.get("shapes", ())), bool(order.get("leave_open"))
    _Loaded.model, _Loaded.asked = load_source(source, asked), asked
    _Loaded.notes = () if source.kind == "saved_model" else state.made_stateless(_Loaded.model)
    arguments = (source.name, source.text)
    try:
        if source.kind == "saved_model":
            identity = source.identity or ""
            spec = signature.of_saved_model(_Loaded.model, *arguments, identity, batch, image_size, asked, leave_open)
        else:
            spec = signature.of_keras(
                _Loaded.model, *arguments, batch, image_size, source.custom_objects, asked, leave_open
            )
    except (UsageError, ExportError):
        raise
    except Exception as error:
        raise ExportError(
            f"{source.text} cannot be called on its own input shapes: {one_line(error)}",
            "the network may not take this image size",
        ) from error
    _Loaded.spec = spec
    return {**asdict(spec), "precision": references.precision(_Loaded.model)}


def write(order: Message) -> Message:
    """Write one kind of artifact to a path that does not exist yet. Answers with the Artifact."""
    kind, path = str(order["kind"]), Path(order["path"])
    _new_peak()
    started = time.perf_counter_ns()
    with _as_export_error(kind, path):
        evidence = _make(kind, path, order)
    seconds = (time.perf_counter_ns() - started) / 1e9
    size = sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) if path.is_dir() else path.stat().st_size
    artifact = Artifact(
        kind, path.name, size, hash_path(path), seconds, peak_resident_mib(), (*evidence, *_Loaded.notes)
    )
    return {"artifact": asdict(artifact)}


def _make(kind: str, path: Path, order: Message) -> tuple[str, ...]:
    """Write the artifact; return its evidence."""
    if kind == "keras":
        return _save_keras(path)
    if kind == "saved_model":
        saved_model.copy(Path(order["target"]), path)
        return ()
    if kind == "frozen":
        from keronyx.export import frozen

        return frozen.convert(_Loaded.model, _Loaded.spec, path)
    from keronyx.export import litert

    return litert.convert(_Loaded.model, _Loaded.spec, path)


def convert(order: Message) -> Message:
    """Write `raw.onnx` and `answers.npz` into a folder, for `finishing`. Answers with what that cost.

    `not_in_float64`, in the order, says why nothing can stay in float64, where that turned out to be so.
    `seconds` are the conversion's own; Keras' answers come on top.
    """
    from keronyx.export import onnx
    from keronyx.export.gates import references, trials, twin

    folder, why = Path(order["folder"]), str(order["not_in_float64"])
    (folder / ROUNDED).unlink(missing_ok=True)
    dtypes = computed(_Loaded.model)
    _Loaded.replaced = dtypes & {NEVER, *([SOMETIMES] if why else [])}
    _new_peak()
    started, cpu = time.perf_counter_ns(), time.process_time_ns()
    with _as_export_error("onnx", folder / RAW):
        with _as_converted():
            graph, evidence = onnx.converted(_Loaded.model, _Loaded.spec, _Loaded.asked)
            precision, odd = references.precision(_Loaded.model), references.odd_weights(_Loaded.model)
        said = told(_Loaded.replaced, why)
        if said:
            graph.metadata_props[PRECISION] = "; ".join(said)
        save_raw(graph, folder / RAW)
        del graph
        seconds, cpu_s = (time.perf_counter_ns() - started) / 1e9, (time.process_time_ns() - cpu) / 1e9
        _trim()
        _Loaded.trials = references.tried(_Loaded.model, _Loaded.spec, _Loaded.asked)
        if _Loaded.replaced:
            _Loaded.trials, near = twin.answered(_Loaded.model, _Loaded.spec, _Loaded.trials, _Loaded.replaced)
            said.append(near)
        trials.store(folder / ANSWERS, _Loaded.trials)
    return {
        "evidence": [*evidence, *_Loaded.notes],
        "computes": said,
        "odd_weights": odd,
        "precision": precision,
        "float64": SOMETIMES in dtypes - _Loaded.replaced,
        "seconds": seconds,
        "answers_s": (time.perf_counter_ns() - started) / 1e9 - seconds,
        "cpu_s": cpu_s,
        "peak_mib": peak_resident_mib(),
    }


def round_answers(order: Message) -> Message:
    """Write `rounded.npz`: the trials answered with the weights moved by rounding."""
    from keronyx.export.gates import references, trials

    with _as_converted():
        moved = references.rounded(_Loaded.model, _Loaded.spec, _Loaded.trials, str(order["precision"]))
    trials.store(Path(order["folder"]) / ROUNDED, moved)
    return {}


def probe(order: Message) -> Message:
    """Write a graph that gives layers' outputs, with Keras' (see `gates.guilty`). Answers with which layers it has."""
    from keronyx.export.gates import guilty

    trial = _Loaded.trials[int(order["trial"])]
    place = Path(order["folder"]), int(order["after"]), order["upto"]
    with _as_converted():
        spec, chosen = guilty.probe(_Loaded.model, _Loaded.spec, _Loaded.asked, trial, *place)
    names = [name for name, _ in guilty.layers(_Loaded.model)]
    return {"spec": asdict(spec), "indices": chosen, "names": [names[i] for i in chosen]}


def _as_converted() -> contextlib.AbstractContextManager[None]:
    """For the time being the model computes in what the ONNX file does."""
    return in_float32(_Loaded.model, _Loaded.replaced)


@contextlib.contextmanager
def _as_export_error(kind: str, path: Path) -> Iterator[None]:
    try:
        yield
    except (KeronyxError, MemoryError):
        raise
    except OSError as error:
        raise UnwritableError(f"cannot write {path.name}: {error.strerror or error}") from error
    except Exception as error:
        raise ExportError(f"this model cannot be converted to {kind}: {first_line(error)}") from error


def _new_peak() -> None:
    """Start a new peak: what earlier orders used and gave back does not count."""
    _trim()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _trim() -> None:
    """Give memory that is free back to the system, where the C library is glibc."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _save_keras(path: Path) -> tuple[str, ...]:
    try:
        _Loaded.model.save(path)
    except OSError:
        raise
    except Exception as error:
        raise ExportError(f"Keras cannot save this model: {one_line(error)}") from error
    return ()


if __name__ == "__main__":
    serve({"load": load, "write": write, "convert": convert, "round": round_answers, "probe": probe})

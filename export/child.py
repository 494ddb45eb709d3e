"""The conversion's own process: `python -m keronyx.export.child`. Loads one source, then writes artifacts of it.

A conversion can take gigabytes, crash or be killed; here it takes nobody along, and its memory is its own figure.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from keronyx.errors import ExportError, KeronyxError, UnwritableError, UsageError
from keronyx.export.dims import NOTHING, Asked
from keronyx.export.source import Source, hash_path
from keronyx.process import Message, first_line, one_line, peak_resident_mib, serve
from keronyx.types import Artifact, ModelSpec


class _Loaded:
    """What the process holds between orders."""

    model: Any = None
    asked: Asked = NOTHING
    spec: ModelSpec


def load(order: Message) -> Message:
    """Load the source. Answers with its ModelSpec."""
    from keronyx.export import dims, signature
    from keronyx.export.source import load as load_source

    source = Source(**order["source"])
    batch, size = order["batch"], order["image_size"]
    image_size = (int(size[0]), int(size[1])) if size else None
    asked, leave_open = dims.parse(order.get("shapes", ())), bool(order.get("leave_open"))
    _Loaded.model, _Loaded.asked = load_source(source, asked), asked
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
    return asdict(spec)


def write(order: Message) -> Message:
    """Write one kind of artifact to a path that does not exist yet. Answers with the Artifact and the MACs if known."""
    kind, path = str(order["kind"]), Path(order["path"])
    with contextlib.suppress(OSError):  # start a new peak: what earlier orders used and gave back does not count
        Path("/proc/self/clear_refs").write_text("5")
    started = time.perf_counter_ns()
    try:
        evidence, macs = _make(kind, path, order)
    except (KeronyxError, MemoryError):
        raise
    except OSError as error:
        raise UnwritableError(f"cannot write {path.name}: {error.strerror or error}") from error
    except Exception as error:
        raise ExportError(f"this model cannot be converted to {kind}: {first_line(error)}") from error
    seconds = (time.perf_counter_ns() - started) / 1e9
    size = sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) if path.is_dir() else path.stat().st_size
    artifact = Artifact(kind, path.name, size, hash_path(path), seconds, peak_resident_mib(), evidence)
    return {"artifact": asdict(artifact), "macs": macs}


def _make(kind: str, path: Path, order: Message) -> tuple[tuple[str, ...], int | None]:
    """Write the artifact; return its evidence and, for ONNX, the multiply-accumulates."""
    if kind == "keras":
        return _save_keras(path), None
    if kind == "saved_model":
        shutil.copytree(order["target"], path)
        return (), None
    if kind == "onnx":
        import onnx as onnx_library

        from keronyx.export import onnx
        from keronyx.export.macs import count_macs

        evidence = onnx.convert(_Loaded.model, _Loaded.spec, path, _Loaded.asked)
        return evidence, count_macs(onnx_library.load(str(path)))
    if kind == "frozen":
        from keronyx.export import frozen

        return frozen.convert(_Loaded.model, _Loaded.spec, path), None
    from keronyx.export import litert

    return litert.convert(_Loaded.model, _Loaded.spec, path), None


def _save_keras(path: Path) -> tuple[str, ...]:
    try:
        _Loaded.model.save(path)
    except OSError:
        raise
    except Exception as error:
        raise ExportError(f"Keras cannot save this model: {one_line(error)}") from error
    return ()


if __name__ == "__main__":
    serve({"load": load, "write": write})

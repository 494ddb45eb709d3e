"""The conversion's own process: `python -m keronyx.export.child`. Loads one source, then writes artifacts of it.

A conversion can take gigabytes, crash or be killed; here it takes nobody along, and its memory is its own figure.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from keronyx.errors import ExportError, UsageError
from keronyx.export.source import Source, hash_path
from keronyx.process import Message, peak_resident_mib, serve
from keronyx.types import Artifact, ModelSpec


class _Loaded:
    """What the process holds between orders."""

    model: Any = None
    spec: ModelSpec


def load(order: Message) -> Message:
    """Load the source. Answers with its ModelSpec."""
    from keronyx.export import signature
    from keronyx.export.source import load as load_source

    source = Source(**order["source"])
    batch, size = order["batch"], order["image_size"]
    image_size = (int(size[0]), int(size[1])) if size else None
    _Loaded.model = load_source(source)
    arguments = (source.name, source.text)
    try:
        if source.kind == "saved_model":
            spec = signature.of_saved_model(_Loaded.model, *arguments, source.identity or "", batch, image_size)
        else:
            spec = signature.of_keras(_Loaded.model, *arguments, batch, image_size)
    except (UsageError, ExportError):
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ExportError(
            f"{source.text} cannot be called on its own input shapes: {(lines or [''])[0][:200]}",
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
    macs = None
    if kind == "keras":
        evidence = _save_keras(path)
    elif kind == "saved_model":
        shutil.copytree(order["target"], path)
        evidence = ()
    elif kind == "onnx":
        import onnx as onnx_library

        from keronyx.export import onnx
        from keronyx.export.macs import count_macs

        evidence = onnx.convert(_Loaded.model, _Loaded.spec, path)
        macs = count_macs(onnx_library.load(str(path)))
    elif kind == "frozen":
        from keronyx.export import frozen

        evidence = frozen.convert(_Loaded.model, _Loaded.spec, path)
    else:
        from keronyx.export import litert

        evidence = litert.convert(_Loaded.model, _Loaded.spec, path)
    seconds = (time.perf_counter_ns() - started) / 1e9
    size = sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) if path.is_dir() else path.stat().st_size
    artifact = Artifact(kind, path.name, size, hash_path(path), seconds, peak_resident_mib(), evidence)
    return {"artifact": asdict(artifact), "macs": macs}


def _save_keras(path: Path) -> tuple[str, ...]:
    """Save the model with Keras under a name Keras accepts, then move it to `path`."""
    named = path.with_name(f"{path.name}.keras")
    try:
        _Loaded.model.save(named)
        os.replace(named, path)
    except Exception as error:
        raise ExportError(f"Keras cannot save this model: {str(error).splitlines()[0][:200]}") from error
    return ()


if __name__ == "__main__":
    serve({"load": load, "write": write})

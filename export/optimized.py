"""ONNX Runtime's own optimized graph, saved: the same answers, loaded without optimizing it again.

It holds what ONNX Runtime chose for one processor (blocked layouts among it), so it is made for the machine it is made
on and says which that is. Runs in the finishing process.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from keronyx.errors import ExportError
from keronyx.export.gates import numeric, trials
from keronyx.export.onnx_files import beside, without_weights
from keronyx.process import Message, one_line
from keronyx.types import Array, ModelSpec

MACHINE = "keronyx.machine"
"""Key in the file's metadata: what it was made for."""

LOADS = 5
"""How often each of the two files is loaded, in turn, to say which is loaded faster."""

ATTEMPTS = ((96, 4), (96, 2), (96, 1), (224, 4), (32, 4), (32, 1))
"""Length of open dimensions, and what integers are drawn below, until ONNX Runtime takes the inputs."""


def name(model: Path) -> str:
    """File name of the optimized form of `model` on this machine."""
    return f"{model.stem}.optimized-{hashlib.sha256(machine().encode()).hexdigest()[:8]}.onnx"


def machine() -> str:
    """What decides how ONNX Runtime optimizes: its version and the processor with what it can do."""
    import onnxruntime

    said: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            said.setdefault(key.strip(), value.strip())
    except OSError:
        pass
    processor = said.get("model name") or platform.processor() or platform.machine()
    able = hashlib.sha256(" ".join(sorted(said.get("flags", "").split())).encode()).hexdigest()[:8]
    return f"onnxruntime {onnxruntime.__version__} on {processor} ({able})"


def save(model: Path, spec: ModelSpec) -> Message:
    """Write the optimized form beside `model`. Answers with its name, bytes, and milliseconds to load both.

    Raises:
        ExportError: its weights are in a file of their own, it takes no input that is drawn, or the saved graph answers
            otherwise.
    """
    if beside(model).is_file():
        raise ExportError("weights beside the model: ONNX Runtime's optimized form of it would hold them once more")
    proto = without_weights(model)
    asked = json.loads({prop.key: prop.value for prop in proto.metadata_props}.get(numeric.SESSION_OPTIONS, "{}"))
    disabled, level = asked.get("disabled_optimizers", ()), str(asked.get("graph_optimization_level", "all"))
    final = model.parent / name(model)
    making = model.parent / f".{final.name}.{os.getpid()}"
    try:
        _write(model, making, disabled, level)
        plain, saved = numeric.open_session(model, True, disabled, level), numeric.open_session(making, False)
        for inputs, right in _answered(plain, spec, proto):
            for a, b in zip(right, numeric.run(saved, spec, inputs), strict=True):
                if not np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"):
                    raise ExportError("ONNX Runtime's saved graph does not answer as the graph it was saved from")
        del plain, saved
        loads = _loads(model, making, disabled, level)
        os.replace(making, final)
    finally:
        making.unlink(missing_ok=True)
    return {"name": final.name, "bytes": final.stat().st_size, "plain_ms": loads[0], "optimized_ms": loads[1]}


def _answered(session: Any, spec: ModelSpec, proto: Any) -> list[tuple[list[Array], list[Array]]]:
    """Inputs the model takes, and its answers: what its integers mean only itself knows by now, but zeros it takes."""
    names = [[dim.dim_param or dim.dim_value for dim in v.type.tensor_type.shape.dim] for v in proto.graph.input]
    problem: Exception | None = None
    for length, small in ATTEMPTS:
        try:
            drawn = [trial.inputs for trial in trials.draw(spec.inputs, {}, length, small, names)]
            return [(inputs, numeric.run(session, spec, inputs)) for inputs in drawn]
        except Exception as error:
            problem = problem or error
    assert problem is not None
    raise ExportError(f"ONNX Runtime takes no input to compare its saved graph on: {one_line(problem)}") from problem


def _write(model: Path, path: Path, disabled: Any, level: str) -> None:
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if level == "extended":
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 4
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(
        str(model),
        options,
        providers=["CPUExecutionProvider"],
        enable_fallback=False,
        disabled_optimizers=list(disabled),
    )
    proto = onnx.load(str(path))
    proto.metadata_props.add(key=MACHINE, value=machine())
    onnx.save(proto, str(path))


def _loads(model: Path, optimized: Path, disabled: Any, level: str) -> tuple[float, float]:
    """Median milliseconds to open a session of each, in turn."""
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(LOADS):
        for times, path, plain in ((spent[0], model, True), (spent[1], optimized, False)):
            started = time.perf_counter_ns()
            numeric.open_session(path, optimized=plain, disabled=disabled if plain else (), level=level)
            times.append((time.perf_counter_ns() - started) / 1e6)
    return median(spent[0]), median(spent[1])

"""Session options a file asks for: what ONNX Runtime needs to be right, and where it is quicker and as right."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keronyx.export import session_options
from keronyx.export.gates import RefusedError, numeric
from keronyx.export.gates.trials import Trial
from keronyx.parity import Tolerance
from keronyx.types import ModelSpec

if TYPE_CHECKING:
    import onnx_ir as ir

LONG_KERNEL = 32
"""Only of networks with kernels this long is it known that other options than ONNX Runtime's own may pay."""


def may_pay(proto: Any) -> bool:
    """Whether looking for quicker options is worth its time."""
    kernels = [a.ints for node in proto.graph.node for a in node.attribute if a.name == "kernel_shape"]
    return any(max(kernel, default=0) >= LONG_KERNEL for kernel in kernels)


def settle(
    path: Path,
    judged: numeric.Judged,
    spec: ModelSpec,
    trials: Sequence[Trial],
    tolerance: Tolerance,
    rounding: Sequence[Trial],
) -> list[str]:
    """Record options in the file with which ONNX Runtime is clearly quicker and as right. Returns what to say of it."""
    import onnx_ir as ir

    from keronyx.export.onnx_files import save

    def session(options: Mapping[str, Any]) -> Any:
        level = str(options.get("graph_optimization_level", "all"))
        return numeric.open_session(path, disabled=judged.disabled, level=level)

    def open_call(options: dict[str, Any]) -> Callable[[], object]:
        opened = session(options)
        return lambda: numeric.run(opened, spec, trials[0].inputs)

    chosen, ratio = session_options.choose(open_call)
    if not chosen or ratio is None:
        return []
    try:
        numeric.compare(session(chosen), spec, trials, tolerance, rounding, "on in part")
    except RefusedError:
        return []
    model = ir.load(path)
    record(model, chosen)
    save(model, path)
    said = ", ".join(f"{key} {value}" for key, value in chosen.items())
    return [f"{1 / ratio.value:.2f}x faster with {said}: recorded in the file, which keronyx follows"]


def record(model: ir.Model, options: Mapping[str, Any]) -> None:
    """Add to the session options the file asks for."""
    known = json.loads(model.metadata_props.get(numeric.SESSION_OPTIONS, "{}"))
    model.metadata_props[numeric.SESSION_OPTIONS] = json.dumps({**known, **options})


def record_disabled(path: Path, names: Sequence[str]) -> str:
    """Record in the file which of ONNX Runtime's optimizers must be left out. Returns what to say of it."""
    import onnx_ir as ir

    from keronyx.export.onnx_files import save

    model = ir.load(path)
    record(model, {"disabled_optimizers": list(names)})
    save(model, path)
    return (
        f"warning: right only without ONNX Runtime's own {', '.join(names)}, with which it may not even load: recorded "
        "in the file, which keronyx follows; others must set disabled_optimizers"
    )

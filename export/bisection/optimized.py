"""What ONNX Runtime's own graph optimizers spoil: a file that is right without them and not with them.

Which of them is found by leaving them out; where, by running the file's beginning alone, cut ever shorter. A cut gives
all tensors that the rest of the file would take, so that the optimizers do in it what they do in the whole.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keronyx.control_groups import usable_cores
from keronyx.export.bisection.match import Difference, compare
from keronyx.export.bisection.nodes import Graph, Step
from keronyx.export.gates.numeric import SESSION_OPTIONS
from keronyx.export.gates.optimizers import find_guilty
from keronyx.types import Array

SHARE = 1e-3
"""Share of an output's values that optimizers may move further than Keras' own error, besides four times the share
that rounding moves so far in Keras: in nets that choose by comparison they do."""


@dataclass(frozen=True)
class Spoiled:
    """The optimizers without which the file is right, the node they spoil and a tensor it shows in."""

    optimizers: tuple[str, ...]
    step: Step
    tensor: str
    difference: Difference


def spoiled(path: Path, graph: Graph, inputs: dict[str, Array], noise: dict[str, Array]) -> Spoiled | None:
    """What optimizers spoil beyond those that the file itself asks sessions to leave out; None if they do not.

    Args:
        inputs: of the model, by name.
        noise: for every output of the file, by how much Keras' own answer is off from the exact one.
    """
    recorded = asked_for(path)
    right = dict(zip(graph.outputs, _run(path, inputs, None), strict=True))

    def wrong(disabled: Sequence[str]) -> bool:
        made: list[Array] | None = None
        with suppress(Exception):
            made = _run(path, inputs, [*recorded, *disabled])
        return made is None or any(_moved(a, right[n], noise[n]) for n, a in zip(graph.outputs, made, strict=True))

    if not wrong(()) or not (guilty := find_guilty(wrong)):
        return None
    relative = max(_relative(noise[name], right[name]) for name in graph.outputs)

    def shows(count: int) -> tuple[str, Difference] | None:
        """A tensor in which it shows, when only so many nodes are run."""
        model, names = beginning(graph, count)
        off, on = _run(model, inputs, None), _run(model, inputs, recorded)
        for name, a, b in zip(names, on, off, strict=True):
            size = float(np.sqrt(np.mean(np.square(b.astype(np.float64))))) if b.size else 0.0
            if _moved(a, b, np.full(b.shape, relative * size)):
                return name, compare(a, b.astype(np.float64), b, str(b.dtype))
        return None

    low, high, found = 0, len(graph.steps), shows(len(graph.steps))
    while high - low > 1:
        middle = (low + high) // 2
        here = shows(middle)
        low, high, found = (low, middle, here) if here else (middle, high, found)
    name, difference = found or (graph.outputs[0], compare(np.zeros(0), np.zeros(0), np.zeros(0), ""))
    step = next((one for one in graph.steps if name in one.outputs), graph.steps[high - 1])
    return Spoiled(guilty, step, name, difference)


def asked_for(path: Path) -> list[str]:
    """Optimizers that a file asks sessions to leave out."""
    import onnx

    proto = onnx.load(str(path), load_external_data=False)
    said = next((p.value for p in proto.metadata_props if p.key == SESSION_OPTIONS), "{}")
    return [str(name) for name in json.loads(said).get("disabled_optimizers", ())]


def beginning(graph: Graph, count: int) -> tuple[bytes, list[str]]:
    """A model of the first `count` nodes, and its outputs: what the rest takes, and those of the whole."""
    import onnx

    steps = graph.steps[:count]
    made = {name for step in steps for name in step.outputs}
    later = {name for step in graph.steps[count:] for name in step.inputs} | set(graph.outputs)
    names = [name for step in steps for name in step.outputs if name in later and name in graph.computed]
    taken = {name for step in steps for name in step.inputs}
    proto = graph.proto
    constants = []
    for name in sorted(taken & set(graph.constants)):
        constant = onnx.TensorProto()
        constant.CopyFrom(graph.constants[name])
        constant.name = name
        constants.append(constant)
    inputs = [value for value in proto.graph.input if value.name in graph.inputs]
    outputs = [onnx.ValueInfoProto(name=name) for name in names]
    assert not set(names) - made
    short = onnx.helper.make_graph([step.node for step in steps], "beginning", inputs, outputs, constants)
    model = onnx.helper.make_model(short, opset_imports=proto.opset_import, functions=proto.functions)
    model.ir_version = proto.ir_version
    return model.SerializeToString(), names


def _run(model: Path | bytes, inputs: dict[str, Array], disabled: Sequence[str] | None) -> list[Array]:
    """All outputs of a model, without optimizations where `disabled` is None, else with all but the disabled ones."""
    import onnxruntime

    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    options.log_severity_level = 4
    if disabled is None:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=list(disabled or ()),
    )
    return [np.asarray(array) for array in session.run(None, {v.name: inputs[v.name] for v in session.get_inputs()})]


def _moved(made: Array, right: Array, noise: Array) -> bool:
    """Whether optimizers move an output by more than Keras' own error."""
    if made.shape != right.shape or right.dtype.kind != "f":
        return made.shape != right.shape or float(np.mean(made != right)) > SHARE
    exact = right.astype(np.float64)
    found = compare(made, exact, exact + noise, right.dtype.name)
    return found.outliers > SHARE + 4 * _share(noise, exact)


def _share(noise: Array, exact: Array) -> float:
    return compare(exact + noise, exact, exact + noise, "float32").outliers


def _relative(noise: Array, right: Array) -> float:
    """99th percentile of Keras' own error, in units of the output's root mean square."""
    size = float(np.sqrt(np.mean(np.square(right.astype(np.float64))))) if right.size else 0.0
    found = float(np.quantile(np.abs(noise), 0.99)) / size if noise.size and size else 0.0
    return max(found, 1e-6)

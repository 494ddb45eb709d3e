"""Which layer goes wrong first? The model converted with its layers' outputs as outputs, in the conversion's process.

Their answers may be too much to hold at once: a probe takes as many layers as fit, and the next looks between two.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

from keronyx.export import signature
from keronyx.export.dims import Asked
from keronyx.export.gates import references, trials
from keronyx.export.gates.trials import Trial
from keronyx.export.onnx_files import PROBE, save_raw
from keronyx.types import ModelSpec, TensorSpec

PROBE_BYTES = 2**28
"""Most memory the outputs of one probe may take, in Keras and again in ONNX Runtime."""


@lru_cache(maxsize=1)
def layers(model: Any) -> list[tuple[str, Any]]:
    """Path and output of every layer of a functional or sequential model, in the order they are computed; those of
    such models inside it come before the model they are in."""
    graph = _graph(model)
    depths = getattr(graph, "_nodes_by_depth", {})
    nodes = [node for depth in sorted(depths, reverse=True) for node in depths[depth] if not node.is_input]
    found = []
    for node in nodes:
        name, inner = str(node.operation.name), _graph(node.operation)
        if inner is not None:
            with suppress(Exception):  # called in a way that its layers alone do not take: only it is named
                found += _inside(inner, node.input_tensors, name)
        found += [(name, tensor) for tensor in node.outputs]
    return found


def _graph(operation: Any) -> Any:
    """The graph of layers that a functional or sequential model is; None of anything else."""
    graph = getattr(operation, "_functional", None) or operation
    return graph if hasattr(graph, "_nodes_by_depth") else None


def _inside(graph: Any, tensors: Any, path: str) -> list[tuple[str, Any]]:
    """The same for a model called by another on symbolic `tensors`: its layers are called on them once more."""
    import keras

    found: list[tuple[str, Any]] = []

    def called(operation: Any) -> Any:
        name = f"{path}/{operation.name}"

        def call(*arguments: Any, **options: Any) -> Any:
            inner = _graph(operation)
            if inner is not None:
                found.extend(_inside(inner, keras.tree.flatten(arguments), name))
            outputs = operation(*arguments, **options)
            found.extend((name, tensor) for tensor in keras.tree.flatten(outputs))
            return outputs

        return call

    graph._run_through_graph(tensors, operation_fn=called)
    return found


def probe(
    model: Any, spec: ModelSpec, asked: Asked, trial: Trial, folder: Path, after: int, upto: int | None
) -> tuple[ModelSpec, list[int]]:
    """Write `probe.onnx` and `probe.npz`, with Keras' answers, for some of the layers after one and up to another.

    Args:
        after, upto: indices into `layers`; -1 is before the first, None the last.

    Returns:
        The probe's signature and its layers' indices; no indices when there is nothing to probe.
    """
    import keras

    from keronyx.export import onnx

    found = layers(model)
    last = len(found) - 1 if upto is None else upto
    chosen = _fitting([tensor for _, tensor in found], after, last)
    if not chosen:
        return spec, []
    made = keras.Model(model.input, [found[i][1] for i in chosen], name="probe")
    outputs = tuple(
        TensorSpec(f"layer_{i}", tuple(found[i][1].shape), signature.at_boundary(str(found[i][1].dtype)))
        for i in chosen
    )
    wanted = replace(spec, outputs=outputs)
    answers = references.answers(made, wanted, trial.inputs)
    wanted = replace(wanted, outputs=tuple(replace(t, shape=a.shape) for t, a in zip(outputs, answers, strict=True)))
    fixed = tuple(replace(t, shape=a.shape) for t, a in zip(spec.inputs, trial.inputs, strict=True))
    wanted = replace(wanted, inputs=fixed)
    graph, _ = onnx.converted(made, wanted, asked)
    save_raw(graph, folder / f"{PROBE}.onnx")
    trials.store(folder / f"{PROBE}.npz", [Trial(trial.kind, trial.inputs, answers)])
    return wanted, chosen


def _fitting(tensors: list[Any], after: int, last: int) -> list[int]:
    """Evenly spaced indices behind `after`, `last` among them, whose float32 outputs fit; at least `last`."""
    candidates = list(range(after + 1, last + 1))
    for step in range(1, len(candidates) + 1):
        chosen = candidates[::-1][::step][::-1]
        if sum(4 * prod(size or 1 for size in tensors[i].shape) for i in chosen) <= PROBE_BYTES:
            return chosen
    return candidates[-1:]

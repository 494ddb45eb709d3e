"""An ONNX file whose nodes are run one by one, by ONNX Runtime without its graph optimizers."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from keronyx.control_groups import usable_cores
from keronyx.errors import ExportError
from keronyx.export.layers import LAYER
from keronyx.process import one_line
from keronyx.types import Array

FED_BYTES = 4096
"""Constants of more than this are given to a node with every call, smaller ones are part of its model."""


@dataclass(frozen=True)
class Step:
    """One node. `inputs` names all it takes, what graphs inside it take from outside included."""

    node: Any
    layer: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Graph:
    """The nodes of a file in an order they can be run in."""

    def __init__(self, path: Path, order: Callable[[str], int] = lambda layer: 0) -> None:
        """
        Args:
            order: place of a layer among all; nodes are run in the order of their layers as far as they can be.
        """
        import onnx

        self.proto = onnx.load(str(path))
        graph = self.proto.graph
        self.constants = {t.name: t for t in graph.initializer}
        self.inputs = [value.name for value in graph.input if value.name not in self.constants]
        self.outputs = [value.name for value in graph.output]
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                self.constants[node.output[0]] = node.attribute[0].t
        steps = [_step(node) for node in graph.node if node.output[0] not in self.constants]
        self.steps = _ordered(steps, {*self.constants, *self.inputs}, order)

    @cached_property
    def consumers(self) -> dict[str, list[int]]:
        """Tensor -> indices of the steps that take it."""
        found: dict[str, list[int]] = {}
        for i, step in enumerate(self.steps):
            for name in step.inputs:
                found.setdefault(name, []).append(i)
        return found

    @cached_property
    def computed(self) -> frozenset[str]:
        """Tensors that depend on the model's inputs."""
        found = set(self.inputs)
        for step in self.steps:
            if found & set(step.inputs):
                found |= set(step.outputs)
        return frozenset(found)

    def run(self, step: Step, values: Mapping[str, Array]) -> dict[str, Array]:
        """What one node makes of `values`. Raises ExportError, with the layer, when it cannot be run."""
        import onnx
        import onnxruntime

        fed, held = {}, []
        for name in step.inputs:
            constant = self.constants.get(name)
            if constant is None:
                fed[name] = np.ascontiguousarray(values[name])
            elif len(constant.raw_data) > FED_BYTES:
                fed[name] = onnx.numpy_helper.to_array(constant)
            else:
                kept = onnx.TensorProto()
                kept.CopyFrom(constant)
                kept.name = name
                held.append(kept)
        to_dtype = onnx.helper.np_dtype_to_tensor_dtype
        inner = any(a.HasField("g") or a.graphs for a in step.node.attribute)  # whose own shapes may be more general
        inputs = [
            onnx.helper.make_tensor_value_info(n, to_dtype(a.dtype), None if inner else a.shape) for n, a in fed.items()
        ]
        outputs = [onnx.ValueInfoProto(name=name) for name in step.outputs]
        graph = onnx.helper.make_graph([step.node], "one", inputs, outputs, held)
        model = onnx.helper.make_model(graph, opset_imports=self.proto.opset_import, functions=self.proto.functions)
        model.ir_version = self.proto.ir_version
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = usable_cores()
        options.log_severity_level = 4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
            made = session.run(list(step.outputs), fed)
        except Exception as error:
            where = f" (layer {step.layer})" if step.layer else ""
            raise ExportError(f"ONNX Runtime cannot run {step.node.op_type}{where}: {one_line(error)}") from error
        return dict(zip(step.outputs, map(np.asarray, made), strict=True))


def _step(node: Any) -> Step:
    layer = next((p.value for p in node.metadata_props if p.key == LAYER), "")
    inputs = dict.fromkeys(name for name in node.input if name)
    for attribute in node.attribute:
        for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            inputs |= dict.fromkeys(_captured(inner))
    return Step(node, layer, tuple(inputs), tuple(name for name in node.output if name))


def _captured(graph: Any) -> list[str]:
    """Tensors that a graph inside a node takes from around it."""
    own = {value.name for value in (*graph.input, *graph.initializer)}
    own |= {name for node in graph.node for name in node.output}
    taken = [name for node in graph.node for name in _step(node).inputs]
    return [name for name in [*taken, *(value.name for value in graph.output)] if name not in own]


def _ordered(steps: list[Step], known: set[str], order: Callable[[str], int]) -> list[Step]:
    missing = [len(set(step.inputs) - known) for step in steps]
    waiting: dict[str, list[int]] = {}
    for i, step in enumerate(steps):
        for name in set(step.inputs) - known:
            waiting.setdefault(name, []).append(i)
    ready = [(order(step.layer), i) for i, step in enumerate(steps) if not missing[i]]
    heapq.heapify(ready)
    done = []
    while ready:
        _, i = heapq.heappop(ready)
        done.append(steps[i])
        for name in steps[i].outputs:
            for later in waiting.get(name, ()):
                missing[later] -= 1
                if not missing[later]:
                    heapq.heappush(ready, (order(steps[later].layer), later))
    return done

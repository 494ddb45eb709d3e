"""LiteRT (TensorFlow Lite) on the CPU, with its default XNNPACK delegate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keronyx.runtime.libraries import package_missing
from keronyx.types import Array, Missing, Placement, Session, SessionRequest, TensorSpec


class LiteRt:
    name = "litert"
    provider = "cpu"
    artifacts = ("litert",)
    package = "ai-edge-litert"

    def missing(self) -> Missing | None:
        return package_missing("ai-edge-litert", "ai_edge_litert", "keronyx[litert]")

    def import_library(self) -> None:
        from ai_edge_litert import interpreter

        del interpreter

    def open(self, request: SessionRequest) -> Session:
        return LiteRtSession(request)


class LiteRtSession:
    """An Interpreter called by tensor index; its signature gives the names."""

    def __init__(self, request: SessionRequest) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_path=request.path, num_threads=request.threads)
        self._interpreter.allocate_tensors()
        runner = self._interpreter.get_signature_runner()
        inputs, outputs = runner.get_input_details(), runner.get_output_details()
        self._input_indices = [inputs[spec.name]["index"] for spec in request.spec.inputs]
        self._output_indices = [outputs[spec.name]["index"] for spec in request.spec.outputs]
        self.inputs = tuple(_spec(spec.name, inputs[spec.name]) for spec in request.spec.inputs)
        self.outputs = tuple(_spec(spec.name, outputs[spec.name]) for spec in request.spec.outputs)
        self._shapes = [tuple(inputs[spec.name]["shape"].tolist()) for spec in request.spec.inputs]

    def prepare(self) -> None:
        """Nothing: XNNPACK packs the weights while tensors are allocated."""

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        interpreter = self._interpreter
        if [array.shape for array in inputs] != self._shapes:
            self._resize(inputs)
        for index, array in zip(self._input_indices, inputs, strict=True):
            interpreter.set_tensor(index, array)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in self._output_indices]

    def _resize(self, inputs: Sequence[Array]) -> None:
        """Plan memory for these shapes: a file with a dynamic batch is opened for one item."""
        for index, array in zip(self._input_indices, inputs, strict=True):
            self._interpreter.resize_tensor_input(index, array.shape, strict=True)
        self._interpreter.allocate_tensors()
        self._shapes = [array.shape for array in inputs]

    def placement(self) -> Placement:
        return Placement(assigned={"cpu": 1})


def _spec(name: str, details: dict[str, Any]) -> TensorSpec:
    shape = tuple(None if size < 0 else int(size) for size in details["shape_signature"])
    return TensorSpec(name, shape, np.dtype(details["dtype"]).name)

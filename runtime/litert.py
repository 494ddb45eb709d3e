"""LiteRT (TensorFlow Lite) on the CPU, with its default XNNPACK delegate."""

from __future__ import annotations

import threading
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
    """An Interpreter called by tensor index; its signature gives the names.

    An Interpreter is not safe to call from several threads, so each thread that calls gets its own at its first call.
    They share the mapped file; what XNNPACK packs of the weights and the tensors' memory each has for itself. Each
    also has `threads` threads of its own.
    """

    def __init__(self, request: SessionRequest) -> None:
        self._request = request
        self._own = threading.local()
        self._own.interpreter = interpreter = self._open()
        runner = interpreter.get_signature_runner()
        inputs, outputs = runner.get_input_details(), runner.get_output_details()
        self._input_indices = [inputs[spec.name]["index"] for spec in request.spec.inputs]
        self._output_indices = [outputs[spec.name]["index"] for spec in request.spec.outputs]
        self.inputs = tuple(_spec(spec.name, inputs[spec.name]) for spec in request.spec.inputs)
        self.outputs = tuple(_spec(spec.name, outputs[spec.name]) for spec in request.spec.outputs)
        self._own.shapes = self._opened_shapes = [tuple(inputs[s.name]["shape"].tolist()) for s in request.spec.inputs]

    def _open(self) -> Any:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=self._request.path, num_threads=self._request.threads)
        interpreter.allocate_tensors()
        return interpreter

    def prepare(self) -> None:
        """Nothing: XNNPACK packs the weights while tensors are allocated."""

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        own = self._own
        if not hasattr(own, "interpreter"):
            own.interpreter, own.shapes = self._open(), self._opened_shapes
        interpreter = own.interpreter
        if [array.shape for array in inputs] != own.shapes:
            self._resize(inputs)
        for index, array in zip(self._input_indices, inputs, strict=True):
            interpreter.set_tensor(index, array)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in self._output_indices]

    def _resize(self, inputs: Sequence[Array]) -> None:
        """Plan memory for these shapes: a file with a dynamic batch is opened for one item."""
        for index, array in zip(self._input_indices, inputs, strict=True):
            self._own.interpreter.resize_tensor_input(index, array.shape, strict=True)
        self._own.interpreter.allocate_tensors()
        self._own.shapes = [array.shape for array in inputs]

    def placement(self) -> Placement:
        return Placement(assigned={"cpu": 1})


def _spec(name: str, details: dict[str, Any]) -> TensorSpec:
    shape = tuple(None if size < 0 else int(size) for size in details["shape_signature"])
    return TensorSpec(name, shape, np.dtype(details["dtype"]).name)

"""OpenVINO on the CPU, reading the ONNX file.

Inference precision is set to float32: on processors with AMX or AVX512-BF16 OpenVINO would compute a float32 model in
bfloat16, and the row says fp32. Everything else is its default.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keronyx.external_data import refuse_escaping_data
from keronyx.runtime.libraries import package_missing
from keronyx.types import Array, Missing, Placement, Session, SessionRequest, TensorSpec


class OpenVino:
    name = "openvino"
    provider = "cpu"
    artifacts = ("onnx",)
    package = "openvino"

    def missing(self) -> Missing | None:
        return package_missing("openvino", "openvino", "keronyx[openvino]")

    def import_library(self) -> None:
        import openvino

        del openvino

    def open(self, request: SessionRequest) -> Session:
        return OpenVinoSession(request)


class OpenVinoSession:
    """A compiled model, and an infer request for each thread that calls.

    A request that several threads share answers one with another's outputs, without an error. Requests share the
    weights and, by OpenVINO's default for one processor, one stream, which serves one of them at a time.
    """

    def __init__(self, request: SessionRequest) -> None:
        import openvino

        refuse_escaping_data(Path(request.path))
        settings = {"INFERENCE_NUM_THREADS": request.threads, "INFERENCE_PRECISION_HINT": "f32"}
        self._compiled = openvino.Core().compile_model(request.path, "CPU", settings)
        self._own = threading.local()
        self._own.request = self._compiled.create_infer_request()
        inputs = [self._compiled.input(spec.name) for spec in request.spec.inputs]
        self._outputs = [self._compiled.output(spec.name) for spec in request.spec.outputs]
        self._inputs = inputs
        self.inputs = tuple(_spec(s.name, p) for s, p in zip(request.spec.inputs, inputs, strict=True))
        self.outputs = tuple(_spec(s.name, p) for s, p in zip(request.spec.outputs, self._outputs, strict=True))

    def prepare(self) -> None:
        """Nothing: OpenVINO compiles while it loads."""

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        own = self._own
        if not hasattr(own, "request"):
            own.request = self._compiled.create_infer_request()
        results = own.request.infer(dict(zip(self._inputs, inputs, strict=True)))
        return [results[port] for port in self._outputs]

    def placement(self) -> Placement:
        return Placement(assigned={"cpu": len(self._compiled.get_runtime_model().get_ops())})


def _spec(name: str, port: Any) -> TensorSpec:
    shape = tuple(int(d.get_length()) if d.is_static else None for d in port.get_partial_shape())
    return TensorSpec(name, shape, port.get_element_type().to_dtype().name)

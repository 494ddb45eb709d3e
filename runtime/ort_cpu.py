"""ONNX Runtime on the CPU."""

from __future__ import annotations

from keronyx.runtime.libraries import package_missing
from keronyx.runtime.ort_common import OnnxRuntimeSession
from keronyx.types import Missing, Session, SessionRequest


class OnnxRuntimeCpu:
    name = "ort"
    provider = "cpu"
    artifacts = ("onnx",)
    package = "onnxruntime-gpu"

    def missing(self) -> Missing | None:
        return package_missing("onnxruntime-gpu", "onnxruntime", "onnxruntime-gpu")

    def import_library(self) -> None:
        import onnxruntime

        del onnxruntime

    def open(self, request: SessionRequest) -> Session:
        return OnnxRuntimeSession(request)

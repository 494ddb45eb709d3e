"""ONNX Runtime on an NVIDIA GPU through TensorRT. Its engine is built while the session is opened."""

from __future__ import annotations

from keronyx.errors import UnavailableError
from keronyx.runtime.libraries import load_tensorrt, tensorrt_missing
from keronyx.runtime.ort_common import OnnxRuntimeSession
from keronyx.types import Missing, Session, SessionRequest


class OnnxRuntimeTensorRt:
    name = "ort"
    provider = "tensorrt"
    artifacts = ("onnx",)
    package = "onnxruntime-gpu"

    def missing(self) -> Missing | None:
        return tensorrt_missing()

    def import_library(self) -> None:
        import onnxruntime

        onnxruntime.preload_dlls()
        load_tensorrt()  # preload_dlls knows CUDA and cuDNN only

    def open(self, request: SessionRequest) -> Session:
        session = OnnxRuntimeSession(request)
        if self.provider not in session.loaded:
            raise UnavailableError("ONNX Runtime could not load its TensorRT provider", "run keronyx doctor")
        return session

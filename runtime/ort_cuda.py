"""ONNX Runtime on an NVIDIA GPU through CUDA and cuDNN."""

from __future__ import annotations

from keronyx.errors import UnavailableError
from keronyx.runtime.libraries import cuda_missing
from keronyx.runtime.ort_common import OnnxRuntimeSession
from keronyx.types import Missing, Session, SessionRequest


class OnnxRuntimeCuda:
    name = "ort"
    provider = "cuda"
    artifacts = ("onnx",)
    package = "onnxruntime-gpu"

    def missing(self) -> Missing | None:
        return cuda_missing()

    def import_library(self) -> None:
        import onnxruntime

        onnxruntime.preload_dlls()  # the CUDA wheels' libraries are on no loader path

    def open(self, request: SessionRequest) -> Session:
        session = OnnxRuntimeSession(request)
        if self.provider not in session.loaded:
            raise UnavailableError("ONNX Runtime could not load its CUDA provider", "run keronyx doctor")
        return session

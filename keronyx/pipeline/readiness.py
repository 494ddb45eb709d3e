"""Whether what was exported is ready for TensorRT; the answer is kept in the export folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from keronyx.errors import SourceError
from keronyx.export import folder as folders
from keronyx.export import tensorrt
from keronyx.export.tensorrt import Readiness, Refusal, capabilities
from keronyx.pipeline.progress import Progress, Silent

__all__ = ["Readiness", "Refusal", "capabilities", "ready_for_tensorrt"]


def ready_for_tensorrt(folder: Path, asked: Sequence[str], progress: Progress | None = None) -> Readiness:
    """Ask TensorRT about the ONNX file of an export folder, and write what it says beside it.

    Args:
        asked: compute capabilities, as `capabilities` gives them.

    Raises:
        SourceError: there is no ONNX file in the folder.
    """
    manifest = folders.read(folder)
    made = manifest.artifact("onnx") if manifest else None
    if manifest is None or made is None or not (folder / made.path).is_file():
        raise SourceError(f"{folder} holds no ONNX model", "export the model again")
    readiness = tensorrt.check(folder / made.path, manifest.spec.inputs, asked, progress=(progress or Silent()).phase)
    tensorrt.write(readiness, folder)
    return readiness

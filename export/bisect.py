"""Which layer of an export folder's ONNX file goes wrong, and which optimizer of ONNX Runtime is to blame.

The work is done in a process of its own (see `bisection`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from keronyx.errors import SourceError
from keronyx.export import folder as folders
from keronyx.export.convert import ENVIRONMENT, model_in
from keronyx.process import Child
from keronyx.types import Array, Bisection, LayerError

CHILD = "keronyx.export.bisection.child"


def bisect(
    folder: Path,
    inputs: Sequence[Array | Path],
    *,
    onnx: Path | None = None,
    trust: bool = False,
    custom_objects: str | None = None,
    timeout_s: float = 1800.0,
    progress: Callable[[str], None] = lambda _: None,
) -> Bisection:
    """Compare every layer of an export folder's ONNX file with the same Keras layer in float64.

    Args:
        folder: an export folder with the Keras model and its ONNX file.
        inputs: one set of the model's inputs in its order, each an array or a `.npy` file, in the shapes and dtypes of
            the file's.
        onnx: another file than the folder's, of the same model, such as one that a gate refused.
        trust: whether the model may run code that is in it.
        custom_objects: as for `convert.complete`.

    Raises:
        SourceError: the folder has no Keras model or no ONNX file.
        UntrustedModelError: loading the model runs code, and the user did not allow that.
        ExportError: the model's layers cannot be told apart, it cannot be evaluated in float64, or a node cannot run.
        WorkerError: the process crashed, or did not answer in time.
    """
    manifest, source = model_in(folder, trust, custom_objects)
    path = onnx or folder / folders.FILES["onnx"]
    if source.kind == "saved_model":
        raise SourceError(f"{folder} holds a SavedModel, which has no Keras layers", "export the Keras model itself")
    if not path.is_file():
        raise SourceError(f"{path}: no such file", "export the model to ONNX first")
    progress("comparing layer by layer")
    with tempfile.TemporaryDirectory(prefix="keronyx-bisect-") as scratch, Child(CHILD, ENVIRONMENT, "bisect") as child:
        files = [_stored(one, Path(scratch) / f"input-{i}.npy") for i, one in enumerate(inputs)]
        child.wait_ready(timeout_s)
        told = child.ask(
            "bisect",
            timeout_s,
            source=asdict(source),
            shapes=list(manifest.shapes),
            onnx=str(path.resolve()),
            inputs=[str(file) for file in files],
        )
    rows = tuple(LayerError(**{**row, "one_with": tuple(row["one_with"])}) for row in told["layers"])
    return Bisection(rows, told["guilty"], tuple(told["optimizers"]), told["session_option"], told["seconds"])


def _stored(given: Array | Path, path: Path) -> Path:
    if isinstance(given, Path):
        return given.resolve()
    np.save(path, given, allow_pickle=False)
    return path

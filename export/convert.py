"""Source -> export folder, one conversion at a time, in a process of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from keronyx.errors import KeronyxError, SourceError, UnwritableError
from keronyx.export import folder as folders
from keronyx.export.folder import FILES, Manifest
from keronyx.export.onnx import OPSET
from keronyx.export.source import Source
from keronyx.process import Child
from keronyx.types import Artifact, ModelSpec, TensorSpec

CHILD = "keronyx.export.child"
ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",  # conversion belongs on the CPU
    "KERAS_BACKEND": "tensorflow",
}

Progress = Callable[[str], None]

SELF = ("keras", "saved_model")
"""Kinds of artifact that are the model itself, from which every other can be made."""


@dataclass(frozen=True)
class Exported:
    """An export folder as it is now, and for each kind that could not be made its error."""

    folder: Path
    manifest: Manifest
    failed: dict[str, KeronyxError]


def export(
    source: Source,
    kinds: Iterable[str],
    *,
    root: Path = Path("exports"),
    folder: Path | None = None,
    batch: int | None = 1,
    image_size: tuple[int, int] | None = None,
    force: bool = False,
    timeout_s: float = 1800,
    progress: Progress = lambda _: None,
) -> Exported:
    """Make the wanted kinds of artifacts, re-using those that exist for the same content.

    Args:
        kinds: out of FILES. The Keras file (or SavedModel) itself always comes first.
        root: where folders named by content are made, unless `folder` names one.
        batch: static batch size, None for a dynamic one.
        image_size: height and width, for inputs that leave them open.

    Raises:
        KeronyxError: the source cannot be loaded, or the folder cannot be used.
    """
    job = _Conversion(source, batch, image_size, timeout_s, progress)
    try:
        content = source.identity or job.spec().content_hash
        key = folders.key(content, batch, image_size, OPSET)
        target = folder or folders.default_folder(root, source.name, batch, key)
        manifest = folders.prepare(target, key, force) or Manifest(
            folders.MANIFEST_SCHEMA,
            key,
            batch,
            OPSET,
            job.spec(),
            folders.tool_versions(),
            custom_objects=source.custom_objects,
            trust=source.trust,
        )
        return job.make(target, manifest, kinds)
    finally:
        job.close()


def complete(
    folder: Path, kinds: Iterable[str], *, timeout_s: float = 1800, progress: Progress = lambda _: None
) -> Exported:
    """Add the kinds an existing export folder lacks, from the Keras file (or SavedModel) in it."""
    manifest = folders.read(folder)
    model = next((a for a in manifest.artifacts if a.kind in SELF), None) if manifest else None
    if manifest is None or model is None:
        raise SourceError(f"{folder} is no complete export folder", "export the model again")
    source = Source(
        kind=model.kind,
        text=manifest.spec.source,
        name=manifest.spec.name,
        target=str((folder / model.path).resolve()),
        trust=manifest.trust,
        custom_objects=manifest.custom_objects,
    )
    sizes = manifest.spec.inputs[0].shape
    image_size = (sizes[1], sizes[2]) if len(sizes) == 4 and sizes[1] and sizes[2] else None
    job = _Conversion(source, manifest.batch, image_size, timeout_s, progress)
    try:
        return job.make(folder, manifest, kinds)
    finally:
        job.close()


@dataclass
class _Conversion:
    """One source and the child process that has it loaded, started when it is first needed and again if it dies."""

    source: Source
    batch: int | None
    image_size: tuple[int, int] | None
    timeout_s: float
    progress: Progress
    child: Child | None = None
    loaded: ModelSpec | None = None

    def spec(self) -> ModelSpec:
        """The model's signature; loads the source."""
        if self.child is None or not self.child.alive or self.loaded is None:
            self.close()
            self.progress(f"loading {self.source.text}")
            self.child = Child(CHILD, ENVIRONMENT, title="the conversion")
            self.child.wait_ready(self.timeout_s)
            answer = self.child.ask(
                "load", self.timeout_s, source=asdict(self.source), batch=self.batch, image_size=self.image_size
            )
            self.loaded = _spec(answer)
        return self.loaded

    def make(self, target: Path, manifest: Manifest, kinds: Iterable[str]) -> Exported:
        """Write what is missing of `kinds`, the model itself first, and keep the manifest up to date after each."""
        first = "saved_model" if self.source.kind == "saved_model" else "keras"
        wanted = [first, *(kind for kind in FILES if kind in set(kinds) and kind != first)]
        failed: dict[str, KeronyxError] = {}
        for kind in wanted:
            if _intact(target, manifest.artifact(kind)):
                continue
            try:
                self.spec()
                self.progress(f"writing {target / FILES[kind]}")
                artifact, macs = self.write(target, kind)
            except UnwritableError:
                raise
            except KeronyxError as error:
                failed[kind] = error
                continue
            if macs is not None:
                manifest = replace(manifest, spec=replace(manifest.spec, macs=macs))
            manifest = folders.with_artifacts(manifest, [artifact])
            folders.write(target, manifest)
        return Exported(target, manifest, failed)

    def write(self, target: Path, kind: str) -> tuple[Artifact, int | None]:
        """Have the child write one artifact under another name, then move it into place."""
        assert self.child is not None
        final, temporary = target / FILES[kind], target / f".{FILES[kind]}.{os.getpid()}"
        try:
            answer = self.child.ask(
                "write", self.timeout_s, kind=kind, path=str(temporary.resolve()), target=self.source.target
            )
            if final.is_dir():
                shutil.rmtree(final)
            os.replace(temporary, final)
        except OSError as error:
            raise UnwritableError(f"cannot write {final}: {error.strerror}") from error
        finally:
            if temporary.is_dir():
                shutil.rmtree(temporary, ignore_errors=True)
            temporary.unlink(missing_ok=True)
        made = answer["artifact"]
        artifact = Artifact(**{**made, "path": FILES[kind], "evidence": tuple(made["evidence"])})
        return artifact, answer["macs"]

    def close(self) -> None:
        if self.child is not None:
            self.child.close()
        self.child = None


def _intact(folder: Path, artifact: Artifact | None) -> bool:
    """Whether the artifact is still there as it was written (its size is compared; its hash is for hand-over)."""
    if artifact is None:
        return False
    path = folder / artifact.path
    if path.is_dir():
        return sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) == artifact.bytes
    return path.is_file() and path.stat().st_size == artifact.bytes


def _spec(answer: dict[str, Any]) -> ModelSpec:
    def tensors(values: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(v["name"], tuple(v["shape"]), v["dtype"]) for v in values)

    return ModelSpec(**{**answer, "inputs": tensors(answer["inputs"]), "outputs": tensors(answer["outputs"])})

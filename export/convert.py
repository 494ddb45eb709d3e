"""Source -> export folder, one conversion at a time, in a process of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from keronyx.errors import KeronyxError, SourceError, UntrustedModelError, UnwritableError
from keronyx.export import folder as folders
from keronyx.export.finish import Finish, size
from keronyx.export.folder import FILES, Manifest
from keronyx.export.lock import only_conversion, only_writer
from keronyx.export.onnx import OPSET
from keronyx.export.source import Source, hash_path
from keronyx.process import Child
from keronyx.types import Artifact, ModelSpec, TensorSpec
from keronyx.unsafe import refuse_unsafe_keras_file

CHILD = "keronyx.export.child"
ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",  # conversion belongs on the CPU
    "KERAS_BACKEND": "tensorflow",
    # glibc would keep what TensorFlow frees: 1.1 GiB after building a U-Net of 31 million parameters
    "MALLOC_MMAP_THRESHOLD_": "1048576",
    "MALLOC_ARENA_MAX": "2",
}

Progress = Callable[[str], None]

SELF = ("keras", "saved_model")
"""Kinds of artifact that are the model itself, from which every other can be made."""


@dataclass(frozen=True)
class Exported:
    """An export folder as it is now, and for each kind that could not be made its error.

    `source` says on which terms its model may be loaded: what the user allowed, not what the folder claims.
    """

    folder: Path
    manifest: Manifest
    failed: dict[str, KeronyxError]
    source: Source


def export(
    source: Source,
    kinds: Iterable[str],
    *,
    root: Path = Path("exports"),
    folder: Path | None = None,
    batch: int | None = 1,
    image_size: tuple[int, int] | None = None,
    shapes: Sequence[str] = (),
    leave_open: bool = False,
    opset: int = OPSET,
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
        shapes: `NAME=1x320x400x3` for single inputs (see `dims.parse`).
        leave_open: whether dimensions nothing is said of may stay undefined.
        opset: of the ONNX file.

    Raises:
        KeronyxError: the source cannot be loaded, or the folder cannot be used.
    """
    job = _Conversion(source, batch, image_size, tuple(shapes), leave_open, opset, timeout_s, progress)
    wanted = tuple(kinds)

    def place(content: str) -> tuple[str, Path]:
        key = folders.key(content, batch, image_size, sorted(shapes), leave_open, opset)
        return key, folder or folders.default_folder(root, source.name, batch, key)

    if source.identity:
        key, target = place(source.identity)
        there = folders.prepare(target, key, force)
        if there is not None and not job.missing(target, there, wanted):
            return Exported(target, there, {}, source)
    with only_conversion(job.wait):
        try:
            key, target = place(source.identity or job.spec().content_hash)
            manifest = folders.prepare(target, key, force) or Manifest(
                folders.MANIFEST_SCHEMA,
                key,
                batch,
                opset,
                job.spec(),
                folders.tool_versions(),
                custom_objects=source.custom_objects,
                trust=source.trust,
                image_size=image_size,
                shapes=tuple(shapes),
                leave_open=leave_open,
                precision=job.precision,
                notes=(source.note,) if source.note else (),
            )
            with only_writer(target, job.wait):
                # Once more: another conversion may have ended just now.
                return job.make(target, folders.prepare(target, key, force) or manifest, wanted)
        finally:
            job.close()


def complete(
    folder: Path,
    kinds: Iterable[str],
    *,
    trust: bool = False,
    custom_objects: str | None = None,
    timeout_s: float = 1800,
    progress: Progress = lambda _: None,
) -> Exported:
    """Add the kinds an existing export folder lacks, from the Keras file (or SavedModel) in it.

    The folder may come from anybody, so its own word on trust and on modules to import does not count.

    Raises:
        UntrustedModelError: it was exported with code of its own, and the user did not allow that here.
    """
    manifest, source = model_in(folder, trust, custom_objects)
    job = _Conversion(
        source,
        manifest.batch,
        manifest.image_size,
        manifest.shapes,
        manifest.leave_open,
        manifest.opset,
        timeout_s,
        progress,
    )
    wanted = tuple(kinds)
    if not job.missing(folder, manifest, wanted):
        return Exported(folder, manifest, {}, source)
    model = next(a for a in manifest.artifacts if a.kind in SELF)
    if not _intact(folder, model) or hash_path(folder / model.path) != model.sha256:
        raise SourceError(f"{folder / model.path} is not as it was exported", "export the model again with --force")
    with only_conversion(job.wait):
        try:
            with only_writer(folder, job.wait):
                return job.make(folder, folders.read(folder) or manifest, wanted)
        finally:
            job.close()


def model_in(folder: Path, trust: bool, custom_objects: str | None) -> tuple[Manifest, Source]:
    """What an export folder says, and its own model as a source on the user's terms.

    Raises:
        SourceError: there is no model in it.
        UntrustedModelError: it was exported with code of its own, and the user did not allow that here.
    """
    manifest = folders.read(folder)
    model = next((a for a in manifest.artifacts if a.kind in SELF), None) if manifest else None
    if manifest is None or model is None:
        raise SourceError(f"{folder} is no complete export folder", "export the model again")
    if manifest.trust and not trust:
        raise UntrustedModelError(
            f"{folder} was exported with --trust: loading its model runs code that is in it",
            "add --trust only if you know who made it",
        )
    if manifest.custom_objects and not (custom_objects or trust):
        raise UntrustedModelError(
            f"{folder} needs the custom classes of {manifest.custom_objects}",
            f"if that module is yours, add --custom-objects {manifest.custom_objects}",
        )
    if model.kind == "keras" and not trust:
        refuse_unsafe_keras_file(folder / model.path)  # rows load it too, and check no more than Keras does
    return manifest, Source(
        kind=model.kind,
        text=manifest.spec.source,
        name=manifest.spec.name,
        target=str((folder / model.path).resolve()),
        trust=trust,
        custom_objects=custom_objects or manifest.custom_objects,
    )


@dataclass
class _Conversion:
    """One source and the child process that has it loaded, started when it is first needed and again if it dies."""

    source: Source
    batch: int | None
    image_size: tuple[int, int] | None
    shapes: tuple[str, ...]
    leave_open: bool
    opset: int
    timeout_s: float
    progress: Progress
    child: Child | None = None
    loaded: ModelSpec | None = None
    precision: str = "float32"

    def spec(self) -> ModelSpec:
        """The model's signature; loads the source."""
        if self.child is None or not self.child.alive or self.loaded is None:
            self.close()
            self.progress(f"loading {self.source.text}")
            self.child = Child(CHILD, ENVIRONMENT, title="the conversion")
            self.child.wait_ready(self.timeout_s)
            answer = self.child.ask(
                "load",
                self.timeout_s,
                source=asdict(self.source),
                batch=self.batch,
                image_size=self.image_size,
                shapes=self.shapes,
                leave_open=self.leave_open,
            )
            self.precision = str(answer.pop("precision", self.precision))
            self.loaded = _spec(answer)
        return self.loaded

    def wait(self) -> None:
        self.progress("waiting for another conversion to end")

    def missing(self, target: Path, manifest: Manifest, kinds: Iterable[str]) -> list[str]:
        """What of `kinds` is not there as it was written, the model itself first."""
        first = "saved_model" if self.source.kind == "saved_model" else "keras"
        wanted = [first, *(kind for kind in FILES if kind in set(kinds) and kind != first)]
        return [kind for kind in wanted if not _intact(target, manifest.artifact(kind))]

    def make(self, target: Path, manifest: Manifest, kinds: Iterable[str]) -> Exported:
        """Write what is missing of `kinds` and keep the manifest up to date after each."""
        failed: dict[str, KeronyxError] = {}
        for kind in self.missing(target, manifest, kinds):
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
            if not manifest.artifacts:
                folders.forget(target, kind)
            manifest = folders.with_artifacts(manifest, [artifact])
            folders.write(target, manifest)
        return Exported(target, manifest, failed, self.source)

    def write(self, target: Path, kind: str) -> tuple[Artifact, int | None]:
        """Have one artifact written into a folder beside it, then move it into place. Returns its MACs if known."""
        assert self.child is not None and self.loaded is not None
        final, making = target / FILES[kind], target / folders.MAKING
        try:
            shutil.rmtree(making, ignore_errors=True)  # left behind by a process that was killed
            making.mkdir(parents=True)
            path = making.resolve() / FILES[kind]
            if kind == "onnx":
                terms = (self.child, path.parent, path.name, self.loaded, self.opset, self.timeout_s, self.progress)
                try:
                    made, macs = Finish(*terms).run()
                finally:
                    folders.keep_rejected(path, final)
                folders.place_onnx(path, final)
                return made, macs
            answer = self.child.ask("write", self.timeout_s, kind=kind, path=str(path), target=self.source.target)
            if final.is_dir():
                shutil.rmtree(final)
            os.replace(path, final)
        except OSError as error:
            raise UnwritableError(f"cannot write {final}: {error.strerror or error}") from error
        finally:
            shutil.rmtree(making, ignore_errors=True)
        told = answer["artifact"]
        return Artifact(**{**told, "path": FILES[kind], "evidence": tuple(told["evidence"])}), None

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
    return path.is_file() and (size(path) if artifact.kind == "onnx" else path.stat().st_size) == artifact.bytes


def _spec(answer: dict[str, Any]) -> ModelSpec:
    def tensors(values: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(v["name"], tuple(v["shape"]), v["dtype"]) for v in values)

    return ModelSpec(**{**answer, "inputs": tensors(answer["inputs"]), "outputs": tensors(answer["outputs"])})

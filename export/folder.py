"""An export folder: artifacts of one model at one batch, and the manifest that says what they are.

Folders are named by content (`unet-16-b1-3f9a1c22`), so exporting twice finds the first, a changed model gets a folder
of its own and nothing is overwritten. A file is complete or absent: each is written under another name, then renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import keronyx
from keronyx.errors import ReportError, UnwritableError
from keronyx.export.onnx_files import DATA, REJECTED, beside, rejected
from keronyx.types import Artifact, ModelSpec

MANIFEST = "manifest.json"
MANIFEST_SCHEMA = 1

MAKING = ".making"
"""Folder inside an export folder that the conversion writes to; found later, it is a killed process's remains."""

FILES = {
    "keras": "model.keras",
    "saved_model": "saved_model",
    "onnx": "model.onnx",
    "frozen": "frozen.pb",
    "litert": "model.tflite",
}
"""Artifact kind -> file name in the folder."""

REMAINS = (MAKING, f"model.onnx{REJECTED}", f"model.onnx{REJECTED}{DATA}")
"""What an export that came to nothing may have left."""

READINESS, OPTIMIZED = "tensorrt.json", "model.optimized-*.onnx"
"""What may be made of an export's ONNX file, beside it: see `tensorrt.py`, `optimized.py`."""

TOOLS = ("keronyx", "tensorflow", "keras", "tf2onnx", "onnx", "onnx-ir", "numpy", "onnxruntime")

DISTRIBUTIONS = {"onnxruntime": ("onnxruntime-gpu", "onnxruntime")}
"""Tool -> distributions it comes in, where there are several: the first that is installed."""

JUDGING = ("parity.py", "in_graph.py", "recast.py", "rounding.py")
"""What else of keronyx decides whether a file is right, besides the code of `export`."""


@dataclass(frozen=True)
class Manifest:
    """What an export folder holds. `key` is the hash of everything that decides its content."""

    schema: int
    key: str
    batch: int | None
    opset: int
    spec: ModelSpec
    tools: dict[str, str]
    artifacts: tuple[Artifact, ...] = ()
    custom_objects: str | None = None
    trust: bool = False
    image_size: tuple[int, int] | None = None
    shapes: tuple[str, ...] = ()
    """What `--shape` said."""
    leave_open: bool = False
    """Whether dimensions nothing was said of could stay undefined."""
    precision: str = "float32"
    """The coarsest floating-point precision that the Keras model computes in."""
    notes: tuple[str, ...] = ()
    """What is to be said of the model wherever it is shown, such as that it is untrained."""

    def artifact(self, kind: str) -> Artifact | None:
        return next((a for a in self.artifacts if a.kind == kind), None)


def key(identity: str, *terms: object) -> str:
    """Hash of the source's identity, the terms of the export, the tools' versions and the code that makes it."""
    code = hashlib.sha256()
    judging = [Path(keronyx.__file__).parent / name for name in JUDGING]
    for file in (*sorted(Path(__file__).parent.rglob("*.py")), *judging):
        code.update(file.read_bytes())
    text = json.dumps([identity, *terms, tool_versions(), code.hexdigest()])
    return hashlib.sha256(text.encode()).hexdigest()


def tool_versions() -> dict[str, str]:
    """Versions of the tools that decide what an artifact looks like, and whether it is right."""
    found = {}
    for name in TOOLS:
        found[name] = "checkout"
        for distribution in reversed(DISTRIBUTIONS.get(name, (name,))):
            with suppress(PackageNotFoundError):
                found[name] = version(distribution)
    return found


def default_folder(root: Path, name: str, batch: int | None, content_key: str) -> Path:
    """Where a model is exported to unless the user says otherwise."""
    safe = re.sub(r"[^\w.-]+", "-", name)
    return root / f"{safe}-b{'dynamic' if batch is None else batch}-{content_key[:8]}"


def read(folder: Path) -> Manifest | None:
    """The folder's manifest, or None when there is none. Raises ReportError when it is damaged."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    from pydantic import TypeAdapter, ValidationError

    try:
        manifest = TypeAdapter(Manifest).validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise ReportError(f"{path} is damaged", "export again with --force or to another folder") from error
    if manifest.schema != MANIFEST_SCHEMA:
        raise ReportError(f"{path} has schema {manifest.schema}, not {MANIFEST_SCHEMA}", "export again with --force")
    if any(a.path != FILES.get(a.kind) for a in manifest.artifacts):
        raise ReportError(f"{path} names files that no export writes", "do not use this folder")
    return manifest


def newest(root: Path) -> list[Path]:
    """Export folders under `root`: for each model name the most recent one, ordered by name."""
    found: dict[str, tuple[float, Path]] = {}
    for path in root.glob(f"*/{MANIFEST}"):
        try:
            manifest = read(path.parent)
        except ReportError:
            continue  # a damaged folder is nobody's newest export; naming it says what is wrong with it
        if manifest is not None:
            stamp = path.stat().st_mtime
            name = manifest.spec.name
            if name not in found or stamp > found[name][0]:
                found[name] = (stamp, path.parent)
    return [folder for _, (_, folder) in sorted(found.items())]


def prepare(folder: Path, content_key: str, force: bool) -> Manifest | None:
    """Check that the folder can be written to, before any work is done; it is made with its first file.

    Returns:
        The manifest already there when it is of the same content.

    Raises:
        UnwritableError: the folder holds something else and `force` is off, or cannot be written.
    """
    try:
        there = read(folder)
    except ReportError:
        if not force:
            raise
        there = None
    if there is not None and there.key == content_key and not force:
        return there
    if folder.exists() and not folder.is_dir():
        raise UnwritableError(f"{folder} is a file", "name a folder with -o")
    if folder.is_dir() and any(path.name not in REMAINS for path in folder.iterdir()) and not force:
        holds = f"another export ({there.spec.source})" if there else "files that are not an export"
        raise UnwritableError(f"{folder} holds {holds}", "name another folder with -o, or replace files with --force")
    try:
        str(folder.resolve()).encode()
    except UnicodeEncodeError:
        raise UnwritableError(f"{folder} is no name in UTF-8, which ONNX needs", "name another with -o") from None
    existed = folder.is_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        if not existed:  # until there is something to put into it
            folder.rmdir()
    except OSError as error:
        raise UnwritableError(f"cannot write to {folder}: {error.strerror}", "name another folder with -o") from error
    return None


def write(folder: Path, manifest: Manifest) -> None:
    """Store the manifest atomically."""
    temporary = folder / f".{MANIFEST}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(asdict(manifest), indent=2) + "\n")
        os.replace(temporary, folder / MANIFEST)
    except OSError as error:
        raise UnwritableError(f"cannot write {folder / MANIFEST}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def forget(folder: Path, kept: str) -> None:
    """Remove the files of another export, as its manifest names them (all that an export may write where it is damaged
    or of another schema), and what was made of those; but for the artifact of the kind `kept`, which is new. What
    belongs to no export stays."""
    try:
        there = read(folder)
        if there is None:
            return
        kinds = [a.kind for a in there.artifacts]
    except ReportError:
        kinds = list(FILES)
    made = [folder / FILES[kind] for kind in kinds if kind != kept]
    for path in (*made, *map(beside, made), folder / READINESS, *folder.glob(OPTIMIZED)):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def place_onnx(made: Path, final: Path) -> None:
    """Move a finished ONNX file, and its weights if they are in a file of their own, to where they belong."""
    if beside(made).exists():
        final.unlink(missing_ok=True)  # never a model with another's weights
        os.replace(beside(made), beside(final))
        os.replace(made, final)
    else:
        os.replace(made, final)
        beside(final).unlink(missing_ok=True)
    for refused in (rejected(final), beside(rejected(final))):
        refused.unlink(missing_ok=True)


def keep_rejected(made: Path, final: Path) -> None:
    """Move what a gate refused beside where the file would be, if there is such a thing."""
    if rejected(made).exists():
        beside(rejected(final)).unlink(missing_ok=True)
        if beside(rejected(made)).exists():
            os.replace(beside(rejected(made)), beside(rejected(final)))
        os.replace(rejected(made), rejected(final))


def with_artifacts(manifest: Manifest, added: Iterable[Artifact]) -> Manifest:
    """The manifest with artifacts added or replaced, ordered as in FILES."""
    known = {a.kind: a for a in manifest.artifacts} | {a.kind: a for a in added}
    return replace(manifest, artifacts=tuple(known[kind] for kind in FILES if kind in known))

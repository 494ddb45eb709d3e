"""What the user named -> a Keras model (or a TensorFlow SavedModel) in memory.

`identify` reads the name and is cheap; `load` runs in the conversion's own process, because it imports TensorFlow.
Model files are untrusted: what would execute code stored in them is refused unless the user said `--trust`.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keronyx.custom_objects import import_module
from keronyx.errors import KeronyxError, SourceError, UsageError
from keronyx.export import saved_model
from keronyx.export.dims import NOTHING, Asked
from keronyx.export.model_file import load_file, load_weights
from keronyx.export.substitute_layer import modules, parse
from keronyx.export.wrap import with_inputs
from keronyx.process import one_line

SEED = 0
"""Seeds Keras before a model is built, so that random weights are the same every time."""

FILES = ("keras", "h5", "json")
"""Kinds of source that are one file of Keras'."""

HDF5_MAGIC, ZIP_MAGIC = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"


@dataclass(frozen=True)
class Source:
    """A recognised source.

    `kind` is keras, h5, json, saved_model, applications or callable; `target` a path, an architecture's name or
    `module:attribute`; `arguments` are passed to the callable. `name` is what reports call the model.
    """

    kind: str
    text: str
    name: str
    target: str
    arguments: dict[str, Any] = field(default_factory=dict)
    trust: bool = False
    custom_objects: str | None = None
    weights: str | None = None
    fingerprint: str | None = None
    """Stands for what a callable will return, when whoever made this knows it."""
    substitutes: tuple[tuple[str, str], ...] = ()
    """Layers to replace before anything is built: (name, substitute), see substitute_layer."""
    stamp: str | None = None
    """Of the file when it was named, to tell whether it changed before or while it was loaded."""
    note: str = ""
    """What is to be said of the model wherever it is shown."""

    def __post_init__(self) -> None:  # JSON made lists of the tuples on the way to the child
        object.__setattr__(self, "substitutes", tuple((str(name), str(what)) for name, what in self.substitutes))

    @property
    def identity(self) -> str | None:
        """Hash of what the model is made from, or None when only loading it can tell (the user's code counts too)."""
        if self.custom_objects and not self.fingerprint:
            return None
        digest = hashlib.sha256(repr((self.kind, sorted(self.arguments.items()), self.substitutes)).encode())
        if self.weights:
            digest.update(Path(self.weights).read_bytes())
        if self.kind == "applications":
            digest.update(self.target.encode())
        elif self.kind in (*FILES, "saved_model"):
            hash_path(Path(self.target), digest)
        elif self.fingerprint:
            digest.update(self.fingerprint.encode())
        else:
            return None
        return digest.hexdigest()


def hash_path(path: Path, digest: Any = None) -> str:
    """SHA-256 over a file, or over a folder's relative paths, sizes and contents in sorted order."""
    digest = digest or hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
        if path.is_dir():
            digest.update(f"{file.relative_to(path)}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(2**20):
                digest.update(block)
    return str(digest.hexdigest())


def identify(
    text: str,
    *,
    trust: bool = False,
    custom_objects: str | None = None,
    weights: str | None = None,
    substitute_layer: Sequence[str] = (),
    known: tuple[str, ...] = (),
) -> Source:
    """Recognise a source by its text: a path, `keras.applications:NAME` or `module:callable`.

    Args:
        substitute_layer: `NAME=WHAT` for layers of a file that carry code.
        known: names that would have been accepted elsewhere, offered when nothing fits.

    Raises:
        UsageError: nothing of that name.
        SourceError: the path exists but is no Keras model.
    """
    substitutes = tuple(parse(replaced) for replaced in substitute_layer)
    if own := modules(substitutes):
        custom_objects = ",".join((*((custom_objects,) if custom_objects else ()), *own))
    common: dict[str, Any] = {"text": text, "trust": trust, "custom_objects": custom_objects, "weights": weights}
    if weights and not Path(weights).is_file():
        raise SourceError(f"{weights}: no such weights file")
    path = Path(text)
    if text.strip() and path.exists():
        common["name"] = re.sub(r"[^\w.-]+", "_", path.resolve().stem) or "model"
        common["target"] = str(path.resolve())
        kind = _kind_of(path)
        if weights and kind == "saved_model":
            raise UsageError("--weights cannot be loaded into a SavedModel", "name the network the weights belong to")
        if kind == "json" and not weights:
            raise UsageError(f"{path} holds a network without its weights", "add them: --weights FILE.h5")
        if substitutes and kind not in FILES:
            raise UsageError("--substitute-layer is for .keras, .h5 and .json files")
        return Source(kind=kind, substitutes=substitutes, stamp=stamp(path), **common)
    if substitutes:
        raise UsageError("--substitute-layer is for .keras, .h5 and .json files", "change the model's code instead")
    prefix, colon, attribute = text.partition(":")
    if prefix == "keras.applications" and colon:
        return Source(kind="applications", name=attribute, target=attribute, **common)
    if colon and attribute.isidentifier() and all(part.isidentifier() for part in prefix.split(".")):
        common["custom_objects"] = custom_objects or prefix  # a row's process has to know the module's classes too
        return Source(kind="callable", name=attribute, target=text, **common)
    if path.suffix or os.sep in text:
        raise SourceError(f"{text}: no such file or folder")
    close = difflib.get_close_matches(text, known, n=3, cutoff=0.4)
    raise UsageError(
        f"unknown source {text!r}",
        f"did you mean {' or '.join(close)}?" if close else "name a network, a .keras file or module:callable",
    )


def _kind_of(path: Path) -> str:
    """What a path holds: by its first bytes, since TensorFlow once wrote HDF5 under `.keras` too."""
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return "saved_model"
        raise SourceError(f"{path} is a folder without saved_model.pb", "name a SavedModel folder or a .keras file")
    if not path.is_file():
        raise SourceError(f"{path} is neither a file nor a folder")
    try:
        with path.open("rb") as stream:
            magic = stream.read(8)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    suffix = path.suffix.lower()
    if magic == HDF5_MAGIC and suffix != ".onnx":
        return "h5"
    if suffix in (".keras", ".h5", ".hdf5") and magic.startswith(ZIP_MAGIC) and zipfile.is_zipfile(path):
        return "keras"
    if suffix == ".json":
        return "json"
    if suffix == ".keras":
        raise SourceError(f"{path} is not a .keras archive (damaged or cut short?)")
    if suffix in (".h5", ".hdf5"):
        raise SourceError(f"{path} is not an HDF5 file (damaged or cut short?)")
    what, remedy = NOT_READ.get(suffix, ("not a model file keronyx knows", NOT_READ_REMEDY))
    raise SourceError(f"{path}{' ' if suffix in NOT_READ else ': '}{what}", remedy)


NOT_READ_REMEDY = "it reads .keras, .h5, .json with --weights, and SavedModel folders"
NOT_READ = {
    ".onnx": ("has no Keras model to compare with", "name the .keras file or callable it was made from"),
    ".yaml": ("is YAML, which can run code when it is read", "write model.to_json() in the Keras that made it"),
    ".pb": (
        "is one graph without inputs or outputs named",
        "save it as a SavedModel folder: tf.compat.v1.saved_model.simple_save(session, folder, inputs, outputs)",
    ),
    ".tflite": ("has no Keras model to compare with", "name the .keras file or callable it was made from"),
    ".pkl": ("is a pickle, which runs code when it is read", "save the model as .keras"),
}
"""Suffix -> what such a file is, and what to do instead."""
NOT_READ[".yml"] = NOT_READ[".yaml"]
NOT_READ[".pickle"] = NOT_READ[".pkl"]


def stamp(path: Path) -> str:
    """Size and time of a file's last change; of a SavedModel's graph for a folder."""
    found = (path / "saved_model.pb" if path.is_dir() else path).stat()
    return f"{found.st_size}:{found.st_mtime_ns}"


def load(source: Source, asked: Asked = NOTHING) -> Any:
    """Load or build the model.

    Args:
        asked: shapes of the inputs, for a model that does not have them fixed.

    Returns:
        A built `keras.Model`; for a SavedModel the object of `tf.saved_model.load`.

    Raises:
        UntrustedModelError: the file holds Python code and `trust` is off.
        SourceError: it cannot be loaded, with what to do about it.
    """
    import keras

    keras.utils.set_random_seed(SEED)
    model = _load(source)
    if source.stamp is not None and source.stamp != stamp(Path(source.target)):
        raise SourceError(f"{source.text} changed while it was read", "wait until it is written, then try again")
    if source.kind == "saved_model":
        return model
    if not isinstance(model, keras.Model):
        raise SourceError(f"{source.text} gave a {type(model).__name__}, not a keras.Model")
    if isinstance(model, keras.Sequential) and not model.layers and not model.built:
        raise SourceError(f"{source.text} has no layers")
    whole = with_inputs(model, asked, source.text)
    if source.weights and source.kind != "json":
        load_weights(model, Path(source.weights), source.text)
    return whole


def _load(source: Source) -> Any:
    if source.kind == "saved_model":
        return saved_model.load(Path(source.target), source.text, source.trust)
    if source.kind == "applications":
        return _application(source)
    if source.kind == "callable":
        return _call(source)
    return load_file(source)


def _application(source: Source) -> Any:
    import keras

    candidates = {
        name: getattr(keras.applications, name)
        for name in dir(keras.applications)
        if name[0].isupper() and callable(getattr(keras.applications, name))
    }
    if source.target not in candidates:
        close = difflib.get_close_matches(source.target, candidates, n=3, cutoff=0.4) or [
            "MobileNetV3Small",
            "ResNet50",
        ]
        raise UsageError(f"keras.applications has no {source.target!r}", f"it has {', '.join(close)}")
    return candidates[source.target](weights=None)


def _call(source: Source) -> Any:
    import keras

    module, _, attribute = source.target.partition(":")
    builder = getattr(import_module(module), attribute, None)
    if builder is None:
        raise SourceError(f"module {module} has no {attribute}")
    if not callable(builder) or isinstance(builder, keras.Model):
        return builder
    try:
        return builder(**source.arguments)
    except KeronyxError:
        raise
    except (Exception, SystemExit) as error:
        raise SourceError(f"{source.text} failed: {type(error).__name__}: {one_line(error)}") from error

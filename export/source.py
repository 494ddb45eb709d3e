"""What the user named -> a Keras model (or a TensorFlow SavedModel) in memory.

`identify` reads the name and is cheap; `load` runs in the conversion's own process, because it imports TensorFlow.
Model files are untrusted: what would execute code stored in them is refused unless the user said `--trust`.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keronyx.custom_objects import import_custom_objects, import_module
from keronyx.errors import KeronyxError, SourceError, UntrustedModelError, UsageError
from keronyx.export.dims import NOTHING, Asked
from keronyx.export.wrap import with_inputs
from keronyx.process import one_line
from keronyx.unsafe import refuse_unsafe_saved_model

SEED = 0
"""Seeds Keras before a model is built, so that random weights are the same every time."""

CODE_CLASSES = frozenset({"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper"})
"""Classes of a Keras configuration that carry marshalled or pickled code, or load a SavedModel from elsewhere."""

MAX_CONFIG_BYTES = 64 * 2**20
"""A configuration larger than this, unpacked, is no network's."""


@dataclass(frozen=True)
class Source:
    """A recognised source.

    `kind` is keras, h5, saved_model, applications or callable; `target` a path, an architecture's name or
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

    @property
    def identity(self) -> str | None:
        """Hash of what the model is made from, or None when only loading it can tell (the user's code counts too)."""
        if self.custom_objects and not self.fingerprint:
            return None
        digest = hashlib.sha256(repr((self.kind, sorted(self.arguments.items()))).encode())
        if self.weights:
            digest.update(Path(self.weights).read_bytes())
        if self.kind == "applications":
            digest.update(self.target.encode())
        elif self.kind in ("keras", "h5", "saved_model"):
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
    known: tuple[str, ...] = (),
) -> Source:
    """Recognise a source by its text: a path, `keras.applications:NAME` or `module:callable`.

    Args:
        known: names that would have been accepted elsewhere, offered when nothing fits.

    Raises:
        UsageError: nothing of that name.
        SourceError: the path exists but is no Keras model.
    """
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
        return Source(kind=kind, **common)
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
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return "saved_model"
        raise SourceError(f"{path} is a folder without saved_model.pb", "name a SavedModel folder or a .keras file")
    if path.suffix == ".keras":
        if not zipfile.is_zipfile(path):
            raise SourceError(f"{path} is not a .keras archive (damaged or cut short?)")
        return "keras"
    if path.suffix in (".h5", ".hdf5"):
        if path.open("rb").read(8) != b"\x89HDF\r\n\x1a\n":
            raise SourceError(f"{path} is not an HDF5 file (damaged or cut short?)")
        return "h5"
    if path.suffix == ".onnx":
        raise SourceError(
            f"{path} has no Keras model to compare with", "name the .keras file or callable it was made from"
        )
    raise SourceError(f"{path}: not a model file keronyx knows", "it reads .keras, .h5 and SavedModel folders")


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
    if source.kind == "saved_model":
        return _load_saved_model(source)
    if source.kind == "applications":
        model = _application(source)
    elif source.kind == "callable":
        model = _call(source)
    else:
        model = load_keras_file(source.target, source.trust, source.custom_objects)
    if not isinstance(model, keras.Model):
        raise SourceError(f"{source.text} gave a {type(model).__name__}, not a keras.Model")
    whole = with_inputs(model, asked, source.text)
    if source.weights:
        try:
            model.load_weights(source.weights)
        except Exception as error:
            raise SourceError(f"{source.weights} does not fit {source.text}: {one_line(error)}") from error
    return whole


def load_keras_file(path: str, trust: bool, custom_objects: str | None) -> Any:
    """Load a `.keras` or `.h5` file after checking that nothing in it executes Python code.

    Args:
        custom_objects: `module` (imported for the classes it registers) or `module:attribute` (a dictionary).
    """
    import keras

    if not trust:
        refuse_code(path)
    objects = import_custom_objects(custom_objects)
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=not trust, custom_objects=objects)
    except Exception as error:
        said = one_line(error)
        if match := re.search(
            r"Could not locate class '?([\w>]+)'?|Unknown (?:layer|object)[^\w]*([\w>]+)", str(error)
        ):
            raise SourceError(
                f"{Path(path).name} needs the custom class {match[1] or match[2]}",
                "pass it with --custom-objects module:dictionary (module must be importable from here)",
            ) from error
        raise SourceError(f"{Path(path).name} cannot be loaded: {said}") from error


def refuse_code(path: str) -> None:
    """Raise UntrustedModelError when the model's configuration contains a Lambda layer (marshalled Python code)."""
    try:
        if path.endswith(".keras"):
            with zipfile.ZipFile(path) as archive:
                size = archive.getinfo("config.json").file_size
                if size > MAX_CONFIG_BYTES:
                    raise SourceError(f"{Path(path).name} is damaged: its config.json unpacks to {size:,} bytes")
                config = json.loads(archive.read("config.json"))
        else:
            import h5py

            with h5py.File(path) as file:
                raw = file.attrs.get("model_config")
                if raw is None:
                    raise SourceError(f"{Path(path).name} holds weights only", "pass them with --weights to a network")
                config = json.loads(raw)
    except SourceError:
        raise
    except Exception as error:
        raise SourceError(f"{Path(path).name} is damaged: {one_line(error)}") from error
    for layer in _objects(config):
        kind = layer.get("class_name")
        if isinstance(kind, str) and kind.rpartition(">")[2] in CODE_CLASSES:
            inner = layer.get("config")
            name = inner.get("name", "?") if isinstance(inner, dict) else "?"
            raise UntrustedModelError(
                f"{Path(path).name} contains Python code ({kind} layer {name!r})",
                "add --trust only if you know who made this file: loading it runs that code",
            )


def _objects(config: Any) -> list[dict[str, Any]]:
    """Every dictionary anywhere inside a configuration."""
    found, open_nodes = [], [config]
    while open_nodes:
        node = open_nodes.pop()
        if isinstance(node, dict):
            found.append(node)
            open_nodes.extend(node.values())
        elif isinstance(node, list):
            open_nodes.extend(node)
    return found


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


def _load_saved_model(source: Source) -> Any:
    import tensorflow as tf
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    try:
        stored = SavedModel.FromString((Path(source.target) / "saved_model.pb").read_bytes())
        if len(stored.meta_graphs) != 1:
            raise SourceError(f"{source.text} holds {len(stored.meta_graphs)} graphs, not one (damaged?)")
        if not source.trust:
            refuse_unsafe_saved_model(Path(source.target), source.name)
        loaded = tf.saved_model.load(source.target)
    except SourceError:
        raise
    except Exception as error:
        raise SourceError(f"{source.text} cannot be loaded: {one_line(error)}") from error
    if not loaded.signatures:
        raise SourceError(f"{source.text} has no signature", "save it with a serving_default signature")
    return loaded

"""A `.keras`, `.h5` or `.json` file -> a Keras model: checked, its code replaced or refused, old ones translated."""

from __future__ import annotations

import copy
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keronyx.containers import check_archive, check_hdf5
from keronyx.custom_objects import import_custom_objects
from keronyx.errors import SourceError
from keronyx.export import stored as stored_files
from keronyx.export import substitute_layer
from keronyx.export.legacy import config as legacy_config
from keronyx.export.legacy import weights as legacy_weights
from keronyx.process import one_line
from keronyx.unsafe import refuse_unsafe_config, untrained

if TYPE_CHECKING:
    from keronyx.export.source import Source

SAID = 100_000
"""Characters of an error of Keras that are looked at: it quotes configurations before it comes to the point."""

LISTED = re.compile(r"Example error message for object <(\w+) name=(.+?), built=\w+>: (.*?)(?: List of objects|$)")
MISSING = re.compile(r"Could not locate (?:class|function) '?([\w>]+)'?|Unknown (?:layer|object): '([\w>]+)'")


def load_file(source: Source) -> Any:
    """Build the model of a file and fill it.

    Raises:
        UntrustedModelError: it carries Python code, or names what no network is made of, and `trust` is off.
        SourceError: it is damaged, made to harm, or needs what is not there.
        UsageError: a layer to be replaced is not in it.
    """
    path = Path(source.target)
    stored = stored_files.read(source.kind, path)
    substitutes = [(name, what) for name, what in source.substitutes]
    config = substitute_layer.substitute(untrained(stored.config), substitutes, path.name, source.trust)
    if not source.trust:
        refuse_unsafe_config(config, path.name)
    objects = import_custom_objects(source.custom_objects)
    terms = {"custom_objects": objects, "safe_mode": not source.trust}
    changed = stored.old or bool(substitutes)
    with explained(path.name):
        if stored.old or (changed and source.kind != "keras"):  # Keras 3 too writes the old format into .h5
            config = legacy_config.modern(config, stored.version)
        if any(substitute_layer.names_code(what) for _, what in substitutes):
            substitute_layer.refuse_weights(_build(copy.deepcopy(config), terms), substitutes)
        if source.kind == "keras":
            with _rewritten(path, config) if changed else _named(path, "model.keras") as archive:
                model = _load_model(archive, terms)
        elif source.kind == "h5" and not changed:
            with _named(path, "model.h5") as file:
                model = _load_model(file, terms)
        else:
            model = _build(config, terms)
            load_weights(model, Path(source.weights) if source.kind == "json" and source.weights else path, path.name)
    return model


@contextmanager
def explained(name: str) -> Iterator[None]:
    """What goes wrong inside becomes a SourceError of one line that names what to do."""
    try:
        yield
    except SourceError as error:
        message = error.message if name in error.message else f"{name}: {error.message}"
        raise type(error)(message, error.remedy) from error
    except Exception as error:
        said = one_line(error, SAID)
        if isinstance(error, KeyError):  # which says no more than a name
            said = f"nothing in it is called {said}"
        if match := MISSING.search(said):
            raise SourceError(
                f"{name} needs the custom class {match[1] or match[2]}",
                "pass it with --custom-objects module:dictionary (module must be importable from here)",
            ) from error
        raise SourceError(f"{name} cannot be loaded: {_reason(said)}") from error


def load_weights(model: Any, path: Path, into: str) -> None:
    """Load weights of any layout into a built model: by what is in the file, not by how it is called.

    Raises:
        SourceError: they are damaged, or do not fit; says which layer.
    """
    import h5py
    import keras

    trouble = f"{path.name} cannot be loaded" if path.name == into else f"{path.name} does not fit {into}"
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                check_archive(archive, path)
            with _named(path, "model.keras") as file:
                keras.saving.load_weights(model, file)
            return
        check_hdf5(path, path.name)
        with h5py.File(path) as opened:
            legacy = path.name == into or legacy_weights.is_legacy(opened)  # a whole model in HDF5 always is
            if legacy:
                legacy_weights.load(model, opened, path.name)
        if not legacy:
            with _named(path, "model.weights.h5") as file:
                keras.saving.load_weights(model, file)
    except SourceError as error:
        raise SourceError(f"{trouble}: {error.message}", error.remedy) from error
    except Exception as error:
        raise SourceError(f"{trouble}: {_reason(one_line(error, SAID))}") from error


def _reason(said: str) -> str:
    """What Keras says, without whole configurations and lists: the layer, and what is wrong with it."""
    if match := LISTED.search(said):
        return f"layer {match[2]!r} ({match[1]}): {match[3]}"[:300]
    said = re.sub(r"\{\{.*?\}\} ?", "", said)
    before, nested, reason = said.rpartition("Exception encountered: ")
    if nested and (classes := re.findall(r"<class '[\w.]*?(\w+)'> could not be deserialized", before)):
        return f"{classes[-1]}: {reason}"[:300]
    return said[:300]


def _load_model(path: Path, terms: dict[str, Any]) -> Any:
    import keras

    return keras.saving.load_model(path, compile=False, **terms)


def _build(config: dict[str, Any], terms: dict[str, Any]) -> Any:
    import keras

    return keras.saving.deserialize_keras_object(config, **terms)


@contextmanager
def _named(path: Path, name: str) -> Iterator[Path]:
    """The file under a name that Keras takes for what it is."""
    with tempfile.TemporaryDirectory() as folder:
        (link := Path(folder) / name).symlink_to(path.resolve())
        yield link


@contextmanager
def _rewritten(path: Path, config: dict[str, Any]) -> Iterator[Path]:
    """A copy of an archive with another configuration; weights and assets are copied as they are."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "model.keras"
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(made, "w") as new:
            for member in old.infolist():
                if member.filename == "config.json":
                    new.writestr("config.json", json.dumps(config))
                elif not member.is_dir():
                    with old.open(member) as stored, new.open(member.filename, "w", force_zip64=True) as copy:
                        shutil.copyfileobj(stored, copy)
        yield made

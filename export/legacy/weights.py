"""The HDF5 layout of Keras 1 and 2 (and of Keras 3's `.h5`): a group a layer, its weights listed by name.

A file's layers are the model's by name where all names agree, else by order, as they always were. So are the weights
inside a layer: the order inside frozen models changed over the years.
"""

from __future__ import annotations

import re
from typing import Any

from keronyx.errors import SourceError
from keronyx.export.legacy.kernels import converted
from keronyx.types import Array


def is_legacy(file: Any) -> bool:
    """Whether an open HDF5 file has this layout (a whole model, or weights alone)."""
    return "layer_names" in _group(file).attrs or "layer_names0" in _group(file).attrs


def load(model: Any, file: Any, name: str) -> None:
    """Fill a built model from an open HDF5 file.

    Raises:
        SourceError: the file's layers are not the model's; says which layer, and both shapes.
    """
    group = _group(file)
    if not is_legacy(file):
        raise SourceError(f"{name} holds no weights where Keras puts them (no group model_weights with layer_names)")
    version, backend = (_text(group.attrs.get(key, "")) for key in ("keras_version", "backend"))
    old = version[:1] in ("", "1")
    stored = {}
    for layer_name in _names(group, "layer_names"):
        if layer_name not in group:
            raise SourceError(f"{name} is damaged: the weights of layer {layer_name!r} are missing")
        if names := _names(group[layer_name], "weight_names"):
            stored[layer_name] = names
    layers = [layer for layer in model.layers if layer.weights]
    if len(stored) != len(layers):
        raise SourceError(f"{name} has weights of {len(stored)} layers, the model has {len(layers)} with weights")
    named = {layer.name: layer for layer in layers}
    if set(named) == set(stored):
        layers = [named[layer_name] for layer_name in stored]
    for (layer_name, names), layer in zip(stored.items(), layers, strict=True):
        title = f"layer {layer.name!r}" + (f" ({layer_name!r} in {name})" if layer_name != layer.name else "")
        values = []
        for weight in names:
            if weight not in group[layer_name]:
                raise SourceError(f"{name} is damaged: {weight!r} of {title} is missing")
            values.append(group[layer_name][weight])
        _fill(layer, names, values, title, old, backend)
    top = _names(group["top_level_model_weights"], "weight_names") if "top_level_model_weights" in group else []
    if top:
        raise SourceError(f"{name} has weights that belong to no layer ({top[0]!r})", "save the model as .keras")


def _fill(layer: Any, names: list[str], values: list[Any], title: str, old: bool, backend: str) -> None:
    variables = _ordered(layer, names)
    count = len(variables)
    if _needs_conversion(old, backend, values, variables):
        arrays: list[Array] = converted(layer, [value[()] for value in values], old, backend)
    else:
        arrays = values
    if len(arrays) != count:
        raise SourceError(f"{title} takes {count} weights, not {len(arrays)}")
    for variable, array, name in zip(variables, arrays, names, strict=False):
        if tuple(variable.shape) != tuple(array.shape):  # before a declared terabyte is read
            raise SourceError(
                f"{title} takes a {variable.name} of shape {tuple(variable.shape)}, not {tuple(array.shape)} ({name})"
            )
        variable.assign(array[()])


def _needs_conversion(old: bool, backend: str, values: list[Any], variables: list[Any]) -> bool:
    """Whether kernels may lie another way in the file: Keras 1, Theano, or shapes that a CuDNN layer has."""
    shapes = [tuple(value.shape) for value in values] != [tuple(variable.shape) for variable in variables]
    return old or backend == "theano" or shapes


def _ordered(layer: Any, names: list[str]) -> list[Any]:
    """The layer's variables in the order of the file's names; in Keras' legacy order when names do not tell."""
    legacy = list(layer.trainable_weights) + list(layer.non_trainable_weights)
    known = {_key(variable.path): variable for variable in legacy}
    wanted = [_key(name) for name in names]
    if len(known) == len(legacy) == len(set(wanted)) and set(known) == set(wanted):
        return [known[key] for key in wanted]
    return legacy


def _key(path: str) -> str:
    """`model/conv/kernel:0` -> `conv/kernel`: the layer and the weight."""
    return "/".join(re.sub(r":\d+$", "", path).split("/")[-2:])


def _group(file: Any) -> Any:
    return file["model_weights"] if "layer_names" not in file.attrs and "model_weights" in file else file


def _names(group: Any, name: str) -> list[str]:
    """A list stored as an attribute, or as several where it was too long for one."""
    if name in group.attrs:
        return [_text(item) for item in group.attrs[name]]
    found: list[str] = []
    count = 0
    while f"{name}{count}" in group.attrs:
        found += [_text(item) for item in group.attrs[f"{name}{count}"]]
        count += 1
    return found


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

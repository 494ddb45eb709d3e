"""`--substitute-layer NAME=WHAT`: a layer that carries code is replaced in the configuration, so the code never runs.

Works before anything is built, in models inside models and in wrappers too. The model is saved anew with what replaced
the layer: its export loads without the code. WHAT is one of BUILTIN, or `module:callable` under `--trust`.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from keronyx.custom_objects import import_module
from keronyx.errors import SourceError, UntrustedModelError, UsageError
from keronyx.process import first_line
from keronyx.unsafe import carries_code, objects

Config = dict[str, Any]
Replacement = tuple[str, str]

OPERATORS = ("TFOpLambda", "SlicingOpLambda")
"""Carry no code, but may name a TensorFlow function that keras.ops lacks."""


def parse(text: str) -> Replacement:
    """`twice=rescaling:2` -> ("twice", "rescaling:2"). Raises UsageError."""
    name, equals, what = text.partition("=")
    if not equals or not name or not what:
        raise UsageError(f"--substitute-layer {text!r} is not NAME=WHAT", f"WHAT is {_choices()}")
    if not names_code(what):
        _builtin(what)
    return name, what


def names_code(what: str) -> bool:
    """Whether a substitute is a callable of the user's and not built in."""
    module, colon, attribute = what.partition(":")
    return bool(colon) and module not in BUILTIN and attribute.isidentifier()


def modules(substitutes: Sequence[Replacement]) -> tuple[str, ...]:
    """Modules of the user's that substitutes come from: whoever loads the saved model has to know them too."""
    return tuple(dict.fromkeys(what.partition(":")[0] for _, what in substitutes if names_code(what)))


def substitute(config: Config, substitutes: Sequence[Replacement], name: str, trust: bool) -> Config:
    """The configuration of the file `name` with layers replaced.

    Raises:
        UsageError: the model has no such layer, or none that may be replaced.
        UntrustedModelError: a substitute is the user's own code, and trust was not given.
        SourceError: that code cannot be imported, or gives no layer.
    """
    made = copy.deepcopy(config)
    found = [
        (item, owner)
        for item, owner in objects(made, name)
        if carries_code(item) or item.get("class_name") in OPERATORS
    ]
    layers = [
        (item, owner) for item, owner in found if isinstance(item.get("config"), dict) and "name" in item["config"]
    ]
    for layer_name, what in substitutes:
        mine = [item for item, owner in layers if owner == layer_name]
        if not mine:
            names = ", ".join(dict.fromkeys(owner for _, owner in layers)) or "none"
            raise UsageError(
                f"{name} has no layer {layer_name!r} that --substitute-layer could replace",
                f"layers with code in it: {names}",
            )
        if names_code(what) and not trust:
            raise UntrustedModelError(
                f"--substitute-layer {layer_name}={what} runs your code", "add --trust to allow it"
            )
        for item in mine:
            replacement = _own(what, layer_name) if names_code(what) else _builtin(what)
            inner = {**replacement["config"], "name": layer_name}
            if isinstance(dtype := item["config"].get("dtype"), str | dict):
                inner.setdefault("dtype", dtype)
            item.pop("build_config", None)
            if "inbound_nodes" in item:
                item["inbound_nodes"] = [_tensors(node) for node in item["inbound_nodes"]]
            item.update({**replacement, "config": inner})
    return made


def _tensors(node: Any) -> Any:
    """A call with its tensors alone: what code was given besides (masks, numbers) no built-in layer takes."""
    if isinstance(node, dict) and "args" in node:
        return {"args": node["args"], "kwargs": {}}
    found: list[Any] = []
    open_values = [node]
    while open_values:
        value = open_values.pop(0)
        if isinstance(value, list) and len(value) > 2 and isinstance(value[0], str) and isinstance(value[1], int):
            if value[1] >= 0:
                found.append([*value[:3], {}])
            open_values = [*value[3:], *open_values]
        elif isinstance(value, list | dict):
            open_values = [*(value.values() if isinstance(value, dict) else value), *open_values]
    return found


def _builtin(what: str) -> Config:
    kind, _, text = what.partition(":")
    if kind not in BUILTIN:
        raise UsageError(f"there is no substitute {what!r}", f"it is {_choices()}")
    class_name, make, example = BUILTIN[kind]
    arguments = [part.strip() for part in text.split(",") if part.strip()]
    try:
        config = make(*arguments)
    except (TypeError, ValueError, ZeroDivisionError):
        raise UsageError(f"the substitute {what!r} cannot be read", f"write it as {example}") from None
    return {"module": "keras.layers", "class_name": class_name, "config": config, "registered_name": None}


def _own(what: str, name: str) -> Config:
    """A layer the user's callable returns or is; a function of tensors becomes a Lambda that only names it."""
    import keras

    module, _, attribute = what.partition(":")
    thing = getattr(import_module(module), attribute, None)
    if thing is None:
        raise SourceError(f"module {module} has no {attribute}")
    required = (
        [
            p
            for p in inspect.signature(thing).parameters.values()
            if p.default is p.empty and p.kind <= p.POSITIONAL_OR_KEYWORD
        ]
        if callable(thing) and not isinstance(thing, keras.Layer)
        else []
    )
    if required and not inspect.isclass(thing):
        function = {"module": module, "class_name": "function", "config": attribute, "registered_name": attribute}
        return {
            "module": "keras.layers",
            "class_name": "Lambda",
            "config": {"function": function},
            "registered_name": None,
        }
    try:
        layer = thing if isinstance(thing, keras.Layer) else thing()
    except Exception as error:
        raise SourceError(f"--substitute-layer {name}={what} failed: {first_line(error)}") from error
    if not isinstance(layer, keras.Layer) or isinstance(layer, keras.Model):
        raise SourceError(f"--substitute-layer {name}={what} gave a {type(layer).__name__}, not a layer")
    made: Config = keras.saving.serialize_keras_object(layer)
    made.pop("build_config", None)
    return made


def refuse_weights(model: Any, substitutes: Sequence[Replacement]) -> None:
    """Raise SourceError when what replaced a layer has weights: the file has none for it, and others would shift."""
    names = {name for name, what in substitutes if names_code(what)}
    for layer in model._flatten_layers():
        if layer.name in names and layer.variables:
            raise SourceError(f"the substitute for {layer.name!r} has weights of its own, which the file does not hold")
        shared = [o for o in model._flatten_layers() if type(o).__name__ == type(layer).__name__ and o.variables]
        if layer.name in names and shared:
            raise SourceError(
                f"the substitute for {layer.name!r} is a {type(layer).__name__}, as is {shared[0].name!r} with weights",
                "return a class of another name: Keras finds weights by their layers' classes",
            )


def _number(text: str) -> float:
    return float(Fraction(text)) if "/" in text else float(text)


def _sizes(text: str) -> list[int]:
    sizes = [int(part) for part in text.split("x")]
    if min(sizes) < 1 and sizes != [-1]:
        raise ValueError(text)
    return sizes


def _rescaling(scale: str, offset: str = "0") -> Config:
    return {"scale": _number(scale), "offset": _number(offset)}


def _resizing(size: str, interpolation: str = "bilinear") -> Config:
    height, width = _sizes(size)
    return {"height": height, "width": width, "interpolation": interpolation}


def _upsampling(size: str, interpolation: str = "nearest") -> Config:
    return {"size": [int(size), int(size)], "interpolation": interpolation}


def _activation(name: str) -> Config:
    return {"activation": name}


def _axis(axis: str = "-1") -> Config:
    return {"axis": int(axis)}


def _permute(*dims: str) -> Config:
    if sorted(map(int, dims)) != list(range(1, len(dims) + 1)):
        raise ValueError(dims)
    return {"dims": [int(dim) for dim in dims]}


BUILTIN: dict[str, tuple[str, Callable[..., Config], str]] = {
    "identity": ("Identity", lambda: {}, "identity"),
    "rescaling": ("Rescaling", _rescaling, "rescaling:1/255,-0.5"),
    "activation": ("Activation", _activation, "activation:gelu"),
    "relu": ("Activation", lambda: {"activation": "relu"}, "relu"),
    "softmax": ("Softmax", _axis, "softmax:-1"),
    "resizing": ("Resizing", _resizing, "resizing:224x224,bilinear"),
    "upsampling": ("UpSampling2D", _upsampling, "upsampling:2,nearest"),
    "permute": ("Permute", _permute, "permute:2,1,3"),
    "reshape": ("Reshape", lambda shape: {"target_shape": _sizes(shape)}, "reshape:7x7x64"),
    "flatten": ("Flatten", lambda: {}, "flatten"),
    "normalize": ("UnitNormalization", _axis, "normalize:-1"),
    "add": ("Add", lambda: {}, "add"),
    "subtract": ("Subtract", lambda: {}, "subtract"),
    "multiply": ("Multiply", lambda: {}, "multiply"),
    "average": ("Average", lambda: {}, "average"),
    "maximum": ("Maximum", lambda: {}, "maximum"),
    "concatenate": ("Concatenate", _axis, "concatenate:-1"),
}
"""Substitute -> its Keras layer, what makes that layer's configuration of the texts after the colon, an example."""


def _choices() -> str:
    return f"{', '.join(example for _, _, example in BUILTIN.values())}; or module:callable with --trust"

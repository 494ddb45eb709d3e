"""A configuration of Keras 1 or 2 -> the same network as Keras 3 writes it.

Initializers, regularizers and constraints are left out: they only matter to training, and their names changed most.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from keronyx.errors import SourceError
from keronyx.export.legacy import keras1
from keronyx.export.legacy.nodes import connect

Config = dict[str, Any]

MODELS = {"Model": "Functional", "Functional": "Functional", "Container": "Functional", "Sequential": "Sequential"}
"""Class of a model in an old file -> in Keras 3."""

RENAMED = {
    "CuDNNLSTM": "LSTM",
    "CuDNNGRU": "GRU",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
    "AddLoss": "Identity",  # losses and metrics that a functional model of TensorFlow 2 carried along
    "AddMetric": "Identity",
}
TRAINING_ONLY = ("_initializer", "_regularizer", "_constraint")
SHAPES = ("batch_input_shape", "batch_size", "input_dtype", "input_shape", "input_length")
"""Of a Sequential's first layer; an Input layer says it now."""

MEANINGLESS = frozenset({"implementation", "fused", "virtual_batch_size", "adjustment", "renorm_clipping"})
MEANINGLESS_LAYER = frozenset({"autocast", "experimental_autocast", "renorm_momentum", "query_shape", "key_shape"})
"""Arguments of old layers that say how it is computed, or what Keras 3 finds out by itself."""

GATED = ("recurrent_activation", "activation")


def modern(config: Config, version: Sequence[int]) -> Config:
    """Translate a model's configuration.

    Args:
        config: of a Sequential, or of a functional model, with models and wrapped layers inside; not changed.
        version: of the Keras that wrote it, () where the file does not say (Keras 1).

    Raises:
        SourceError: a layer has no equal in Keras 3; says which, and why.
    """
    return _model(config, tuple(version))


def _model(config: Config, version: tuple[int, ...]) -> Config:
    kind, inner = MODELS[str(config["class_name"])], config["config"]
    if isinstance(inner, list):  # Keras before 2.2.3
        inner = {"name": "sequential", "layers": inner}
    if kind == "Sequential" or "input_layers" not in inner:
        made = _sequential(inner, version)
        return {"module": "keras", "class_name": "Sequential", "config": made, "registered_name": None}
    layers = inner["layers"]
    names = [
        layer.get("name", layer["config"].get("name") if isinstance(layer["config"], dict) else "") for layer in layers
    ]
    translated = {name: _layer(layer, version) for name, layer in zip(names, layers, strict=True)}
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": connect({**inner, "trainable": inner.get("trainable", True)}, layers, translated),
        "registered_name": "Functional",
    }


def _sequential(inner: Config, version: tuple[int, ...]) -> Config:
    layers = inner["layers"]
    made = [_layer(layer, version) for layer in layers]
    first = layers[0]["config"] if layers and isinstance(layers[0].get("config"), dict) else {}
    if made and made[0]["class_name"] != "InputLayer" and (shape := first.get("batch_input_shape")):
        dtype = first.get("input_dtype") or _dtype(first.get("dtype")) or "float32"
        made.insert(0, _stock("InputLayer", {"batch_shape": shape, "dtype": dtype, "name": f"{first['name']}_input"}))
    config = {"name": inner.get("name", "sequential"), "layers": made}
    if inner.get("build_input_shape"):
        config["build_input_shape"] = inner["build_input_shape"]
    return config


def _layer(layer: Config, version: tuple[int, ...]) -> Config:
    """One layer; a model inside a model too. Names and connections are the caller's."""
    import keras

    kind, inner = str(layer["class_name"]), layer["config"]
    if kind in MODELS:
        made = _model(layer, version)
        if "name" in layer:
            made["config"]["name"] = layer["name"]
        return made
    if kind in ("TFOpLambda", "SlicingOpLambda"):
        return layer  # an operator: `connect` makes it of its arguments
    config = dict(inner)
    name = str(config.get("name", layer.get("name", kind)))
    if version[:1] in ((), (1,)):
        kind, config = keras1.renamed(kind, config, name)
    cudnn, kind = kind.startswith("CuDNN"), RENAMED.get(kind, kind)
    if kind == "Identity":
        config = {key: config[key] for key in ("name", "dtype") if key in config}
    if kind == "InputLayer":
        return _stock(kind, _input(config, name))
    known = getattr(keras.layers, kind, None)
    if not inspect.isclass(known):
        return {
            "module": None,
            "class_name": kind,
            "config": config,
            "registered_name": layer.get("registered_name") or kind,
        }
    if kind == "Lambda":
        return _stock(kind, _lambda(config))
    if cudnn or (kind == "GRU" and "reset_after" not in config):
        config["reset_after"] = cudnn  # CuDNN's kind of GRU; before Keras 2.1.5 there was only the other
        if kind == "LSTM":
            del config["reset_after"]
    for key in [key for key in config if key.endswith(TRAINING_ONLY) or key in SHAPES]:
        del config[key]
    if kind != "Embedding":
        config.pop("input_dim", None)
    for key, value in config.items():
        if isinstance(value, dict) and "class_name" in value and key != "dtype":
            config[key] = _layer(value, version)  # what a wrapper wraps, the cell of an RNN
        if key == "cells" and isinstance(value, list):
            config[key] = [_layer(cell, version) for cell in value]
        if key in GATED and value == "hard_sigmoid":
            config[key] = _hard_sigmoid()
    if "dtype" in config:
        config["dtype"] = _dtype(config["dtype"])
    axis = config.get("axis")
    if isinstance(axis, list) and len(axis) == 1:
        config["axis"] = axis[0]
    _refuse_changed(kind, config, name, version)
    return _stock(kind, _accepted(known, kind, config, name))


def _stock(kind: str, config: Config) -> Config:
    return {"module": "keras.layers", "class_name": kind, "config": config, "registered_name": None}


def _input(config: Config, name: str) -> Config:
    if config.get("ragged"):
        raise SourceError(f"input {name!r} is ragged", "rebuild the model with inputs of one length, padded")
    shape = config.get("batch_input_shape", config.get("batch_shape"))
    dtype = config.get("input_dtype") or _dtype(config.get("dtype")) or "float32"
    return {"batch_shape": shape, "dtype": dtype, "sparse": bool(config.get("sparse")), "name": name}


def _dtype(dtype: Any) -> Any:
    """A policy by its name; what old TensorFlow wrote as an object names one too."""
    if isinstance(dtype, dict):
        name = dtype.get("config", {}).get("name") if isinstance(dtype.get("config"), dict) else None
        return "float32" if name in (None, "_infer", "infer") else name
    return dtype


def _lambda(config: Config) -> Config:
    """A Lambda the user trusts: [code, defaults, closure] was a list, a named function a bare name."""
    function = config["function"]
    if isinstance(function, list):
        code, defaults, closure = function
        function = {"class_name": "__lambda__", "config": {"code": code, "defaults": defaults, "closure": closure}}
    elif isinstance(function, str):
        function = {"module": "builtins", "class_name": "function", "config": function, "registered_name": function}
    kept = {key: config[key] for key in ("name", "trainable", "arguments", "mask") if config.get(key) is not None}
    shape = config.get("output_shape")
    if shape is not None and config.get("output_shape_type", "raw") == "raw":
        kept["output_shape"] = shape
    return {**kept, "function": function, "dtype": _dtype(config.get("dtype"))}


def _hard_sigmoid() -> Config:
    """Keras before 3 had clip(0.2 x + 0.5, 0, 1), Keras 3 has relu6(x + 3) / 6: at 1.2 x they are the same."""
    scaled = _stock("Rescaling", {"scale": 1.2, "offset": 0.0, "name": "scaled"})
    gate = _stock("Activation", {"activation": "hard_sigmoid", "name": "hard_sigmoid"})
    inner = {"name": "hard_sigmoid_of_keras_2", "layers": [scaled, gate]}
    return {"module": "keras", "class_name": "Sequential", "config": inner, "registered_name": None}


def _refuse_changed(kind: str, config: Config, name: str, version: tuple[int, ...]) -> None:
    """Raise SourceError where Keras 3 has the same words but another meaning, or cannot run it on a CPU."""
    if config.get("data_format") == "channels_first" and "Conv" in kind:
        raise SourceError(
            f"layer {name!r} ({kind}) is channels_first, which TensorFlow cannot run on a CPU",
            "rebuild the network as channels_last and pass these weights with --weights",
        )
    if kind == "UpSampling2D" and config.get("interpolation") == "bilinear" and version and version < (2, 3):
        raise SourceError(
            f"layer {name!r} ({kind}) resizes as TensorFlow 1 did, half a pixel beside where Keras 3 does",
            "train it anew, or rebuild it with a layer of your own",
        )


def _accepted(known: Any, kind: str, config: Config, name: str) -> Config:
    """Without arguments that Keras 3 no longer takes and that change nothing. Raises SourceError when one does."""
    parameters: set[str] = {"name", "trainable", "dtype"}
    for cls in known.__mro__:
        if cls.__module__.startswith("keras.") and "__init__" in vars(cls):
            parameters |= set(inspect.signature(cls.__init__).parameters)
            if "kwargs" not in inspect.signature(cls.__init__).parameters:
                break
    parameters -= {"self", "kwargs", "args", "activity_regularizer"}
    if kind == "LeakyReLU" and "alpha" in config:
        config["negative_slope"] = config.pop("alpha")
    kept = {key: value for key, value in config.items() if key in parameters}
    for key, value in config.items():
        harmless = not value or key in MEANINGLESS | MEANINGLESS_LAYER or (key, value) == ("groups", 1)
        if key not in kept and not harmless and not key.endswith("_shape"):
            raise SourceError(
                f"layer {name!r} ({kind}) has {key}={value!r}, which Keras 3 has no equal of",
                "rebuild it with a layer of your own and pass that with --custom-objects",
            )
    return kept

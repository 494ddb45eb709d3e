"""A loaded model -> its ModelSpec: names, order, shapes and dtypes of what goes in and out.

Keras names a model's outputs in three ways, depending on how it was built; converters lose them in most. They are read
here once, and every artifact has to keep them.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from keronyx.errors import ExportError, KeronyxError, UsageError
from keronyx.export.dims import NOTHING, Asked, decided, refuse_unknown
from keronyx.export.layers import failing_in
from keronyx.export.state import refuse_state
from keronyx.export.substitutions.center_crop import center_crop
from keronyx.export.substitutions.scope_names import scope_names
from keronyx.export.substitutions.symbolic_sizes import symbolic_sizes
from keronyx.process import one_line
from keronyx.types import ModelSpec, TensorSpec

SIGNATURE = "serving_default"

DTYPES = frozenset(
    ["bool", "float16", "float32", "float64"] + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
)
"""What numpy, TensorFlow and ONNX all have."""


def of_keras(
    model: Any,
    name: str,
    source: str,
    batch: int | None,
    image_size: tuple[int, int] | None,
    custom_objects: str | None = None,
    asked: Asked = NOTHING,
    leave_open: bool = False,
) -> ModelSpec:
    """Signature of a `keras.Model`.

    Args:
        batch: size of the first dimension, None to leave it dynamic.
        image_size: height and width for rank-4 inputs that leave them undefined.
        custom_objects: `module` or `module:attribute` the model needed, whose code is part of its content.
        asked: shapes asked for by name, before which the other arguments stand back.
        leave_open: whether dimensions nothing is said of may stay undefined.
    """
    names = input_names(model)
    refuse_unknown(asked, names)
    inputs = tuple(
        TensorSpec(
            name,
            decided(name, tuple(tensor.shape), batch, image_size, asked, leave_open),
            _numeric(name, at_boundary(str(tensor.dtype))),
        )
        for name, tensor in zip(names, model.inputs, strict=True)
    )
    _check_image_size(source, inputs, image_size)
    function = trace(model, inputs, updates=True)
    refuse_state(function, model)
    outputs = tuple(
        TensorSpec(output, tuple(tensor.shape), _numeric(output, tensor.dtype.name))
        for output, tensor in zip(output_names(model), function.outputs, strict=True)
    )
    return ModelSpec(name, source, inputs, outputs, model.count_params(), content_hash(model, custom_objects))


def of_saved_model(
    loaded: Any,
    name: str,
    source: str,
    identity: str,
    batch: int | None,
    image_size: tuple[int, int] | None,
    asked: Asked = NOTHING,
    leave_open: bool = False,
) -> ModelSpec:
    """Signature of a SavedModel's `serving_default` (or only) signature; names in their sorted order."""
    function = saved_signature(loaded)
    arguments = sorted(function.structured_input_signature[1].items())
    refuse_unknown(asked, [key for key, _ in arguments])
    inputs = tuple(
        TensorSpec(
            key,
            decided(key, tuple(tensor.shape), batch, image_size, asked, leave_open),
            _numeric(key, tensor.dtype.name),
        )
        for key, tensor in arguments
    )
    _check_image_size(source, inputs, image_size)
    traced = trace_saved_model(loaded, inputs)
    refuse_state(traced)
    names = sorted(function.structured_outputs)
    outputs = tuple(
        TensorSpec(key, tuple(tensor.shape), _numeric(key, tensor.dtype.name))
        for key, tensor in zip(names, traced.outputs, strict=True)
    )
    parameters = sum(int(v.shape.num_elements() or 0) for v in function.variables)
    return ModelSpec(name, source, inputs, outputs, parameters, identity)


def saved_signature(loaded: Any) -> Any:
    """The signature function a SavedModel is called by."""
    return loaded.signatures[SIGNATURE if SIGNATURE in loaded.signatures else sorted(loaded.signatures)[0]]


def input_names(model: Any) -> list[str]:
    """Names of the Input layers in flat order: those a saved model keeps, unlike `keras_tensor_7`."""
    return _unique([_maker(tensor) for tensor in model.inputs], ())


def output_names(model: Any) -> list[str]:
    """Names of the outputs in flat order: dictionary keys, else the names of the layers that made them.

    Made unique by a number, among themselves and against the inputs' (an ONNX file has one scope for both).
    """
    import keras

    structure = getattr(model, "_outputs_struct", None)
    if isinstance(structure, dict):
        names = ["_".join(map(str, path)) for path, _ in keras.tree.flatten_with_path(structure)]
    else:
        names = [_maker(tensor) for tensor in model.outputs]
    return _unique(names, input_names(model))


def _maker(tensor: Any) -> str:
    return str(tensor._keras_history.operation.name)


def _unique(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    unique: list[str] = []
    for name in names:
        candidate, number = name, 1
        while candidate in unique or candidate in taken or (number > 1 and candidate in names):
            candidate, number = f"{name}_{number}", number + 1
        unique.append(candidate)
    return unique


def trace(model: Any, inputs: Sequence[TensorSpec], updates: bool = False) -> Any:
    """Trace `model(x, training=False)` to a ConcreteFunction of flat inputs and flat outputs.

    Args:
        updates: whether what a call does to the model's variables is traced too.
    """
    import keras
    import tensorflow as tf

    def call(*flat: Any) -> list[Any]:
        with nullcontext() if updates else keras.StatelessScope():
            return flat_outputs(model(structured_inputs(model, flat), training=False))

    failed: list[str] = []
    try:
        with center_crop(), symbolic_sizes(), scope_names(), failing_in(model, failed):
            function = tf.function(call, autograph=False).get_concrete_function(*tensor_specs(inputs))
    except (KeronyxError, MemoryError):
        raise
    except Exception as error:  # a layer's own, with its class: Unfold and others need to know the batch
        where = f" (layer {failed[0]})" if failed else ""
        said = f"TensorFlow cannot trace this model: {one_line(error)}{where}"
        raise ExportError(said, _fixed([spec.shape for spec in inputs])) from error
    for name, tensor in zip(output_names(model), function.outputs, strict=True):
        if tensor.shape.rank is None:
            raise ExportError(f"nothing says how many dimensions the output {name!r} has")
    return function


def _fixed(shapes: Sequence[Sequence[int | None]]) -> str:
    """Which open dimensions a layer may need to know; empty when none is open."""
    batch, sizes = any(None in shape[:1] for shape in shapes), any(None in shape[1:] for shape in shapes)
    helps = [*(["a fixed batch (--batch 1)"] if batch else []), *(["fixed sizes (--shape)"] if sizes else [])]
    return f"{' and '.join(helps)} may help" if helps else ""


def trace_saved_model(loaded: Any, inputs: Sequence[TensorSpec]) -> Any:
    """The same for a SavedModel's signature, outputs in the sorted order of their names."""
    import tensorflow as tf

    signature = saved_signature(loaded)

    def call(*flat: Any) -> list[Any]:
        outputs = signature(**{spec.name: tensor for spec, tensor in zip(inputs, flat, strict=True)})
        return [outputs[key] for key in sorted(outputs)]

    return tf.function(call, autograph=False).get_concrete_function(*tensor_specs(inputs))


def structured_inputs(model: Any, flat: Sequence[Any]) -> Any:
    """Flat inputs in the structure the model is called with (a tensor, a list or a dictionary)."""
    import keras

    if isinstance(model, keras.Sequential):
        return flat[0]
    return keras.tree.pack_sequence_as(model.input, list(flat))


def flat_outputs(outputs: Any, tensors: Sequence[TensorSpec] = ()) -> list[Any]:
    """A model's outputs as a flat list, floats in the dtypes of `tensors`, else in those they have `at_boundary`."""
    import keras
    import tensorflow as tf

    flat = list(keras.tree.flatten(outputs))
    made = [tf.as_dtype(tensor.dtype) for tensor in flat]
    wanted = [tensor.dtype for tensor in tensors] or [at_boundary(dtype.name) for dtype in made]
    return [
        tf.cast(tensor, name) if dtype.is_floating and dtype.name != name else tensor
        for tensor, dtype, name in zip(flat, made, wanted, strict=True)
    ]


def at_boundary(dtype: str) -> str:
    """The dtype of an input or output as callers see it: numpy has no bfloat16, whose values float32 has all."""
    return "float32" if dtype == "bfloat16" else dtype


def tensor_specs(inputs: Sequence[TensorSpec]) -> list[Any]:
    """TensorSpecs of TensorFlow for those of keronyx."""
    import tensorflow as tf

    return [tf.TensorSpec(spec.shape, spec.dtype, name=f"input_{i}") for i, spec in enumerate(inputs)]


def content_hash(model: Any, custom_objects: str | None = None) -> str:
    """SHA-256 over the configuration, every weight, and the files that layers of the user's own are written in."""
    import numpy as np

    digest = hashlib.sha256()
    try:
        digest.update(json.dumps(model.get_config(), sort_keys=True, default=str).encode())
    except Exception:  # a subclassed model need not have a configuration; its weights and class still tell
        digest.update(type(model).__qualname__.encode())
    for variable in model.variables:
        digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    named = {where.partition(":")[0] for where in (custom_objects or "").split(",")}
    modules = {type(layer).__module__ for layer in model._flatten_layers()} | named
    for name in sorted(name for name in modules if name.partition(".")[0] != "keras"):
        if file := getattr(sys.modules.get(name), "__file__", None):
            digest.update(Path(file).read_bytes())
    return digest.hexdigest()


def _numeric(name: str, dtype: str) -> str:
    """The dtype, if numpy and every runtime know it. Raises ExportError."""
    if dtype not in DTYPES:
        raise ExportError(f"{name!r} has dtype {dtype}", f"keronyx exports {', '.join(sorted(DTYPES))}")
    return dtype


def _check_image_size(source: str, inputs: Sequence[TensorSpec], image_size: tuple[int, int] | None) -> None:
    """Raise UsageError when a size was asked for that no input has."""
    images = [t.shape[1:3] for t in inputs if len(t.shape) == 4]
    if image_size is not None and image_size not in images:
        takes = " and ".join("x".join(map(str, shape)) for shape in images) or "no images"
        raise UsageError(f"{source} takes {takes}, not {image_size[0]}x{image_size[1]}", "leave --image-size away")

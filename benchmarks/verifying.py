"""The process that judges an exported file apart from keronyx's own gates: `python -m benchmarks.verifying`.

It builds the Keras model again, feeds it and the file (ONNX Runtime with its default optimizations) fresh random
inputs, and compares names, order, shapes, dtypes and numbers.
"""

from __future__ import annotations

import gc
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keronyx.in_graph import as_in_graph
from keronyx.process import Message, one_line, serve

TYPICAL = {"float64": 1e-6, "float32": 3e-4, "float16": 2e-2, "bfloat16": 5e-2}
"""Least precise dtype the model computes in -> most error at the 99th percentile, in units of the answer's RMS."""

OUTLIER, OUTLIERS = 30.0, 1e-3
"""Errors above OUTLIER times that are outliers; at most this share of an output may be."""

DRAWS = ((3, 24), (2, 40))
"""Size of an open batch, and of any other open dimension, for each set of inputs."""

WORDS = np.array(["alpha", "beta", "gamma", "unheard of"], dtype=object)


def verify(order: Message) -> Message:
    """Judge the file at `onnx`, exported from `source` with `options`.

    Answers with `problem` (empty when the file gives Keras' answers under Keras' names), nodes, opset and error (the
    largest typical error). With `names` false any names pass, in any order that fits.
    """
    import onnx
    import onnxruntime

    model = _model(order["source"], order["options"])
    proto = onnx.load(order["onnx"], load_external_data=False)
    facts = {"nodes": len(proto.graph.node), "opset": next(o.version for o in proto.opset_import if not o.domain)}
    try:
        session = onnxruntime.InferenceSession(order["onnx"], providers=["CPUExecutionProvider"])
    except Exception as error:
        return {"problem": f"ONNX Runtime cannot load it: {one_line(error)}", "typical": None, **facts}
    told = {entry.key for entry in proto.metadata_props}
    limit = max(TYPICAL[_precision(model)], TYPICAL["float32"] if "keronyx.precision" in told else 0.0)
    worst, problem = 0.0, _named(model, session) if order["names"] else ""
    for draw, (batch, open_size) in enumerate(DRAWS):
        if problem:
            break
        feeds = _feeds(model, session, np.random.default_rng([99, draw]), batch, open_size, order["names"])
        for layer in model._flatten_layers():
            if getattr(layer, "stateful", False):
                layer.reset_states()  # a file starts every call from the initial state, as export says
        wanted = _keras_answers(model, list(feeds.values()))
        try:
            found = session.run(None, feeds)
        except Exception as error:
            problem = f"ONNX Runtime cannot run it: {one_line(error)}"
            break
        names = [value.name for value in session.get_outputs()]
        problem, error = compared(names, wanted, found, limit)
        worst = max(worst, error)
    del model, session
    gc.collect()
    return {"problem": problem, "typical": worst, **facts}


def names(order: Message) -> Message:
    """What a refusal may name: every layer, operation and input of the model."""
    import keras

    model = _model(order["source"], order["options"])
    found = {layer.name for layer in model._flatten_layers()}
    for part in model._flatten_layers():
        if isinstance(part, keras.Model):
            found |= {operation.name for operation in getattr(part, "operations", ())}
    return {"names": sorted(found)}


def raw(order: Message) -> Message:
    """Write what tf2onnx makes of the model by itself. Answers with `problem`."""
    import keras
    import tensorflow as tf
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    model = _model(order["source"], order["options"])
    try:
        signature = [tf.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name) for tensor in model.inputs]
        if not isinstance(model, keras.Sequential):
            signature = keras.tree.pack_sequence_as(model.input, signature)
            signature = signature if isinstance(signature, list | tuple) else [signature]
        tf2onnx.convert.from_keras(model, signature, opset=18, output_path=order["onnx"])
    except Exception as error:
        return {"problem": f"{type(error).__name__}: {one_line(error)}"}
    return {"problem": "" if Path(order["onnx"]).is_file() else "no file was written"}


def compared(names: Sequence[str], wanted: Sequence[Any], found: Sequence[Any], limit: float) -> tuple[str, float]:
    """The first problem, or "", and the largest typical error in units of the output's RMS."""
    if len(wanted) != len(found):
        return f"{len(found)} outputs, Keras has {len(wanted)}", 0.0
    worst = 0.0
    for name, right, got in zip(names, map(np.asarray, wanted), map(np.asarray, found), strict=True):
        if right.shape != got.shape or _kind(right) != _kind(got):
            return f"{name} is {got.dtype}{list(got.shape)}, Keras' {right.dtype}{list(right.shape)}", worst
        if right.dtype.kind not in "fV":
            share = float(np.mean(_plain(right) != _plain(got))) if right.size else 0.0
            if share > OUTLIERS:
                return f"{share:.2g} of {name} differs", worst
            continue
        a, b = got.astype(np.float64), right.astype(np.float64)
        if not np.isfinite(b).all() or not np.isfinite(a).all():
            return f"{name} has NaN or Inf", worst
        scale = float(np.sqrt(np.mean(b**2))) if b.size else 0.0
        if not scale:
            return f"{name} is all zeros: nothing is proved", worst
        error = np.abs(a - b) / scale
        typical = float(np.quantile(error, 0.99))
        worst = max(worst, typical)
        if typical > limit or float(np.mean(error > OUTLIER * limit)) > OUTLIERS:
            return f"{name} is off by {typical:.1e} of its RMS (worst {error.max():.1e})", worst
    return "", worst


def _plain(array: Any) -> Any:
    """TensorFlow's texts are bytes, ONNX Runtime's are not."""
    values = [value.decode() if isinstance(value, bytes) else value for value in array.ravel().tolist()]
    return np.array(values, dtype=object)


def _kind(array: Any) -> str:
    return "text" if array.dtype.kind in "OSU" else str(array.dtype)


def _model(source: str, options: Sequence[str]) -> Any:
    """The model `keronyx export SOURCE OPTIONS` exports, built once more."""
    import keras

    from keronyx.export.source import load
    from keronyx.pipeline import resolve

    keras.backend.clear_session()  # else layers without a name would be numbered on from the last model's
    return load(resolve(source))


def _precision(model: Any) -> str:
    """The least precise dtype the model computes in."""
    used = {str(getattr(layer, "compute_dtype", "float32")) for layer in model._flatten_layers()}
    return next((dtype for dtype in reversed(TYPICAL) if dtype in used), "float32")


def _named(model: Any, session: Any) -> str:
    """What is wrong with the file's names, or "". A number may follow a name that occurs twice."""
    import keras

    if not getattr(model, "inputs", None) or not hasattr(model, "_outputs_struct"):
        return ""
    structure = model._outputs_struct
    outputs = (
        ["_".join(map(str, path)) for path, _ in keras.tree.flatten_with_path(structure)]
        if isinstance(structure, dict)
        else [tensor._keras_history.operation.name for tensor in model.outputs]
    )
    inputs = [tensor._keras_history.operation.name for tensor in model.inputs]
    for kind, wanted, values in (("inputs", inputs, session.get_inputs()), ("outputs", outputs, session.get_outputs())):
        found = [value.name for value in values]
        fits = len(found) == len(wanted) and all(
            re.fullmatch(rf"{re.escape(name)}(_\d+)?", other) for name, other in zip(wanted, found, strict=True)
        )
        if not fits:
            return f"{kind} are {', '.join(found)}; Keras' {', '.join(wanted)}"
    return ""


def _feeds(
    model: Any, session: Any, random: np.random.Generator, batch: int, open_size: int, named: bool
) -> dict[str, Any]:
    """Random inputs by the file's names, in the model's order."""
    types = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(string)": "object"}
    feeds = {}
    values = session.get_inputs()
    if not named:  # tf2onnx may sort them: go by the names it was given
        order = {tensor.name: place for place, tensor in enumerate(getattr(model, "inputs", None) or ())}
        values = sorted(values, key=lambda value: order.get(value.name.partition(":")[0], 0))
    for value in values:
        shape = [
            size if isinstance(size, int) and size > 0 else batch if axis == 0 else open_size
            for axis, size in enumerate(value.shape)
        ]
        dtype = types.get(value.type, value.type[7:-1])
        feeds[value.name] = _drawn(random, shape, dtype)
    return feeds


def _drawn(random: np.random.Generator, shape: list[int], dtype: str) -> Any:
    if dtype == "object":
        return random.choice(WORDS, shape)
    if dtype == "bool":
        return random.random(shape) < 0.7
    if dtype == "uint8":
        return random.integers(0, 256, shape).astype(dtype)
    if "int" in dtype:
        return random.integers(0, 8, shape).astype(dtype)
    image = len(shape) == 4 and shape[3] == 3 and min(shape[1:3]) >= 100
    return (random.uniform(0, 255, shape) if image else random.normal(size=shape)).astype(dtype)


def _keras_answers(model: Any, arrays: Sequence[Any]) -> list[Any]:
    import keras
    import tensorflow as tf

    tensors = [tf.constant(array) for array in arrays]
    if isinstance(model, keras.Sequential) or not getattr(model, "inputs", None):
        given = tensors[0]
    else:
        given = keras.tree.pack_sequence_as(model.input, tensors)
    with as_in_graph():
        outputs = keras.tree.flatten(model(given, training=False))
    made = [tf.convert_to_tensor(tensor) for tensor in outputs]
    return [np.asarray(tf.cast(tensor, tf.float32) if tensor.dtype == tf.bfloat16 else tensor) for tensor in made]


if __name__ == "__main__":
    serve({"verify": verify, "names": names, "raw": raw})

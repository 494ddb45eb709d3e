"""In the conversion's process: what Keras answers to the trials, exactly and with its weights moved by rounding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from keronyx.errors import ExportError
from keronyx.export import dims, signature
from keronyx.export.dims import Asked
from keronyx.export.gates import ties, trials, vocabularies
from keronyx.export.gates.trials import Trial
from keronyx.in_graph import as_in_graph
from keronyx.parity import TOLERANCES
from keronyx.process import one_line
from keronyx.rounding import jittered
from keronyx.rounding import moved as moved_by_rounding
from keronyx.types import Array, ModelSpec

ATTEMPTS = ((96, 4), (96, 2), (224, 4), (32, 4))
"""Length of dimensions left open and size of unknown vocabularies that trials are drawn for, until Keras takes them."""

PRECISIONS = ("float64", "float32", "float16", "bfloat16")
"""From the finest to the coarsest."""

EPSILON = {"float64": 2.0**-23, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
"""What rounding moves a weight by, relatively: one unit in the last place."""


def tried(model: Any, spec: ModelSpec, asked: Asked) -> list[Trial]:
    """Trials with the answers of a `keras.Model` or a loaded SavedModel. Raises ExportError when it takes none."""
    known, meant = (trials.limits(model), vocabularies.meanings(model)) if _is_keras(model) else ({}, {})
    names = dims.input_dims(spec.inputs, asked)
    opened = len(trials.open_sizes(spec.inputs, names))

    def further(small: int, *sizes: int) -> list[Trial]:
        uneven = trials.uneven(spec.inputs, known, small, names, *sizes)
        return vocabularies.with_meaning(uneven, spec.inputs, meant, seed=1)

    problem: Exception | None = None
    for length, small in ATTEMPTS:
        drawn = trials.draw(spec.inputs, known, length, small, names)
        drawn = vocabularies.with_meaning(drawn, spec.inputs, meant)
        try:
            told = [Trial(trial.kind, trial.inputs, answers(model, spec, trial.inputs)) for trial in drawn]
            return told + _uneven(model, spec, opened, partial(further, small))
        except Exception as error:
            problem = problem or error
    assert problem is not None
    raise ExportError(
        f"Keras gives no answers to compare with: {one_line(problem)}",
        "trials are random, integers small or from the vocabulary they are looked up in; call the model with such"
        + ("; fixed sizes may help: --shape" if any(None in tensor.shape[1:] for tensor in spec.inputs) else ""),
    ) from problem


def _uneven(model: Any, spec: ModelSpec, opened: int, further: Callable[..., list[Trial]]) -> list[Trial]:
    """Further trials where sizes are open, all unequal: one of the usual length, and two small ones, which tell what
    depends on whether an image is smaller than a window and on what the last window leaves of it."""

    def taken(*sizes: int) -> list[Trial]:
        """What Keras takes, which often is a multiple of something or a square, and gives numbers for."""
        told = []
        for trial in further(*sizes):
            with suppress(Exception):
                told.append(Trial(trial.kind, trial.inputs, answers(model, spec, trial.inputs)))
        return [trial for trial in told if not sizes or all(map(_tells, trial.answers))]

    told = taken()
    for shortest in trials.SMALL if opened else ():
        if least := taken(shortest, 1):
            return [*told, *least, *taken(shortest + opened, 1)]
    return told


def _tells(array: Array) -> bool:
    """Whether there is something in it, and only numbers."""
    return bool(array.size and (array.dtype.kind != "f" or np.isfinite(array).all()))


def answers(model: Any, spec: ModelSpec, inputs: Sequence[Array]) -> list[Array]:
    """One call, eagerly, with the answers `predict` gives; outputs in the spec's order."""
    import tensorflow as tf

    tensors = [
        tf.constant(array, tf.string if tensor.dtype == "string" else tensor.dtype)
        for tensor, array in zip(spec.inputs, inputs, strict=True)
    ]
    if _is_keras(model):
        with as_in_graph():
            outputs = model(signature.structured_inputs(model, tensors), training=False)
        made = signature.flat_outputs(outputs, spec.outputs)
    else:
        named = dict(zip((tensor.name for tensor in spec.inputs), tensors, strict=True))
        called = signature.saved_signature(model)(**named)
        made = [called[key] for key in sorted(called)]
    return [_text(np.asarray(tensor)) for tensor in made]


def rounded(model: Any, spec: ModelSpec, asked_trials: Sequence[Trial], precision: str) -> list[Trial]:
    """The same trials, answered with every weight and every input moved by about one unit in the last place, and what
    is tied in outputs that are indices."""
    epsilon = EPSILON[precision]
    moved, near = [], [_ties(model, spec, trial, precision) for trial in asked_trials]
    with moved_by_rounding(variables(model), epsilon, np.random.default_rng(5)):
        for trial, tied in zip(asked_trials, near, strict=True):
            inputs = [jittered(array, epsilon, np.random.default_rng(7)) for array in trial.inputs]
            moved.append(Trial(trial.kind, trial.inputs, answers(model, spec, inputs), tied))
    return moved


def _ties(model: Any, spec: ModelSpec, trial: Trial, precision: str) -> list[Array]:
    if all(np.dtype(tensor.dtype).kind not in "iu" for tensor in spec.outputs):
        return []
    with ties.watched() as seen:
        made = answers(model, spec, trial.inputs)
    return ties.tied(made, seen, TOLERANCES[precision].typical)


def precision(model: Any) -> str:
    """The coarsest floating-point precision the model computes in."""
    if _is_keras(model):
        found = {str(layer.compute_dtype) for layer in model._flatten_layers()}
    else:
        import tensorflow as tf

        graph = signature.saved_signature(model).graph
        graph = graph.as_graph_def() if hasattr(graph, "as_graph_def") else graph  # TensorFlow 1's is one already
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        types = {attribute.type for node in nodes for attribute in node.attr.values() if attribute.type}
        found = {tf.dtypes.as_dtype(one).name for one in types}
    return next((one for one in reversed(PRECISIONS) if one in found), "float32")


def odd_weights(model: Any) -> list[str]:
    """Paths of weights that hold NaN or Inf."""
    found = []
    for variable in variables(model):
        values = _floats(variable)
        if values is not None and not np.isfinite(values).all():
            found.append(str(getattr(variable, "path", variable.name)))
    return found


def variables(model: Any) -> list[Any]:
    """All weights of a `keras.Model` or of a SavedModel's signature."""
    return list(model.variables if _is_keras(model) else signature.saved_signature(model).variables)


def _floats(variable: Any) -> Array | None:
    values = np.asarray(variable.numpy())
    return values if values.dtype.kind == "f" else None


def _text(array: Array) -> Array:
    """Bytes objects as numpy's own text, which a file can hold without pickling."""
    if array.dtype.kind != "O":
        return array
    return np.array([value.decode() for value in array.reshape(-1)], str).reshape(array.shape)


def _is_keras(model: Any) -> bool:
    import keras

    return isinstance(model, keras.Model)

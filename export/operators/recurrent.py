"""The recurrent layers that `substitutions/recurrent.py` traced as CudnnRNN, as ONNX' LSTM, GRU and RNN."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from keronyx.export.operators import Handler

STAND_IN = re.compile(r"keronyx_recurrent\.(LSTM|GRU|RNN)\.([A-Za-z.]+)")


def _recurrent(graph: Any, node: Any, name: str, _: Sequence[Any]) -> None:
    from tf2onnx import utils

    found = STAND_IN.search(name)
    utils.make_sure(found is not None, "CudnnRNN, written by cuDNN, is not supported: %s", name)
    assert found is not None
    kind, words = found[1], found[2].split(".")
    functions = [word for word in words if word[0].isupper()]
    units, features = graph.get_shape(node.output[0])[2], graph.get_shape(node.input[0])[2]
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    flat = node.inputs[3].get_tensor_value(as_list=False)
    w, r, b = gates * units * features, gates * units * units, 2 * gates * units
    weights = [
        flat[:w].reshape(1, gates * units, features),
        flat[w : w + r].reshape(1, gates * units, units),
        flat[w + r : w + r + b].reshape(1, b),
    ]
    inputs = [node.input[0], *(graph.make_const(utils.make_name(name), value).output[0] for value in weights)]
    if "zero" not in words:
        inputs += ["", *node.input[1 : 3 if kind == "LSTM" else 2]]
    attributes: dict[str, Any] = {
        "hidden_size": units,
        "activations": [*functions, functions[-1]] if kind == "LSTM" else functions,
    }
    if "backwards" in words:
        attributes["direction"] = "reverse"
    if kind == "GRU":
        attributes["linear_before_reset"] = int("after" in words)
    outputs, dtype = list(node.output), graph.get_dtype(node.output[0])
    shapes = [graph.get_shape(output) for output in outputs]
    graph.remove_node(name)
    steps, batch, _units = shapes[0]
    states = outputs[1 : 3 if kind == "LSTM" else 2]
    every = utils.make_name(name)
    graph.make_node(
        kind,
        inputs,
        attr=attributes,
        name=name,
        outputs=[every, *states],
        shapes=[[steps, 1, batch, units], *([[1, batch, units]] * len(states))],
        dtypes=[dtype] * (1 + len(states)),
    )
    axis = graph.make_const(utils.make_name(name), _one()).output[0]
    graph.make_node("Squeeze", [every, axis], outputs=[outputs[0]], shapes=[shapes[0]], dtypes=[dtype])


def _one() -> Any:
    import numpy as np

    return np.array([1], np.int64)


HANDLERS: dict[str, Handler] = {"CudnnRNN": _recurrent}

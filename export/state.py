"""What a model remembers from one call to the next: files cannot carry it, and no two calls would agree.

Recurrent layers that keep their state are made to start every call from the initial one. A generator of random numbers
may count on as long as no output depends on it (recurrent dropout and augmentation draw even where nothing is dropped).
All else is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from keronyx.errors import ExportError

SEED = "seed_generator_state"
"""Name of the variable of a `keras.random.SeedGenerator`."""


def made_stateless(model: Any) -> list[str]:
    """Switch off `stateful` of every recurrent layer, nested ones too. Returns what the user is to be told of it."""
    import keras

    recurrent = (keras.layers.RNN, keras.layers.Bidirectional)
    stateful = [layer for layer in model._flatten_layers() if isinstance(layer, recurrent) and layer.stateful]
    for layer in stateful:
        layer.stateful = False
    names = ", ".join(dict.fromkeys(str(layer.name) for layer in stateful))
    return [f"every call starts from the initial state: stateful {names} no longer"] if names else []


def refuse_state(function: Any, model: Any = None) -> None:
    """Raise ExportError when calls of a traced function change its answers, or its variables; names the layer."""
    owners = _owners(model) if model is not None else {}
    outside = {id(inner): owners.get(id(outer)) for outer, inner in function.graph.captures}
    used = set(_used(function.outputs))
    for op in function.graph.get_operations():
        if _assigns(op.type):
            layer, variable = outside.get(id(op.inputs[0])) or (op.name, "")
            if variable != SEED:
                raise _refusal(layer, "changes the model on every call")
            if id(op.inputs[0]) in used:
                raise _refusal(layer, "is random at inference")
    for body in function.graph.as_graph_def().library.function:
        if found := next((node.name for node in body.node_def if _assigns(node.op)), None):
            raise _refusal(found, "changes the model on every call")


def _refusal(layer: str, does: str) -> ExportError:
    return ExportError(f"layer {layer} {does}: no file can carry that", "take it out, or have it keep no state")


def _owners(model: Any) -> dict[int, tuple[str, str]]:
    """Handle of each variable -> the innermost layer that has it, and its own name."""
    layers = model._flatten_layers()  # outer ones first
    return {id(v.value.handle): (str(layer.name), str(v.name)) for layer in layers for v in layer.variables}


def _assigns(operator: str) -> bool:
    return operator.startswith("Assign") and operator.endswith("VariableOp")


def _used(outputs: list[Any]) -> Iterator[int]:
    """Ids of all tensors that outputs are computed from."""
    seen, open_tensors = set(), list(outputs)
    while open_tensors:
        tensor = open_tensors.pop()
        if id(tensor) not in seen:
            seen.add(id(tensor))
            yield id(tensor)
            open_tensors += tensor.op.inputs

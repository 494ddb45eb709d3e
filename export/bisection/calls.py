"""A Keras model as a list of calls, those of the functional models inside it included, each by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keronyx.errors import ExportError


@dataclass(frozen=True)
class Call:
    """One call of one layer or operation. Values are numbered; `scope` says which of them a symbolic tensor is."""

    path: str
    operation: Any
    arguments: Any
    scope: Mapping[int, int]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass
class Program:
    """All calls in an order they can be made in. `tensors` holds the symbolic tensor of every value, `inputs` and
    `outputs` the numbers of the model's own, in its order."""

    calls: list[Call] = field(default_factory=list)
    tensors: list[Any] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def number(self, tensor: Any) -> int:
        """A number for a new value."""
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def producers(self) -> dict[int, int]:
        """Value -> index of the call that makes it."""
        return {number: i for i, call in enumerate(self.calls) for number in call.outputs}


def program(model: Any) -> Program:
    """The calls of a functional or sequential model. Raises ExportError for any other."""
    graph = _graph(model)
    if graph is None:
        raise ExportError(
            f"{model.name} is no functional or sequential Keras model: its layers cannot be told apart",
            "bisect needs the layers; the gates alone judge such a model",
        )
    made = Program()
    scope = {id(tensor): made.number(tensor) for tensor in graph._inputs}
    made.inputs = list(scope.values())
    _add(made, graph, scope, "")
    made.outputs = [scope[id(tensor)] for tensor in graph._outputs]
    return made


def _add(made: Program, graph: Any, scope: dict[int, int], path: str) -> None:
    """Add the calls of a graph whose inputs are in `scope`, and its other tensors to `scope`."""
    depths = graph._nodes_by_depth
    for node in (node for depth in sorted(depths, reverse=True) for node in depths[depth]):
        if node.is_input or any(id(tensor) not in scope for tensor in node.input_tensors):
            continue
        name, inner = f"{path}{node.operation.name}", _graph(node.operation)
        if inner is not None and _takes(inner, node.input_tensors):
            pairs = zip(inner._inputs, node.input_tensors, strict=True)
            within = {id(tensor): scope[id(given)] for tensor, given in pairs}
            _add(made, inner, within, f"{name}/")
            results = zip(node.outputs, inner._outputs, strict=True)
            scope.update({id(tensor): within[id(result)] for tensor, result in results})
            continue
        scope.update({id(tensor): made.number(tensor) for tensor in node.outputs})
        inputs = tuple(scope[id(tensor)] for tensor in node.input_tensors)
        outputs = tuple(scope[id(tensor)] for tensor in node.outputs)
        made.calls.append(Call(name, node.operation, node.arguments, scope, inputs, outputs))


def _graph(operation: Any) -> Any:
    """The graph of layers that a functional or sequential model is, called as Keras calls those; None of all else."""
    import keras
    from keras.src.models import Functional

    graph = getattr(operation, "_functional", None) or operation
    known = (Functional.call, keras.Sequential.call)
    return graph if isinstance(graph, Functional) and type(operation).call in known else None


def _takes(graph: Any, tensors: Any) -> bool:
    """Whether the layers of a graph take these tensors as they are."""
    ranks = [len(tensor.shape) for tensor in graph._inputs]
    return ranks == [len(tensor.shape) for tensor in tensors]

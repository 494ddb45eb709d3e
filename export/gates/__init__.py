"""What stands between a converted model and the user: three gates, each of which may refuse the file.

`structure` asks ONNX' own checker and whether ONNX Runtime can load it, `contract` whether inputs and outputs are the
Keras model's, `numeric` whether ONNX Runtime gives Keras' answers. Besides, `latency` keeps a graph pass only if the
graph is not slower with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from keronyx.export.layers import LAYER


@dataclass(frozen=True)
class Refusal:
    """Why a gate keeps a file back; `layer` is the Keras layer it is about, where that can be told."""

    gate: str
    said: str
    layer: str = ""
    trial: int = 0
    """Of the numeric gate: which input it is about."""

    def __str__(self) -> str:
        where = f" (layer {self.layer})" if self.layer else ""
        return f"the {self.gate} gate refuses the ONNX file: {self.said}{where}"


class RefusedError(Exception):
    """A refusal on its way out of a gate."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


def subgraphs(node: Any) -> list[Any]:
    """Bodies of a Loop, a Scan or an If (NodeProto)."""
    return [g for a in node.attribute for g in [*([a.g] if a.HasField("g") else []), *a.graphs]]


def all_nodes(graph: Any) -> list[Any]:
    """Every node of a GraphProto, those of subgraphs included."""
    found = list(graph.node)
    for node in graph.node:
        for inner in subgraphs(node):
            found += all_nodes(inner)
    return found


def layer_of_message(said: str, nodes: Iterable[Any]) -> str:
    """Keras layer of the node (or of the maker of the tensor) an error message names; empty when it names none."""
    best, layer = "", ""
    for node in nodes:
        found = next((entry.value for entry in node.metadata_props if entry.key == LAYER), "")
        for name in (node.name, *node.output):
            if found and len(name) > max(len(best), 3) and name in said:
                best, layer = name, found
    return layer

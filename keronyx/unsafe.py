"""What a TensorFlow graph from an unknown hand may not do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keronyx.errors import UntrustedModelError

UNSAFE_OPS = frozenset({"ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "EagerPyFunc", "PyFuncStateless"})
"""TensorFlow operators of a SavedModel that touch files or call Python."""


def refuse_unsafe_graph(graph_def: Any, name: str) -> None:
    """Raise UntrustedModelError when a GraphDef touches files or calls Python. To be asked before it is imported."""
    if found := sorted(UNSAFE_OPS & operators(graph_def)):
        raise UntrustedModelError(f"{name} uses {', '.join(found)}", "add --trust only if you know who made it")


def refuse_unsafe_saved_model(folder: Path, name: str) -> None:
    """The same for every graph of a SavedModel folder, before it is loaded: its initialisers already run then."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    for graph in SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs:
        refuse_unsafe_graph(graph.graph_def, name)


def operators(graph_def: Any) -> set[str]:
    """Names of all operators of a GraphDef, those inside its functions included."""
    nodes = list(graph_def.node)
    for function in graph_def.library.function:
        nodes.extend(function.node_def)
    return {node.op for node in nodes}

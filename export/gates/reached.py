"""Which layers an input reaches through integers: what its numbers mean is theirs to say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def by_integers(
    tensor: Any, graph: Any, beyond: Callable[[list[Any]], bool] = lambda layers: True
) -> Iterator[tuple[Any, list[Any]]]:
    """Each operation of a Keras graph that takes `tensor`, or integers made of it: what it takes, and its layers.

    Args:
        graph: a functional model; of any other nothing is known.
        beyond: told an operation's layers, whether to follow what they make.
    """
    import keras

    nodes = [node for depth in getattr(graph, "_nodes_by_depth", {}).values() for node in depth]
    waiting, seen = [tensor], {id(tensor)}
    while waiting:
        one = waiting.pop()
        for node in nodes:
            if not any(given is one for given in node.input_tensors):
                continue
            operation = node.operation
            layers = operation._flatten_layers() if isinstance(operation, keras.layers.Layer) else []
            yield one, layers
            for made in node.outputs if beyond(layers) else ():
                if "int" in str(made.dtype) and id(made) not in seen:
                    seen.add(id(made))
                    waiting.append(made)

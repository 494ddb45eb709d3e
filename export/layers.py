"""Which Keras layer a node of a converted graph comes from.

While a model is traced, every layer and operation opens a TensorFlow name scope that says where it is in the model
(`encoder/conv1`), so that the operators' names say it, and tf2onnx keeps those. Nodes it makes up itself get the layer
of what they are computed from, else of what they are for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from keronyx.export.substitutions.scope_names import scope_name
from keronyx.recast import replaced

if TYPE_CHECKING:
    import onnx_ir as ir

LAYER = "keronyx.layer"
"""Key in the `metadata_props` of an ONNX node: its layer's path."""

CALL = re.compile(r"(Stateful)?PartitionedCall(_\d+)?")
"""Scopes that say nothing: TensorFlow's own, of a function called."""

Scopes = dict[str, str]
"""TensorFlow scope, without the final slash -> path of the Keras layer."""


@contextmanager
def scopes_of(root: Any) -> Iterator[Scopes]:
    """Have layers and operations called within `root` open scopes; yields the dictionary they are entered into."""
    import tensorflow as tf

    scopes: Scopes = {}
    with _around_calls(root, lambda path: tf.name_scope(f"{_own(scope_name(path), path, scopes)}/")):
        yield scopes


@contextmanager
def failing_in(root: Any, found: list[str]) -> Iterator[None]:
    """Put the path of the innermost layer that an exception comes out of into `found`: Keras tells its class alone."""

    @contextmanager
    def noted(path: str) -> Iterator[None]:
        try:
            yield
        except Exception:
            if not (found and found[0].startswith(f"{path}/")):
                found[:] = [path]
            raise
        found.clear()

    with _around_calls(root, noted):
        yield


@contextmanager
def _around_calls(root: Any, around: Callable[[str], AbstractContextManager[Any]]) -> Iterator[None]:
    """Have every call of a layer or operation within `root` made inside `around` of its path."""
    import keras

    open_calls: list[Any] = []

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            if self is root or (open_calls and open_calls[-1] is self):
                return original(self, *args, **kwargs)
            open_calls.append(self)
            try:
                with around("/".join(operation.name for operation in open_calls)):
                    return original(self, *args, **kwargs)
            finally:
                open_calls.pop()

        return call

    with ExitStack() as stack:
        for kind in (keras.Operation, keras.layers.Layer):
            stack.enter_context(replaced(kind, "__call__", wrapped(kind.__call__)))
        yield


def _own(wanted: str, path: str, scopes: Scopes) -> str:
    """A scope that is this path's alone, and entered as that: two names may differ in what a scope cannot hold."""
    scope, number = wanted, 1
    while scopes.setdefault(scope, path) != path:
        scope, number = f"{wanted}_{number}", number + 1
    return scope


def layer_of(name: str, scopes: Mapping[str, str]) -> str | None:
    """Path of the layer that made the operator (or tensor) of this name, the innermost one. Without scopes, as for a
    SavedModel, the operator's own scope, which mostly is that."""
    if not scopes:
        return "/".join(part for part in name.split("/")[:-1] if not CALL.fullmatch(part)) or None
    while name:
        name = name.rpartition("/")[0]
        if name in scopes:
            return scopes[name]
    return None


def layer_in(text: str, scopes: Mapping[str, str]) -> str | None:
    """Path of the innermost layer whose operators (or tensors) a text names."""
    found = [scope for scope in scopes if f"{scope}/" in text]
    return scopes[max(found, key=len)] if found else None


def label(model: ir.Model, scopes: Mapping[str, str]) -> None:
    """Write its layer into every node's metadata, as far as it can be told."""
    nodes = list(model.graph.all_nodes())
    for node in nodes:
        if layer := layer_of(node.name or "", scopes):
            node.metadata_props[LAYER] = layer
    for node in nodes:
        before = (value.producer() for value in node.inputs if value is not None)
        _take(node, (other for other in before if other is not None))
    for node in reversed(nodes):
        _take(node, (use.node for value in node.outputs for use in value.uses()))


def _take(node: ir.Node, others: Iterator[ir.Node]) -> None:
    if LAYER not in node.metadata_props:
        found = next((o.metadata_props[LAYER] for o in others if LAYER in o.metadata_props), None)
        if found is not None:
            node.metadata_props[LAYER] = found

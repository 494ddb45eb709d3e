"""How the layers of an old functional model are connected -> as Keras 3 writes it.

Keras 2 wrote [layer, call, output, keywords] for each input, counted the calls of a model inside the model from 1, and
put tensors among the keywords as [layer, call, output] too.
"""

from __future__ import annotations

from typing import Any

from keronyx.errors import SourceError
from keronyx.export.legacy.tf_ops import operation

Config = dict[str, Any]

CONSTANT = "_CONSTANT_VALUE"


def connect(inner: Config, old: list[Config], layers: dict[str, Config]) -> Config:
    """The functional model's configuration of its translated layers (by name) and their old connections."""
    names = set(layers)
    offsets = _offsets(inner, old, layers)

    def tensor(ref: list[Any]) -> Any:
        if ref[0] == CONSTANT:
            return ref[2]
        history = [ref[0], ref[1] - offsets.get(ref[0], 0), ref[2]]
        return {"class_name": "__keras_tensor__", "config": {"shape": [], "dtype": "float32", "keras_history": history}}

    def argument(value: Any) -> Any:
        if _is_ref(value, names):
            return tensor(value)
        if isinstance(value, dict) and value.get("class_name") == "__tuple__":
            return [argument(item) for item in value["items"]]
        if isinstance(value, list):
            return [argument(item) for item in value]
        return value

    def call(node: Any, name: str) -> Config:
        if isinstance(node, dict) and set(node) == {"args", "kwargs"}:
            return node  # as Keras 3 writes it
        if _is_ref(node, names):
            args, entries = [tensor(node)], [node]
        elif isinstance(node, list) and node and all(_is_ref(entry, names) for entry in node):
            inputs, entries = [tensor(entry) for entry in node], node
            args = inputs if len(inputs) == 1 else [inputs]
        else:
            raise SourceError(f"layer {name!r} is called in a way this version cannot read ({str(node)[:60]})")
        given = {key: value for entry in entries if len(entry) > 3 for key, value in entry[3].items()}
        kwargs = {key: argument(value) for key, value in given.items() if value is not None}
        return {"args": args, "kwargs": kwargs}

    connected = []
    for before, (name, layer) in zip(old, layers.items(), strict=True):
        calls = [call(node, name) for node in before.get("inbound_nodes") or []]
        if layer["class_name"] in ("TFOpLambda", "SlicingOpLambda"):
            layer, calls = operation(layer, name, calls)
        connected.append({**layer, "name": name, "inbound_nodes": calls})

    def end(ref: Any) -> Any:
        if not _is_ref(ref, names):
            return {k: end(v) for k, v in ref.items()} if isinstance(ref, dict) else [end(item) for item in ref]
        sequential = layers[ref[0]]["class_name"] == "Sequential"  # Keras 3 counts those from 0, functional ones from 1
        return [ref[0], ref[1] - (offsets.get(ref[0], 0) if sequential else 0), ref[2]]

    return {
        "name": inner.get("name", "model"),
        "trainable": inner["trainable"],
        "layers": connected,
        "input_layers": _single(end(inner["input_layers"])),
        "output_layers": _single(end(inner["output_layers"])),
    }


def _offsets(inner: Config, old: list[Config], layers: dict[str, Config]) -> dict[str, int]:
    """For each model inside the model, the number its first call has in the file."""
    models = {name for name, layer in layers.items() if layer["class_name"] in ("Functional", "Sequential")}
    seen: dict[str, int] = {}

    def look(value: Any) -> None:
        if _is_ref(value, models):
            seen[value[0]] = min(value[1], seen.get(value[0], value[1]))
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            look(item)

    look([layer.get("inbound_nodes") for layer in old])
    look([inner["input_layers"], inner["output_layers"]])
    return seen


def _is_ref(value: Any, names: set[str]) -> bool:
    """Whether a value is [layer, call, output] or the same with keywords."""
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and (value[0] == CONSTANT or (value[0] in names and isinstance(value[1], int) and isinstance(value[2], int)))
    )


def _single(refs: Any) -> Any:
    """One input or output as itself: old files wrote lists, and a model of one tensor is called with that tensor."""
    return refs[0] if isinstance(refs, list) and len(refs) == 1 and isinstance(refs[0], list) else refs

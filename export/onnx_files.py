"""ONNX files: how they are written, what they are called while they are made, and what lies beside one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx_ir as ir

RAW, ANSWERS, ROUNDED, PROBE = "raw.onnx", "answers.npz", "rounded.npz", "probe"
"""What a conversion leaves for its second process: the graph, trials with Keras' answers, those under rounding, and
(`.onnx`, `.npz`) the graph that gives every layer's output."""

DATA = ".data"
"""What the name of the file with a model's weights ends with, where they are not in the model's own."""

REJECTED = ".rejected"
"""What the name of a file ends with that a gate refused."""

INLINE_BYTES = 2**31 - 2**24
"""Weights of more than this are stored in a file of their own: protobuf ends at 2 GiB."""

RAW_THRESHOLD = 1024
"""Tensors of the raw graph above this many bytes are in a file of their own, which costs no memory."""


def save(model: ir.Model, path: Path) -> None:
    """Write the model, with its weights in `<name>.data` beside it when they are too much for one file."""
    import onnx_ir as ir

    values = [v.const_value for g in model.graphs() for v in g.initializers.values() if v.const_value is not None]
    if sum(tensor.nbytes for tensor in values) > INLINE_BYTES:
        ir.save(model, path, external_data=path.name + DATA, size_threshold_bytes=RAW_THRESHOLD)
        return
    kept = [(value, value.const_value) for graph in model.graphs() for value in graph.initializers.values()]
    try:
        ir.save(ir.external_data.load_to_model(model), path)
    finally:
        for value, tensor in kept:
            value.const_value = tensor
    beside(path).unlink(missing_ok=True)


def save_raw(model: ir.Model, path: Path) -> None:
    """Write a graph for another process of this machine: large tensors one by one into a file of their own."""
    import onnx_ir as ir

    ir.save(model, path, external_data=path.name + DATA, size_threshold_bytes=RAW_THRESHOLD)


def beside(path: Path) -> Path:
    """The file with the weights of the model at `path`, whether or not there is one."""
    return path.with_name(path.name + DATA)


def rejected(path: Path) -> Path:
    """What the model at `path` is called when a gate refuses it."""
    return path.with_name(path.name + REJECTED)


def without_weights(path: Path) -> Any:
    """ModelProto with the names and shapes of its large weights alone."""
    import onnx

    proto = onnx.load(str(path), load_external_data=False)
    for tensor in proto.graph.initializer:
        if len(tensor.raw_data) > RAW_THRESHOLD:
            tensor.ClearField("raw_data")
    return proto

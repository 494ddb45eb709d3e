"""Keras -> ONNX with tf2onnx, called directly: names, order and weights kept, every node labelled with its layer.

Keras' own exporter patches tf2onnx process-wide and loses the output names. `converted` gives the graph as tf2onnx
makes it, under the model's names; `convert` runs the graph passes on it and writes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keronyx.errors import ExportError
from keronyx.export import signature
from keronyx.export.converter import OPSET as OPSET
from keronyx.export.converter import arguments, tensor_names, to_onnx
from keronyx.export.dims import NOTHING, Asked, input_dims, output_dims
from keronyx.export.gates import contract, structure
from keronyx.export.gates.contract import read_signature as read_signature
from keronyx.export.layers import Scopes, label, layer_of
from keronyx.export.lifting import give_large_values, initializer, trace_lifted
from keronyx.export.precisions import refuse_precision
from keronyx.export.rewrite import rewrite
from keronyx.export.rewrite.fold_constants import fold_constants
from keronyx.types import ModelSpec, TensorSpec

if TYPE_CHECKING:
    import onnx_ir as ir


def convert(model: Any, spec: ModelSpec, path: Path, asked: Asked = NOTHING) -> tuple[str, ...]:
    """Write `model` (a `keras.Model`, or a loaded SavedModel) to `path`, after all graph passes.

    Returns:
        Evidence: node counts and what was done.

    Raises:
        ExportError: an operator cannot be converted, or the written file breaks the contract.
    """
    import onnx
    import onnx_ir as ir

    graph, evidence = converted(model, spec, asked)
    applied = rewrite(graph)
    proto = ir.to_proto(graph)
    check(proto, spec)
    onnx.save(proto, str(path))
    said = [f"{a.name} {a.nodes_before} -> {a.nodes_after} nodes" for a in applied if a.changed]
    return (f"{len(proto.graph.node)} ONNX nodes", *evidence, *said)


def converted(model: Any, spec: ModelSpec, asked: Asked = NOTHING) -> tuple[ir.Model, list[str]]:
    """The model as tf2onnx converts it, inputs and outputs as the spec has them, and what was done to it before.

    Args:
        asked: the shapes asked for, whose names open dimensions get.

    Raises:
        ExportError: an operator cannot be converted; names the layer it comes from.
    """
    import keras
    import onnx_ir as ir

    scopes: Scopes = {}
    if isinstance(model, keras.Model):
        refuse_precision(model)
        traced = trace_lifted(model, spec.inputs, spec.outputs)
        function, weights, scopes = traced.function, traced.weights, traced.scopes
        evidence = [f"{traced.folded} BatchNorm folded"] if traced.folded else []
    else:
        function, weights, evidence = signature.trace_saved_model(model, spec.inputs), {}, []
    proto = to_onnx(function, scopes)
    _separate(proto.graph)
    refuse_foreign(proto, scopes)
    lifted = _name(proto, function, spec, weights)
    _say_dims(proto, model, spec, asked)
    fold_constants(proto)
    graph = ir.from_proto(proto)
    give_large_values(graph, lifted)
    label(graph, scopes)
    return graph, evidence


def refuse_foreign(proto: Any, scopes: Scopes) -> None:
    """Raise ExportError when operators were left under TensorFlow's names; says which, and of which layers."""
    foreign = [node for node in _nodes(proto.graph) if not _is_onnx(node, OPSET)]
    if not foreign:
        return
    operators = ", ".join(sorted({node.op_type for node in foreign}))
    layers = sorted({layer for node in foreign if (layer := layer_of(node.name, scopes))})
    where = f" (layer {', '.join(layers[:3])}{' and others' if len(layers) > 3 else ''})" if layers else ""
    raise ExportError(f"tf2onnx cannot convert this model: no ONNX operator for TensorFlow's {operators}{where}")


def check(proto: Any, spec: ModelSpec) -> None:
    """Raise ExportError unless the checker, strict shape inference and the signature agree with the file."""
    if refusal := structure.refusal(proto) or contract.refusal(proto, spec):
        raise ExportError(str(refusal))


def _name(proto: Any, function: Any, spec: ModelSpec, weights: dict[str, Any]) -> dict[str, Any]:
    """Give inputs and outputs the model's names and order, and turn the lifted placeholders into initializers. Returns
    their variables by name."""
    import onnx

    graph = proto.graph
    wanted_inputs = tensor_names(arguments(function))
    renamed = dict(zip(wanted_inputs[: len(spec.inputs)], (t.name for t in spec.inputs), strict=True))
    lifted = dict(zip(wanted_inputs[len(spec.inputs) :], weights, strict=True))
    produced = {name: tensor.name for name, tensor in zip(tensor_names(function.outputs), spec.outputs, strict=True)}
    _rename(graph, renamed | produced)
    graph.initializer.extend(initializer(name, weights[weight]) for name, weight in lifted.items())
    del graph.input[:], graph.output[:], graph.value_info[:]
    graph.name = re.sub(r"\W", "_", spec.name)
    proto.producer_name = "keronyx"
    onnx.helper.set_model_props(
        proto, {"keronyx.signature": _signature_json(spec), "keronyx.content_hash": spec.content_hash}
    )
    return {name: weights[weight] for name, weight in lifted.items()}


def _signature_json(spec: ModelSpec) -> str:
    """Inputs and outputs as the Keras model has them, for whoever finds the file without its manifest."""

    def told(tensors: Sequence[TensorSpec]) -> list[dict[str, Any]]:
        return [{"name": t.name, "shape": t.shape, "dtype": t.dtype} for t in tensors]

    return json.dumps({"model": spec.name, "inputs": told(spec.inputs), "outputs": told(spec.outputs)})


def _rename(graph: Any, renamed: dict[str, str]) -> None:
    """Rename tensors everywhere, subgraphs included; an inner tensor that happens to have a new name steps aside."""
    taken = set(renamed.values())

    def new(name: str) -> str:
        return renamed.get(name) or (f"{name}__inner" if name in taken else name)

    for node in graph.node:
        node.input[:] = [new(name) for name in node.input]
        node.output[:] = [new(name) for name in node.output]
        for inner in _subgraphs(node):
            _rename(inner, renamed)
    for value in [*graph.initializer, *graph.input, *graph.output, *graph.value_info]:
        value.name = new(value.name)


def _separate(graph: Any, outer: frozenset[str] = frozenset()) -> None:
    """Give values inside loops names of their own: a name TensorFlow uses again in a loop's body, ONNX may not."""
    here = [*graph.input, *graph.initializer]
    own = {value.name for value in here} | {name for node in graph.node for name in node.output}
    _rename(graph, {name: f"{name}__in_{graph.name}" for name in own & outer})
    for node in graph.node:
        for inner in _subgraphs(node):
            _separate(inner, outer | own)


def _nodes(graph: Any) -> list[Any]:
    """Every node, those of subgraphs included."""
    found = list(graph.node)
    for node in graph.node:
        for inner in _subgraphs(node):
            found += _nodes(inner)
    return found


def _subgraphs(node: Any) -> list[Any]:
    """Bodies of a Loop or an If."""
    return [g for a in node.attribute for g in [*([a.g] if a.HasField("g") else []), *a.graphs]]


def _is_onnx(node: Any, opset: int) -> bool:
    """Whether the standard has the operator; tf2onnx leaves those it cannot convert under TensorFlow's name."""
    import onnx

    return bool(node.domain) or onnx.defs.has(node.op_type, max_inclusive_version=opset)


def _say_dims(proto: Any, model: Any, spec: ModelSpec, asked: Asked) -> None:
    """Give the open dimensions of inputs and outputs their names."""
    import keras

    trace = signature.trace if isinstance(model, keras.Model) else signature.trace_saved_model

    def shapes_at(inputs: Sequence[TensorSpec]) -> list[tuple[int | None, ...]]:
        return [tuple(tensor.shape) for tensor in trace(model, inputs).outputs]

    named = input_dims(spec.inputs, asked), output_dims(spec.inputs, spec.outputs, asked, shapes_at)
    for values, tensors, dims in (
        (proto.graph.input, spec.inputs, named[0]),
        (proto.graph.output, spec.outputs, named[1]),
    ):
        del values[:]
        values.extend(_value_info(tensor, of_one) for tensor, of_one in zip(tensors, dims, strict=True))


def _value_info(tensor: TensorSpec, dims: Sequence[int | str | None]) -> Any:
    import onnx

    dtype = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
    return onnx.helper.make_tensor_value_info(tensor.name, dtype, dims)

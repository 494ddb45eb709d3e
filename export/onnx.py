"""Keras -> ONNX with tf2onnx, called directly, names and weights kept.

Raw tf2onnx copies the whole graph, weights included, for each of its optimizer passes (tf2onnx/optimizer/__init__.py),
and Keras' own exporter patches tf2onnx process-wide and loses the output names. Here the large kernels stay out of
the graph while it is converted: they are traced as placeholders (Keras' `stateless_call` makes a model a function of
its variables) and put back as initializers afterwards.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keronyx.errors import ExportError
from keronyx.export import signature
from keronyx.export.fold import fold_batchnorm
from keronyx.export.rewrite.fold_constants import fold_constants
from keronyx.process import one_line
from keronyx.types import Array, ModelSpec, TensorSpec

OPSET = 18
"""Newest operator set tf2onnx 1.17 writes."""

LIFT_BYTES = 65536
"""Kernels of at least this size stay out of the graph during conversion."""

KERNELS = frozenset({"kernel", "depthwise_kernel", "pointwise_kernel", "embeddings", "alpha"})
"""Variables whose consumers only need their shape. Others (biases) must stay constants: tf2onnx's transpose optimizer
moves transposes through constants only. It moves none through PReLU slopes (`alpha`) large enough to be one a pixel."""


def convert(model: Any, spec: ModelSpec, path: Path) -> tuple[str, ...]:
    """Write `model` (a `keras.Model`, or a loaded SavedModel) to `path`.

    Returns:
        Evidence: node counts and what was done.

    Raises:
        ExportError: an operator cannot be converted, or the written file breaks the contract.
    """
    import keras
    import onnx

    _quiet_tf2onnx()
    if isinstance(model, keras.Model):
        model, folded = fold_batchnorm(model)
        function, weights = _trace_lifted(model, spec.inputs)
        evidence = [f"{folded} BatchNorm folded"] if folded else []
    else:
        function, weights, evidence = signature.trace_saved_model(model, spec.inputs), {}, []
    proto = _tf2onnx(function)
    _name(proto, function, spec, weights)
    fold_constants(proto)
    check(proto, spec)
    onnx.save(proto, str(path))
    return (f"{len(proto.graph.node)} ONNX nodes", *evidence)


def check(proto: Any, spec: ModelSpec) -> None:
    """Raise ExportError unless the checker, strict shape inference and the signature agree with the file."""
    import onnx

    if foreign := sorted({node.op_type for node in _nodes(proto.graph) if not _is_onnx(node, OPSET)}):
        raise ExportError(f"tf2onnx cannot convert this model: no ONNX operator for TensorFlow's {', '.join(foreign)}")
    try:
        onnx.checker.check_model(proto, full_check=True)
    except Exception as error:
        raise ExportError(f"the ONNX checker refuses the converted model: {one_line(error)}") from error
    made = read_signature(proto)
    for kind, wanted, found in (("input", spec.inputs, made[0]), ("output", spec.outputs, made[1])):
        if [(t.name, t.dtype, t.shape) for t in wanted] != [(t.name, t.dtype, t.shape) for t in found]:
            raise ExportError(f"the ONNX {kind}s are {_brief(found)}, the model's {_brief(wanted)}")


def read_signature(proto: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of an ONNX model (initializers are not inputs)."""
    import onnx

    initializers = {tensor.name for tensor in proto.graph.initializer}

    def specs(values: Any) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(
                value.name,
                tuple(d.dim_value if d.HasField("dim_value") else None for d in value.type.tensor_type.shape.dim),
                str(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)),
            )
            for value in values
            if value.name not in initializers
        )

    return specs(proto.graph.input), specs(proto.graph.output)


def _trace_lifted(model: Any, inputs: Sequence[TensorSpec]) -> tuple[Any, dict[str, Array]]:
    """Trace the model with its large kernels as extra inputs `weight_0`, `weight_1`, ...; return their values too."""
    import keras
    import tensorflow as tf

    recurrent = {
        id(v) for layer in model._flatten_layers() if isinstance(layer, keras.layers.RNN) for v in layer.variables
    }  # tf2onnx looks into those of an LSTM or GRU to make one node of its loop
    lifted = [v for v in model.variables if v.name in KERNELS and _bytes(v) >= LIFT_BYTES and id(v) not in recurrent]
    names = {id(variable): f"weight_{i}" for i, variable in enumerate(lifted)}

    values = {id(v): v.numpy() for v in model.variables}

    def value_of(variable: Any, given: dict[str, Any]) -> Any:
        name = names.get(id(variable))
        return given[name] if name else tf.constant(values[id(variable)])

    def call(*flat: Any) -> list[Any]:
        given = {f"weight_{i}": tensor for i, tensor in enumerate(flat[len(inputs) :])}
        outputs, _ = model.stateless_call(
            [value_of(v, given) for v in model.trainable_variables],
            [value_of(v, given) for v in model.non_trainable_variables],
            signature.structured_inputs(model, flat[: len(inputs)]),
            training=False,
        )
        return [tf.identity(tensor) for tensor in signature.flat_outputs(outputs)]

    weight_specs = [tf.TensorSpec(v.shape, v.dtype, name=names[id(v)]) for v in lifted]
    function = tf.function(call, autograph=False).get_concrete_function(*signature.tensor_specs(inputs), *weight_specs)
    return function, {names[id(v)]: values[id(v)] for v in lifted}


def _tf2onnx(function: Any) -> Any:
    """ConcreteFunction -> ModelProto. An operator without a conversion raises, where tf2onnx's own entry points carry
    on and write a file that cannot run."""
    import tensorflow as tf
    from tf2onnx import optimizer, tf_loader
    from tf2onnx.tfonnx import process_tf_graph

    inputs, outputs = _tensor_names(_arguments(function)), _tensor_names(function.outputs)
    try:
        with tf.device("/cpu:0"):
            frozen = tf_loader.from_function(function, inputs, outputs)
            with tf.Graph().as_default() as graph:
                tf.import_graph_def(frozen, name="")
                converted = process_tf_graph(
                    graph, continue_on_error=False, opset=OPSET, input_names=inputs, output_names=outputs
                )
            return optimizer.optimize_graph(converted).make_model("keronyx")
    except Exception as error:
        raise ExportError(f"tf2onnx cannot convert this model: {one_line(error)}") from error


def _name(proto: Any, function: Any, spec: ModelSpec, weights: dict[str, Array]) -> None:
    """Give inputs and outputs the model's names and order, and turn the lifted placeholders into initializers."""
    import onnx

    graph = proto.graph
    wanted_inputs = _tensor_names(_arguments(function))
    renamed = dict(zip(wanted_inputs[: len(spec.inputs)], (t.name for t in spec.inputs), strict=True))
    lifted = dict(zip(wanted_inputs[len(spec.inputs) :], weights, strict=True))
    produced = {name: tensor.name for name, tensor in zip(_tensor_names(function.outputs), spec.outputs, strict=True)}
    _rename(graph, renamed | produced)
    for name, weight in lifted.items():
        graph.initializer.append(onnx.numpy_helper.from_array(weights[weight], name))
    kept = [_value_info(tensor) for tensor in spec.inputs]
    made = [_value_info(tensor) for tensor in spec.outputs]
    del graph.input[:], graph.output[:], graph.value_info[:]
    graph.input.extend(kept)
    graph.output.extend(made)
    graph.name = re.sub(r"\W", "_", spec.name)
    proto.producer_name = "keronyx"
    onnx.helper.set_model_props(
        proto, {"keronyx.inputs": ",".join(t.name for t in spec.inputs), "keronyx.content_hash": spec.content_hash}
    )


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


def _arguments(function: Any) -> list[Any]:
    """The tensors a ConcreteFunction is called with. Behind them in its inputs come captured variables and constants,
    such as the mean of a Normalization layer, which freezing puts into the graph."""
    return list(function.inputs[: len(function.inputs) - len(function.captured_inputs)])


def _value_info(tensor: TensorSpec) -> Any:
    import onnx

    shape = [size if size is not None else ("batch" if i == 0 else f"dim_{i}") for i, size in enumerate(tensor.shape)]
    return onnx.helper.make_tensor_value_info(
        tensor.name, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype)), shape
    )


def _tensor_names(tensors: Sequence[Any]) -> list[str]:
    return [tensor.name for tensor in tensors]


def _bytes(variable: Any) -> int:
    return int(np.prod(variable.shape) * np.dtype(variable.dtype).itemsize)


def _brief(tensors: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{t.name} {t.dtype}{list(t.shape)}" for t in tensors)


def _quiet_tf2onnx() -> None:
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)

"""TensorFlow function -> ONNX with tf2onnx, without the work it does for nothing.

tf2onnx's own entry points carry on where an operator has no conversion, freeze what has no variables, copy the graph
before each of its optimizers, and run those of operators the graph does not have.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from keronyx.errors import ExportError, KeronyxError
from keronyx.export.layers import Scopes, layer_in, layer_of
from keronyx.export.operators import handlers
from keronyx.export.operators.compiled import inlined
from keronyx.process import one_line
from keronyx.recast import replaced

OPSET = 18
"""Newest operator set tf2onnx 1.17 writes."""

ONLY_FOR = {
    "remove_redundant_upsample": {"Upsample"},
    "const_dequantize_optimizer": {"DequantizeLinear"},
    "loop_optimizer": {"Loop"},
    "reshape_optimizer": {"Reshape"},
    "global_pool_optimizer": {"ReduceMean", "ReduceMax"},
    "q_dq_optimizer": {"QuantizeLinear", "DequantizeLinear"},
    "remove_identity": {"Identity"},
    "einsum_optimizer": {"Einsum"},
}
"""Optimizers of tf2onnx that look at these operators alone."""


def arguments(function: Any) -> list[Any]:
    """The tensors a ConcreteFunction is called with. Behind them in its inputs come captured variables and constants,
    such as the mean of a Normalization layer, which freezing puts into the graph."""
    return list(function.inputs[: len(function.inputs) - len(function.captured_inputs)])


def to_onnx(function: Any, scopes: Scopes) -> Any:
    """ConcreteFunction -> ModelProto, inputs and outputs under TensorFlow's names.

    Raises:
        ExportError: an operator has no conversion; names the layer it comes from.
    """
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    inputs, outputs = tensor_names(arguments(function)), tensor_names(function.outputs)
    failures = _Failures()
    try:
        with failures:
            frozen = _frozen(function, inputs, outputs)
            return _converted(frozen, inputs, outputs).make_model("keronyx")
    except (KeronyxError, MemoryError):
        raise
    except Exception as error:
        layer = next((found for name in failures.nodes if (found := layer_of(name, scopes))), None)
        layer = layer or layer_in(str(error), scopes)
        where = f" (layer {layer})" if layer else ""
        raise ExportError(f"tf2onnx cannot convert this model: {one_line(error)}{where}") from error


def tensor_names(tensors: Sequence[Any]) -> list[str]:
    """Names of TensorFlow's tensors, such as `conv/BiasAdd:0`."""
    return [tensor.name for tensor in tensors]


def _frozen(function: Any, inputs: list[str], outputs: list[str]) -> Any:
    """The function as one GraphDef without variables, constants folded."""
    import tensorflow as tf
    from tf2onnx import tf_loader

    graph_def = function.graph.as_graph_def(add_shapes=True)
    with tf.device("/cpu:0"):
        if function.captured_inputs or graph_def.library.function:
            return inlined(tf_loader.from_function(function, inputs, outputs), inputs, outputs)
        with tf.Graph().as_default():
            return tf_loader.tf_optimize(inputs, outputs, _needed(graph_def, [*inputs, *outputs]))


def _needed(graph_def: Any, tensors: Sequence[str]) -> Any:
    """The graph of what these tensors are computed from."""
    nodes = {node.name: node for node in graph_def.node}
    needed, waiting = set[str](), list(tensors)
    while waiting:
        name = waiting.pop().lstrip("^").partition(":")[0]
        if name not in needed:
            needed.add(name)
            waiting += nodes[name].input
    made = type(graph_def)(versions=graph_def.versions)
    made.node.extend(node for node in graph_def.node if node.name in needed)
    return made


def _converted(frozen: Any, inputs: list[str], outputs: list[str]) -> Any:
    """tf2onnx's graph after its own optimizers. Where one of these fails, once more, each on a copy of the graph."""
    import tensorflow as tf
    from tf2onnx.optimizer import optimize_graph
    from tf2onnx.tfonnx import process_tf_graph

    def made() -> Any:
        with tf.device("/cpu:0"), tf.Graph().as_default() as graph:
            tf.import_graph_def(frozen, name="")
            return process_tf_graph(
                graph,
                continue_on_error=False,
                opset=OPSET,
                custom_op_handlers={operator: (handler, []) for operator, handler in handlers().items()},
                input_names=list(inputs),
                output_names=list(outputs),
            )

    converted = made()
    try:
        with _protos_at_the_end():
            return optimize_graph(converted, catch_errors=False, optimizers=_Optimizers(converted))
    except (KeronyxError, MemoryError):
        raise
    except Exception:
        return optimize_graph(made(), catch_errors=True)


class _Optimizers:
    """tf2onnx's optimizers in their order, less those with nothing to look at when it is their turn."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph

    def items(self) -> Iterator[tuple[str, Any]]:
        from tf2onnx.optimizer import TransposeOptimizer, _get_optimizers

        for name, made in _get_optimizers().items():
            if name not in ONLY_FOR or ONLY_FOR[name] & self.graph.dump_node_statistics().keys():
                yield name, _transpose_optimizer() if made is TransposeOptimizer else made


def _transpose_optimizer() -> type:
    """tf2onnx's own, which goes through all nodes from the first after each step, shown none but the transposes it
    looks for."""
    from tf2onnx.optimizer import TransposeOptimizer

    class Shown(TransposeOptimizer):  # type: ignore[misc]
        """`nodes` is read once before all steps, then before each, and once after all."""

        moving = False

        @property
        def nodes(self) -> Any:
            every = self._g.get_nodes()
            return (node for node in every if node.op.op_type == "Transpose") if self.moving else every

        def pre_optimize_action(self) -> None:
            super().pre_optimize_action()
            self.moving = True

        def post_optimize_action(self) -> None:
            self.moving = False
            super().post_optimize_action()

    return Shown


@contextmanager
def _protos_at_the_end() -> Iterator[None]:
    """tf2onnx writes every node's protobuf anew after each optimizer, though none reads it. Bodies of loops are put in
    order by that, so where there are some it goes on."""
    from tf2onnx.graph import Graph

    original = Graph.update_proto

    def update(self: Any, *args: Any) -> None:
        if self.contained_graphs or self.parent_graph is not None:
            original(self, *args)

    with replaced(Graph, "update_proto", update):
        yield


class _Failures(logging.Handler):
    """Collects the names of the nodes tf2onnx could not convert, which it only logs."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.nodes: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if str(record.msg).startswith("Failed to convert node") and isinstance(record.args, tuple):
            self.nodes.append(str(record.args[0]))

    def __enter__(self) -> None:
        logging.getLogger("tf2onnx").addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("tf2onnx").removeHandler(self)

"""ONNX operators written while TensorFlow traces, for what TensorFlow has no operator of its own.

An ONNX node goes through the traced graph, and so through tf2onnx, as a `PyFunc`: an operator of any inputs and
outputs that nothing evaluates or optimizes. Its token is what is to be written. The trace is never run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from keronyx.export.operators import Handler

VEHICLE = "PyFunc"
PREFIX = "keronyx:"

Attribute = int | float | str | list[int] | list[float] | list[str]


def carried(
    operator: str,
    inputs: Sequence[Any],
    outputs: Sequence[tuple[Sequence[int | None], Any]],
    **attributes: Attribute,
) -> list[Any]:
    """Tensors that will be the outputs of this ONNX operator.

    Args:
        inputs: tensors; None for an optional input left away.
        outputs: shape and dtype of each.
    """
    import tensorflow as tf

    given = [tensor for tensor in inputs if tensor is not None]
    order = [tensor is not None for tensor in inputs]
    token = PREFIX + json.dumps([operator, order, attributes])
    made = tf.raw_ops.PyFunc(input=given, token=token, Tout=[dtype for _, dtype in outputs], name=operator)
    return [tf.ensure_shape(tensor, shape) for tensor, (shape, _) in zip(made, outputs, strict=True)]


def _write(graph: Any, node: Any, name: str, _: Any) -> None:
    """Put the ONNX node where its vehicle is. Raises ValueError for a PyFunc of somebody else."""
    token = node.get_attr("token").s.decode()
    if not token.startswith(PREFIX):
        raise ValueError(f"{name} calls Python ({token})")
    operator, order, attributes = json.loads(token.removeprefix(PREFIX))
    given = iter(node.input)
    inputs = [next(given) if there else "" for there in order]
    shapes = [graph.get_shape(output) for output in node.output]
    dtypes = [graph.get_dtype(output) for output in node.output]
    graph.remove_node(name)
    graph.make_node(
        operator, inputs, attr=attributes, outputs=list(node.output), shapes=shapes, dtypes=dtypes, name=name
    )


HANDLERS: dict[str, Handler] = {VEHICLE: _write}

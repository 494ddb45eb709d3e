"""tf.where(condition, a, b) as ONNX Where.

tf2onnx writes condition * a + (1 - condition) * b, which is NaN where the value not taken is infinite or NaN: in
where(x > 0, log(x), 0), say. It is also six nodes for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keronyx.export.operators import Builder, Handler


def _select(graph: Any, node: Any, name: str, _: Sequence[Any]) -> None:
    from onnx import TensorProto

    ranks = [len(shape) if (shape := graph.get_shape(tensor)) is not None else None for tensor in node.input[:2]]
    old = node.type == "Select"
    b = Builder(graph, node)
    condition, *values = b.inputs
    if old and ranks[0] == 1 and ranks[1] not in (None, 1):  # version 1 of the operator picks whole rows
        condition = b.make("Unsqueeze", condition, b.constant(list(range(1, ranks[1] or 1)), "int64"))
    kind = TensorProto.DataType.Name(b.made)
    if kind == "BOOL":
        taken = b.make("And", condition, values[0])
        b.finish("Or", taken, b.make("And", b.make("Not", condition), values[1]))
    elif kind in WIDER:
        wide = [b.make("Cast", value, to=TensorProto.DataType.Value(WIDER[kind])) for value in values]
        b.finish("Cast", b.make("Where", condition, *wide), to=b.made)
    else:
        b.finish("Where", condition, *values)


WIDER = {"INT8": "INT32", "INT16": "INT32", "UINT16": "INT32", "UINT32": "INT64"}
"""Integers ONNX Runtime's Where has no kernel for on CPU."""

HANDLERS: dict[str, Handler] = {"Select": _select, "SelectV2": _select}

"""One-hot vectors of whole numbers and booleans, by comparison: ONNX Runtime's OneHot and tf2onnx make floats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keronyx.export.operators import Builder, Handler


def _one_hot(graph: Any, node: Any, name: str, _: Sequence[Any]) -> None:
    from onnx import TensorProto
    from tf2onnx.onnx_opset.tensor import OneHot

    rank, depth = graph.get_rank(node.input[0]), node.inputs[1]
    floats = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
    if graph.get_dtype(node.output[0]) in floats[:1] or rank is None or not depth.is_const():
        OneHot.any_version_after9(18, graph, node)
        return
    places = np.arange(int(depth.get_tensor_value()))
    axis = node.get_attr_value("axis", -1) % (rank + 1)
    b = Builder(graph, node)
    kind = b.made if b.made in floats else TensorProto.INT64
    on, off = (b.make("Cast", value, to=kind) for value in b.inputs[2:])
    indices = b.make("Unsqueeze", b.inputs[0], b.constant([axis], "int64"))
    same = b.make("Equal", indices, b.constant(places.reshape(-1, *[1] * (rank - axis))))
    b.finish("Cast", b.make("Where", same, on, off), to=b.made)


HANDLERS: dict[str, Handler] = {"OneHot": _one_hot}

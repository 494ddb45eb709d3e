"""keras.ops.slice_update, an operator of XLA's, as ScatterND: places start where asked, moved until the update fits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keronyx.export.operators import Builder, Handler


def _update(graph: Any, node: Any, name: str, _: Sequence[Any]) -> None:
    from onnx import TensorProto

    whole, part = (graph.get_shape(tensor) for tensor in node.input[:2])
    if whole is None or part is None or min(*whole, *part) < 0:
        return  # left as it is, and so refused
    b = Builder(graph, node)
    asked = b.make("Cast", b.inputs[2], to=TensorProto.INT64)
    room = b.constant(np.subtract(whole, part), "int64")
    start = b.make("Max", b.make("Min", asked, room), b.constant([0], "int64"))
    places = b.make("Add", b.constant(np.moveaxis(np.indices(part), 0, -1), "int64"), start)
    b.finish("ScatterND", b.inputs[0], places, b.inputs[1])


HANDLERS: dict[str, Handler] = {"XlaDynamicUpdateSlice": _update}

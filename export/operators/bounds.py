"""Places in sorted numbers: Bucketize (Discretization, digitize) and searchsorted, by counting.

The place of x is how many numbers lie below it: those less than x (lower bound), or those x is not less than (upper
bound; a NaN is past all of them, as in TensorFlow).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keronyx.export.operators import Builder, Handler


def _bucketize(graph: Any, node: Any, name: str, _: Sequence[Any]) -> None:
    from onnx import TensorProto

    boundaries = list(node.get_attr("boundaries").floats)
    b = Builder(graph, node)
    x = b.make("Unsqueeze", b.inputs[0], b.constant([-1], "int64"))
    if b.dtype != TensorProto.DOUBLE:
        x = b.make("Cast", x, to=TensorProto.FLOAT)
    dtype = "float64" if b.dtype == TensorProto.DOUBLE else "float32"
    _count(b, b.make("Not", b.make("Less", x, b.constant(boundaries, dtype))))


def _lower_bound(graph: Any, node: Any, name: str, _: Sequence[Any]) -> None:
    b = Builder(graph, node)
    ordered, x = _beside(b)
    _count(b, b.make("Less", ordered, x))


def _upper_bound(graph: Any, node: Any, name: str, _: Sequence[Any]) -> None:
    b = Builder(graph, node)
    ordered, x = _beside(b)
    _count(b, b.make("Not", b.make("Less", x, ordered)))


def _beside(b: Builder) -> tuple[str, str]:
    """Sorted numbers (batch, 1, n) and values (batch, m, 1)."""
    return (
        b.make("Unsqueeze", b.inputs[0], b.constant([1], "int64")),
        b.make("Unsqueeze", b.inputs[1], b.constant([2], "int64")),
    )


def _count(b: Builder, below: str) -> None:
    b.finish("ReduceSum", b.make("Cast", below, to=b.made), b.constant([-1], "int64"), keepdims=0)


HANDLERS: dict[str, Handler] = {"Bucketize": _bucketize, "LowerBound": _lower_bound, "UpperBound": _upper_bound}

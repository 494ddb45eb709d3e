"""Floor division and its remainder, of negative numbers too.

tf2onnx divides whole numbers by ONNX' Div, which rounds towards zero, and takes the remainder of floats as
a - floor(a / b) b, which near multiples of b is off by b.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keronyx.export.operators import Builder, Handler

WHOLE = ("INT8", "INT16", "INT32", "INT64")


def _remainder(graph: Any, node: Any, name: str, _: Sequence[Any]) -> None:
    from onnx import TensorProto

    b = Builder(graph, node)
    dividend, divisor = b.inputs
    if TensorProto.DataType.Name(b.dtype) not in ("FLOAT", "DOUBLE", "FLOAT16"):
        b.finish("Mod", dividend, divisor)
        return
    rest, zero = b.make("Mod", dividend, divisor, fmod=1), b.constant(0)
    signs = b.make("Xor", b.make("Less", rest, zero), b.make("Less", divisor, zero))
    other = b.make("And", signs, b.make("Not", b.make("Equal", rest, zero)))
    b.finish("Where", other, b.make("Add", rest, divisor), rest)


def _quotient(graph: Any, node: Any, name: str, _: Sequence[Any]) -> None:
    from onnx import TensorProto
    from tf2onnx.onnx_opset.math import FloorDiv

    if TensorProto.DataType.Name(graph.get_dtype(node.input[0])) not in WHOLE:
        FloorDiv.version_6(graph, node)
        return
    b = Builder(graph, node)
    dividend, divisor = b.inputs
    multiple = b.make("Sub", dividend, b.make("Mod", dividend, divisor))
    b.finish("Div", multiple, divisor)


HANDLERS: dict[str, Handler] = {"FloorMod": _remainder, "FloorDiv": _quotient}

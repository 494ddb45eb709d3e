"""The sign of a float read from its bits, as in a SavedModel of Keras' argmax.

Only what asks for the highest bit may look at them: then any whole number of that sign will do. (For a Keras model
`substitutions/argmax.py` comes before.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keronyx.export.operators import Builder, Handler


def _bitcast(graph: Any, node: Any, name: str, _: Sequence[Any]) -> None:
    from onnx import TensorProto

    made, users = node.output[0], graph.find_output_consumers(node.output[0])
    floats = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
    asked = all(_asks_the_sign(user, made) for user in users)
    if graph.get_dtype(node.input[0]) not in floats or not asked or made in graph.outputs:
        return  # left as it is, and so refused
    b = Builder(graph, node)
    x, zero = b.inputs[0], b.constant(0)
    negative = b.make("Or", b.make("Less", x, zero), b.make("Less", b.make("Reciprocal", x), zero))
    b.finish("Neg", b.make("Cast", negative, to=b.made))


def _asks_the_sign(user: Any, bits: str) -> bool:
    """Whether it is bits < 0, or bits & the lowest int32, which is that bit alone."""
    if user.input[0] != bits or not user.inputs[1].is_const():
        return False
    value = user.inputs[1].get_tensor_value(as_list=False)
    return value.shape == () and (user.type, int(value)) in (("Less", 0), ("BitwiseAnd", -(2**31)))


HANDLERS: dict[str, Handler] = {"Bitcast": _bitcast}

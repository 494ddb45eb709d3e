"""Functions of one number: erfc (onnx/tensorflow-onnx #2463), expm1 and log1p, exact near zero as those are for; and
erf as ONNX Runtime looks for it in a GELU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from keronyx.export.operators import Builder, Handler


def _erf(graph: Any, node: Any, name: str, _: Sequence[Any]) -> None:
    """erf(x / sqrt(2)) with its division, which TensorFlow folds into a product: ONNX Runtime fuses a GELU by it."""
    scale = node.inputs[0]
    constants = [i for i in scale.inputs if i.is_const()] if scale.type == "Mul" else []
    values = [i.get_tensor_value(as_list=False) for i in constants]
    if len(values) == 1 and values[0].shape == () and abs(float(values[0]) - math.sqrt(0.5)) < 1e-6:
        x = next(tensor for tensor in scale.input if tensor not in constants[0].output)
        b = Builder(graph, node)
        b.finish("Erf", b.make("Div", x, b.constant(math.sqrt(2))))


def _erfc(graph: Any, node: Any, name: str, _: Sequence[Any]) -> None:
    b = Builder(graph, node)
    b.finish("Sub", b.constant(1), b.make("Erf", b.inputs[0]))


def _expm1(graph: Any, node: Any, name: str, _: Sequence[Any]) -> None:
    """exp(x) - 1 = tanh(x / 2) (exp(x) + 1): nothing cancels."""
    b = Builder(graph, node)
    half = b.make("Tanh", b.make("Mul", b.inputs[0], b.constant(0.5)))
    b.finish("Mul", half, b.make("Add", b.make("Exp", b.inputs[0]), b.constant(1)))


def _log1p(graph: Any, node: Any, name: str, _: Sequence[Any]) -> None:
    """log(u) x / (u - 1) where u is 1 + x as rounded: the quotient makes up for the rounding (W. Kahan; Goldberg, 1991,
    theorem 4). It is x where u is 1, and log(u) where u is x (very large, or infinite)."""
    b = Builder(graph, node)
    x, one = b.inputs[0], b.constant(1)
    u = b.make("Add", x, one)
    quotient = b.make("Div", x, b.make("Sub", u, one))
    factor = b.make("Where", b.make("Equal", u, x), one, quotient)
    b.finish("Where", b.make("Equal", u, one), x, b.make("Mul", b.make("Log", u), factor))


HANDLERS: dict[str, Handler] = {"Erf": _erf, "Erfc": _erfc, "Expm1": _expm1, "Log1p": _log1p}

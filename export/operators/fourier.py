"""Fourier transforms whose real and imaginary parts are taken, as products with matrices of cosines and sines.

tf2onnx converts the magnitude of a real one only; spectrogram layers want both parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keronyx.export.operators import Handler
from keronyx.types import Array


def _real(graph: Any, node: Any, name: str, _: Sequence[Any]) -> None:
    """RFFT of a real signal along its last axis, cut or padded with zeros to the length of the transform."""
    from tf2onnx.onnx_opset.signal import RFFTOp

    parts, size = _parts(graph, node), _last(graph, node.input[0])
    if parts is None or size is None or not node.inputs[1].is_const():
        if all(user.type == "ComplexAbs" for user in graph.find_output_consumers(node.output[0])):
            RFFTOp.version_13(graph, node)
        return  # else left as it is, and so refused
    length = int(node.inputs[1].get_tensor_value()[0])
    signal = node.input[0]
    cosines, sines = (matrix[:size, : length // 2 + 1] for matrix in _matrices(length, size))
    for part in parts:
        matrix = cosines if part.type == "Real" else -sines
        _becomes(graph, part, _product(graph, name, signal, matrix))
    graph.remove_node(name)


def _complex(graph: Any, node: Any, name: str, _: Sequence[Any]) -> None:
    """FFT of a signal made of its two parts."""
    from tf2onnx.onnx_opset.signal import FFTOp

    parts, pair = _parts(graph, node), node.inputs[0]
    size = _last(graph, pair.input[0]) if pair.type == "Complex" else None
    if parts is None or size is None:
        if all(user.type == "ComplexAbs" for user in graph.find_output_consumers(node.output[0])):
            FFTOp.version_13(graph, node)
        return
    real, imaginary = pair.input
    cosines, sines = _matrices(size, size)
    for part in parts:
        terms = ((real, cosines), (imaginary, sines)) if part.type == "Real" else ((imaginary, cosines), (real, -sines))
        products = [_product(graph, name, signal, matrix) for signal, matrix in terms]
        _becomes(graph, part, graph.make_node("Add", products, op_name_scope=name).output[0])
    graph.remove_node(name)
    if not graph.find_output_consumers(pair.output[0]):
        graph.remove_node(pair.name)


def _parts(graph: Any, node: Any) -> list[Any] | None:
    """The operators that take the two parts, when nothing else looks at the complex result."""
    users = graph.find_output_consumers(node.output[0])
    known = all(user.type in ("Real", "Imag") for user in users)
    return users if users and known and node.output[0] not in graph.outputs else None


def _last(graph: Any, tensor: str) -> int | None:
    shape = graph.get_shape(tensor)
    return shape[-1] if shape and shape[-1] > 0 else None


def _matrices(length: int, size: int) -> tuple[Array, Array]:
    """Cosines and sines (size, length) of the transform, zero past its length."""
    places = np.outer(np.arange(size), np.arange(length)) % length
    inside = np.arange(size)[:, None] < length
    angles = 2 * np.pi * places / length
    return np.cos(angles) * inside, np.sin(angles) * inside


def _product(graph: Any, name: str, signal: str, matrix: Array) -> str:
    from tf2onnx import utils

    kind = utils.map_onnx_to_numpy_type(graph.get_dtype(signal))
    constant = graph.make_const(utils.make_name(name), matrix.astype(kind))
    return str(graph.make_node("MatMul", [signal, constant.output[0]], op_name_scope=name).output[0])


def _becomes(graph: Any, node: Any, tensor: str) -> None:
    """The node passes this tensor on."""
    graph.replace_input(node, node.input[0], tensor, 0)
    node.type = "Identity"


HANDLERS: dict[str, Handler] = {"RFFT": _real, "FFT": _complex}

"""Count the multiply-accumulates of one call from an ONNX graph with static shapes."""

from __future__ import annotations

from math import prod
from typing import Any


def count_macs(proto: Any) -> int | None:
    """Multiply-accumulates of Conv, ConvTranspose, Gemm and MatMul; None when a needed shape is dynamic.

    Element-wise work is not counted, as usual. ConvTranspose is counted at its input: each input value meets every
    kernel entry once. GFLOP is twice the figure in units of 10**9.
    """
    import onnx

    graph = onnx.shape_inference.infer_shapes(proto).graph
    shapes = {
        value.name: [d.dim_value if d.HasField("dim_value") else None for d in value.type.tensor_type.shape.dim]
        for value in [*graph.value_info, *graph.input, *graph.output]
    }
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    total = 0
    for node in graph.node:
        if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            continue
        a, b, out = (shapes.get(name) for name in (node.input[0], node.input[1], node.output[0]))
        if a is None or b is None or out is None or None in [*a, *b, *out]:
            return None
        if node.op_type == "Conv":  # kernel: filters x channels/groups x spatial
            total += prod(out) * prod(b[1:])  # type: ignore[arg-type]
        elif node.op_type == "ConvTranspose":  # kernel: channels x filters/groups x spatial
            total += prod(a) * prod(b[1:])  # type: ignore[arg-type]
        else:
            transposed = any(x.name == "transA" and x.i for x in node.attribute)
            total += prod(out) * (a[0] if transposed else a[-1])  # type: ignore[arg-type, operator]
    return total

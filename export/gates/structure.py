"""Is it an ONNX model that can be loaded? ONNX' checker with strict shape inference, and no foreign operator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keronyx.export.gates import Refusal, all_nodes, layer_of_message
from keronyx.process import one_line

STANDARD = ("", "ai.onnx")
DOMAINS = (*STANDARD, "ai.onnx.ml", "com.microsoft")
"""Operators ONNX Runtime has, whoever builds it."""


def refusal(proto: Any, path: Path | None = None) -> Refusal | None:
    """None when the model is sound.

    Args:
        proto: ModelProto, whose weights may be in a file of their own.
        path: where it is stored: the checker reads it there, which is how it takes models of more than 2 GiB.
    """
    import onnx

    nodes = all_nodes(proto.graph)
    versions = {entry.domain or "": entry.version for entry in proto.opset_import}
    opset = versions.get("", versions.get("ai.onnx", 0))
    own = {(function.domain, function.name) for function in proto.functions}
    foreign = [
        node
        for node in nodes
        if (node.domain, node.op_type) not in own
        and (
            node.domain not in DOMAINS
            or (node.domain in STANDARD and not onnx.defs.has(node.op_type, max_inclusive_version=opset))
        )
    ]
    if foreign:
        names = sorted({f"{node.domain}.{node.op_type}".lstrip(".") for node in foreign})
        return Refusal("structure", f"no ONNX operator: {', '.join(names)}", layer_of_message(foreign[0].name, foreign))
    try:
        # full_check is the checker, then shape inference that is strict and checks types
        onnx.checker.check_model(proto if path is None else str(path), full_check=True)
    except Exception as error:
        return Refusal("structure", f"the ONNX checker: {one_line(error)}", layer_of_message(str(error), nodes))
    return None

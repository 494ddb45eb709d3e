"""Precisions an ONNX file for ONNX Runtime cannot be in, found before anything is converted."""

from __future__ import annotations

from typing import Any

from keronyx.errors import ExportError


def refuse_precision(model: Any) -> None:
    """Raise ExportError when a layer computes in float8, or in bfloat16 whatever its policy (see `in_float32`)."""
    for layer in model._flatten_layers(include_self=False):
        precision = getattr(layer, "quantization_mode", None)
        precision = precision if precision == "float8" else layer.compute_dtype
        if precision in ("bfloat16", "float8"):
            raise ExportError(
                f"layer {layer.name} computes in {precision}, for which ONNX Runtime has next to no operators on CPU",
                "build the model under the float32 or mixed_float16 policy and load the same weights",
            )

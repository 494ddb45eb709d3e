"""A model that computes in bfloat16 or float64, made to compute in float32 for as long as it is converted."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from keronyx.recast import recast

FLOAT32 = "float32"

PRECISION = "keronyx.precision"
"""Key in a file's metadata: what it computes in float32 instead, in words; only where it does."""

NEVER = "bfloat16"
"""What ONNX Runtime has next to no operators for on the CPU, whatever the model is made of."""

SOMETIMES = "float64"
"""What it has no convolutions for, and many other operators; but matrix products, for example."""


def told(dtypes: frozenset[str], not_in_float64: str) -> list[str]:
    """What the user is to be told of a file that computes in float32 instead of these.

    Args:
        not_in_float64: why, where float64 is among them.
    """
    why = {NEVER: "ONNX Runtime has no bfloat16 kernels on CPU", SOMETIMES: not_in_float64}
    return [f"computes in float32 where Keras computes in {dtype}: {why[dtype]}" for dtype in sorted(dtypes)]


def in_float32(model: Any, dtypes: frozenset[str]) -> AbstractContextManager[None]:
    """A scope in which whatever of the model computes in one of `dtypes`, or is kept in it, is float32."""
    return recast(model, dtypes, FLOAT32)

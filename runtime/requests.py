"""A SessionRequest as it arrives in a worker's process."""

from __future__ import annotations

from typing import Any

from keronyx.types import ModelSpec, SessionRequest, TensorSpec


def request_of(values: dict[str, Any]) -> SessionRequest:
    """The request whose `dataclasses.asdict` went through JSON."""
    spec = values["spec"]
    tensors = {
        key: tuple(TensorSpec(t["name"], tuple(t["shape"]), t["dtype"]) for t in spec[key])
        for key in ("inputs", "outputs")
    }
    return SessionRequest(**{**values, "spec": ModelSpec(**{**spec, **tensors})})

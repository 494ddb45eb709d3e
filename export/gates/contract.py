"""Are inputs and outputs the Keras model's, in names, order, dtypes and shapes? In the file, and to ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keronyx.export.gates import Refusal
from keronyx.types import ModelSpec, TensorSpec


def read_signature(proto: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of an ONNX model (initializers are not inputs, but may be outputs)."""
    import onnx

    initializers = {tensor.name for tensor in proto.graph.initializer}

    def dtype(element: int) -> str:
        return "string" if element == onnx.TensorProto.STRING else onnx.helper.tensor_dtype_to_np_dtype(element).name

    def specs(values: Any) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(
                value.name,
                tuple(d.dim_value if d.HasField("dim_value") else None for d in value.type.tensor_type.shape.dim),
                dtype(value.type.tensor_type.elem_type),
            )
            for value in values
        )

    return specs(v for v in proto.graph.input if v.name not in initializers), specs(proto.graph.output)


def refusal(proto: Any, spec: ModelSpec) -> Refusal | None:
    """None when the file has the model's inputs and outputs, and no other required input."""
    return _compared(read_signature(proto), spec, "the file's")


def refusal_of_session(session: Any, spec: ModelSpec) -> Refusal | None:
    """The same of what an `onnxruntime.InferenceSession` reports."""
    found = tuple(
        tuple(
            TensorSpec(a.name, tuple(size if isinstance(size, int) else None for size in a.shape), _dtype(a.type))
            for a in arguments
        )
        for arguments in (session.get_inputs(), session.get_outputs())
    )
    return _compared((found[0], found[1]), spec, "ONNX Runtime's")


def _compared(
    found: tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]], spec: ModelSpec, whose: str
) -> Refusal | None:
    for kind, wanted, made in (("input", spec.inputs, found[0]), ("output", spec.outputs, found[1])):
        if wanted != made:
            return Refusal("contract", f"{whose} {kind}s are {_brief(made)}, the model's {_brief(wanted)}")
    return None


def _dtype(onnx_type: str) -> str:
    """`tensor(float)` -> float32."""
    inner = onnx_type.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(inner, inner)


def _brief(tensors: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{t.name} {t.dtype}{list(t.shape)}" for t in tensors) or "none"

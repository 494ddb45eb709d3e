"""A model without fixed inputs, subclassed or not yet built -> a functional model around it, whose inputs have names.

Keras remembers the shapes a subclassed model was first called with; those, or what `--shape` says, become the inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from keronyx.errors import SourceError
from keronyx.export.dims import Asked, Shape
from keronyx.process import one_line

DEFAULT_NAME = "input"


def with_inputs(model: Any, asked: Asked, said: str) -> Any:
    """`model` if it has inputs, else a `keras.Model` that calls it.

    Args:
        said: what the user called it, for messages.

    Raises:
        SourceError: nothing says what shapes it takes, or it cannot be called on those.
    """
    import keras

    if model.built and getattr(model, "inputs", None):
        return model
    remembered = (getattr(model, "_build_shapes_dict", None) or {}).get("input_shape")
    leaves = _as_asked(asked) if asked else _remembered(remembered)
    if not leaves:
        raise SourceError(
            f"{said} has no fixed inputs: it is subclassed or not built",
            "say them with --shape NAME=1x320x400x3, or wrap it in keras.Model(inputs, outputs)",
        )
    inputs = {
        name: keras.Input(batch_shape=shape, dtype=dtype, name=name.replace("/", "_"))
        for name, (shape, dtype) in leaves.items()
    }
    problems = []
    for arguments, named in _ways_to_call(inputs, remembered):
        try:
            outputs = model(*arguments, **named)
            return keras.Model(list(inputs.values()), outputs, name=f"{model.name}_with_inputs")
        except Exception as error:
            problems.append(error)
    shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in inputs.items())
    raise SourceError(
        f"{said} cannot be called on {shapes}: {one_line(problems[0])}", "say what it takes with --shape"
    ) from problems[0]


Leaves = dict[str, tuple[tuple[int | None, ...], str]]
"""Input -> its shape and dtype."""


def _as_asked(asked: Asked) -> Leaves:
    def leaf(shape: Shape) -> tuple[tuple[int | None, ...], str]:
        return tuple(dim if isinstance(dim, int) else None for dim in shape.dims), shape.dtype or "float32"

    return {name: leaf(shape) for name, shape in asked.items()}


def _remembered(structure: Any) -> Leaves:
    """The shapes of the first call, whatever its batch was."""

    def leaf(shape: Any) -> tuple[tuple[int | None, ...], str]:
        return (None, *shape[1:]), "float32"

    if isinstance(structure, Mapping):
        return {str(name): leaf(shape) for name, shape in structure.items()}
    if not structure:
        return {}
    if isinstance(structure[0], list | tuple):
        return {f"{DEFAULT_NAME}_{i}": leaf(shape) for i, shape in enumerate(structure)}
    return {DEFAULT_NAME: leaf(structure)}


def _ways_to_call(inputs: Mapping[str, Any], remembered: Any) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    """Positional and named arguments, likeliest first."""
    values = list(inputs.values())
    if isinstance(remembered, Mapping):
        yield [dict(inputs)], {}
    elif len(values) == 1:
        yield values, {}
        yield [dict(inputs)], {}
    else:
        if remembered is None:
            yield [dict(inputs)], {}
        yield [], dict(inputs)
        yield [values], {}
        yield values, {}

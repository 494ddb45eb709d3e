"""What becomes of the dimensions a model leaves undefined: a size, or open under a name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from keronyx.errors import ExportError, UsageError
from keronyx.types import TensorSpec


@dataclass(frozen=True)
class Shape:
    """What `--shape` says of an input: for every dimension a size, or the name under which it stays open.

    `dtype` only counts for models that do not say it themselves.
    """

    dims: tuple[int | str, ...]
    dtype: str | None = None


Asked = Mapping[str, Shape]
"""Input -> what was asked for."""

NOTHING: Asked = MappingProxyType({})

AXES = {2: ("length",), 3: ("length", "features"), 4: ("height", "width", "channels")}
AXES[5] = ("depth", *AXES[4])
"""Rank -> what the dimensions after the batch are called."""

PROBES = (96, 160, 224, 288, 352, 416)
"""Sizes tried to find out which open dimension of an output is which of an input."""


def parse(texts: Iterable[str]) -> dict[str, Shape]:
    """`image=1x320x400x3`, `words=batch,length:int32` -> what is asked for, by input. Raises UsageError."""
    asked = {}
    for text in texts:
        name, equals, rest = text.rpartition("=")
        sizes, colon, dtype = rest.partition(":")
        dims = [part.strip() for part in sizes.split("," if "," in sizes else "x")]
        said = all(re.fullmatch(r"[1-9]\d*|[A-Za-z_]\w*", dim, re.ASCII) for dim in dims)
        if not (name and equals and said) or (colon and dtype not in _dtypes()):
            raise UsageError(
                f"--shape must be NAME=SIZES, not {text!r}",
                "for example image=1x320x400x3, or image=batch,height,width,3 to leave sizes open",
            )
        if name in asked:
            raise UsageError(f"--shape says the input {name!r} twice", "name each input once")
        asked[name] = Shape(tuple(int(dim) if dim.isdecimal() else dim for dim in dims), dtype or None)
    return asked


def batch_of(asked: Asked, batch: int | None, said: bool) -> int | None:
    """The batch of inputs nobody asked a shape for; None is open.

    Args:
        batch: as `--batch` has it.
        said: whether the user wrote that; else it is what all shapes asked for begin with, if they agree.

    Raises:
        UsageError: the user wrote both, and they contradict each other.
    """
    firsts = {name: first if isinstance(first := shape.dims[0], int) else None for name, shape in asked.items()}
    if other := [name for name, first in firsts.items() if first != batch] if said else []:
        shape = "x".join(map(str, asked[other[0]].dims))
        raise UsageError(
            f"--batch {batch or 'dynamic'} and --shape {other[0]}={shape} contradict each other",
            "leave one of them away",
        )
    return batch if said or len(set(firsts.values())) != 1 else next(iter(firsts.values()))


def _dtypes() -> set[str]:
    numbers = {np.dtype(code).name for code in np.typecodes["AllInteger"] + np.typecodes["Float"]}
    return {"bool", *numbers} - {"longdouble", "float128"}


def decided(
    name: str,
    shape: tuple[int | None, ...],
    batch: int | None,
    image_size: tuple[int, int] | None,
    asked: Asked,
    leave_open: bool,
) -> tuple[int | None, ...]:
    """Shape of one input, None where it stays open.

    Args:
        shape: as the model has it, batch first.
        batch: what its first dimension is to be, None to leave it open.
        image_size: height and width, for inputs of rank 4 that leave them undefined.
        leave_open: whether other undefined dimensions may stay so.

    Raises:
        UsageError: what was asked for contradicts the model, or a size has to be asked for.
        ExportError: other dimensions are undefined and may not stay so.
    """
    if name in asked:
        return _as_asked(name, shape, asked[name].dims)
    if not shape:
        return shape
    if shape[0] is not None and batch is not None and shape[0] != batch:
        raise UsageError(f"input {name!r} has a fixed batch of {shape[0]}, not {batch}", f"say --batch {shape[0]}")
    sizes: list[int | None] = [batch if shape[0] is None else shape[0], *shape[1:]]
    if len(shape) == 4 and None in shape[1:3] and image_size is not None:
        sizes[1:3] = [wanted if size is None else size for size, wanted in zip(shape[1:3], image_size, strict=True)]
    if None in sizes[1:] and not leave_open:
        if len(shape) == 4 and None in shape[1:3]:
            raise UsageError(f"input {name!r} leaves height and width open", "say --image-size HEIGHTxWIDTH")
        raise ExportError(f"input {name!r} has undefined dimensions {tuple(sizes)}", "give the Input a fixed shape")
    return tuple(sizes)


def _as_asked(name: str, shape: tuple[int | None, ...], asked: tuple[int | str, ...]) -> tuple[int | None, ...]:
    fits = len(asked) == len(shape) and all(
        size is None or size == wanted for size, wanted in zip(shape, asked, strict=True)
    )
    if not fits:
        takes = "x".join("?" if size is None else str(size) for size in shape)
        raise UsageError(f"input {name!r} takes {takes}, not {'x'.join(map(str, asked))}", "? may have any size")
    return tuple(size if isinstance(size, int) else None for size in asked)


def refuse_unknown(asked: Asked, names: Sequence[str]) -> None:
    """Raise UsageError when a shape was asked for that no input has."""
    if unknown := [name for name in asked if name not in names]:
        raise UsageError(f"--shape: no input {unknown[0]!r}", f"the model has {', '.join(names)}")


def input_dims(inputs: Sequence[TensorSpec], asked: Asked) -> list[tuple[int | str, ...]]:
    """Sizes and names of the inputs' dimensions. Without a name of the user's an open one is called by its axis, with
    the input's name before it where there are several inputs; all share one batch."""

    def dim(tensor: TensorSpec, axis: int, size: int | None) -> int | str:
        if size is not None:
            return size
        if tensor.name in asked:
            return asked[tensor.name].dims[axis]
        if axis == 0:
            return "batch"
        role = AXES.get(len(tensor.shape), ())[axis - 1 : axis] or (f"dim_{axis}",)
        return role[0] if len(inputs) == 1 else f"{tensor.name}_{role[0]}"

    return [tuple(dim(tensor, axis, size) for axis, size in enumerate(tensor.shape)) for tensor in inputs]


def output_dims(
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    asked: Asked,
    shapes_at: Callable[[Sequence[TensorSpec]], Sequence[Sequence[int | None]]],
) -> list[tuple[int | str, ...]]:
    """The same for the outputs. An open dimension that has the size of an input's open one takes its name.

    Args:
        shapes_at: traces the model at other input shapes; shapes of the outputs there.
    """
    named = input_dims(inputs, asked)
    open_names = list(dict.fromkeys(d for dims in named for d in dims if isinstance(d, str)))
    sizes = dict(zip(open_names, (3, *PROBES) if "batch" in open_names[:1] else PROBES, strict=False))
    found: Sequence[Sequence[int | None]] = [tensor.shape for tensor in outputs]
    if any(size is None for tensor in outputs for size in tensor.shape[1:]) and len(sizes) == len(open_names):
        probes = [
            replace(tensor, shape=tuple(sizes[d] if isinstance(d, str) else d for d in dims))
            for tensor, dims in zip(inputs, named, strict=True)
        ]
        try:
            found = shapes_at(probes)
        except Exception:  # a size the model does not take: its outputs keep names of their own
            found = [tensor.shape for tensor in outputs]
    name_of = {size: name for name, size in sizes.items()}

    def dim(tensor: TensorSpec, axis: int, size: int | None, probed: int | None) -> int | str:
        if size is not None:
            return size
        if probed in name_of:
            return name_of[probed]
        if axis == 0:
            return named[0][0] if named and named[0] and isinstance(named[0][0], str) else "batch"
        role = AXES.get(len(tensor.shape), ())[axis - 1 : axis] or (f"dim_{axis}",)
        return f"{tensor.name}_{role[0]}"

    return [
        tuple(dim(tensor, axis, size, shape[axis]) for axis, size in enumerate(tensor.shape))
        for tensor, shape in zip(outputs, found, strict=True)
    ]

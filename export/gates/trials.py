"""Inputs a converted model is tried on, and where they are kept with the answers Keras gives to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from keronyx.export import signature
from keronyx.export.gates.reached import by_integers
from keronyx.types import Array, TensorSpec

TOGETHER = 3
"""Batch of a further trial where the batch is open."""

SMALL = (2, 5, 9, 17, 33)
"""Shortest of the open sizes of small trials, until Keras takes them: at 1 many a layer has nothing left to compute."""

WORDS = ("", "a", "the", "Keras", "two words", "Füße", "0", "unknown-word")


@dataclass(frozen=True)
class Trial:
    """Inputs of one call and, once Keras was asked, its answers to them."""

    kind: str
    inputs: list[Array]
    answers: list[Array]
    ties: list[Array] = field(default_factory=list)
    """Of every output, if that is known: see `ties.py`."""


def draw(
    tensors: Sequence[TensorSpec],
    limits: Mapping[str, int],
    length: int = 96,
    small: int = 4,
    names: Sequence[Sequence[int | str]] = (),
) -> list[Trial]:
    """Random, realistic and negative inputs at the fixed batch; where that is open, at batch 1 and then all together.

    Args:
        limits: name of an integer input -> the integers below it mean something.
        length: of dimensions other than the batch that are left open.
        small: integers of unknown meaning are drawn below this.
        names: what every input's dimensions are called, where they are open: a name of the batch is the batch.
    """
    batches = {dims[0] for t, dims in zip(tensors, names, strict=False) if t.shape and t.shape[0] is None}

    def array(i: int, kind: str) -> Array:
        tensor = tensors[i]
        called = names[i] if names else tensor.shape
        sizes = [
            size if size is not None else 1 if axis == 0 or called[axis] in batches else length
            for axis, size in enumerate(tensor.shape)
        ]
        return _array(tensor.dtype, tuple(sizes), kind, limits.get(tensor.name), small, random)

    random = np.random.default_rng(0)
    kinds = ["random", "realistic"]
    if any(np.dtype(t.dtype).kind == "f" for t in tensors if t.dtype != "string"):
        kinds.append("negative")
    trials = [Trial(kind, [array(i, kind) for i in range(len(tensors))], []) for kind in kinds]
    if any(t.shape and t.shape[0] is None for t in tensors):
        rows = [trials[i % len(trials)] for i in range(TOGETHER)]
        joined = [
            np.concatenate([row.inputs[i] for row in rows]) if t.shape and t.shape[0] is None else rows[0].inputs[i]
            for i, t in enumerate(tensors)
        ]
        trials.append(Trial(f"batch {TOGETHER}", joined, []))
    return trials


def uneven(
    tensors: Sequence[TensorSpec],
    limits: Mapping[str, int],
    small: int,
    names: Sequence[Sequence[int | str]],
    shortest: int = 80,
    step: int = 32,
) -> list[Trial]:
    """One more trial where sizes other than the batch are open, all of them different: `shortest`, and each `step` more
    than the one before."""
    opened = open_sizes(tensors, names)
    sizes = {dim: shortest + step * i for i, dim in enumerate(opened)}
    if not sizes:
        return []
    random = np.random.default_rng(3)
    arrays = []
    for tensor, dims in zip(tensors, names, strict=True):
        shape = [1 if size is None else size for size in tensor.shape]
        shape = [
            sizes.get(dim, size) if known is None else size
            for dim, size, known in zip(dims, shape, tensor.shape, strict=True)
        ]
        arrays.append(_array(tensor.dtype, tuple(shape), "random", limits.get(tensor.name), small, random))
    return [Trial(f"uneven {'x'.join(map(str, sizes.values()))}", arrays, [])]


def open_sizes(tensors: Sequence[TensorSpec], names: Sequence[Sequence[int | str]]) -> list[int | str]:
    """Names of the sizes other than the batch that are open, each once."""
    batches = {dims[0] for t, dims in zip(tensors, names, strict=True) if t.shape and t.shape[0] is None}
    opened = [dim for t, dims in zip(tensors, names, strict=True) for dim in _open(t, dims) if dim not in batches]
    return list(dict.fromkeys(opened))


def _open(tensor: TensorSpec, dims: Sequence[int | str]) -> list[int | str]:
    """Names of the open dimensions that are not the batch."""
    return [dim for axis, dim in enumerate(dims) if axis > 0 and tensor.shape[axis] is None]


def _array(
    dtype_name: str, shape: tuple[int, ...], kind: str, limit: int | None, small: int, random: np.random.Generator
) -> Array:
    if dtype_name == "string":
        return np.array(random.choice(WORDS, shape))
    dtype = np.dtype(dtype_name)
    image = len(shape) == 4 and shape[-1] in (1, 3, 4)
    if dtype.kind == "b":
        drawn = np.asarray(random.integers(0, 2, shape), bool)
        drawn.reshape(-1)[:2] = [True, False][: drawn.size]
        return drawn
    if dtype.kind in "iu":
        if limit is None and image:
            return (picture(shape, random) if kind == "realistic" else random.integers(0, 256, shape)).astype(dtype)
        return np.asarray(random.integers(0, limit or small, shape)).astype(dtype)
    if kind == "random":
        return np.asarray(random.normal(size=shape)).astype(dtype)
    real = picture(shape, random) if image else wave(shape, random)
    return np.asarray(real if kind == "realistic" else -np.abs(random.normal(size=shape)) - 0.1).astype(dtype)


def picture(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Something like a photograph, 0..255: a gradient, boxes of one colour on it, some noise."""
    height, width, channels = shape[1:]
    y, x = np.linspace(0, 1, height)[:, None, None], np.linspace(0, 1, width)[:, None]
    images = np.empty(shape)
    for image in images:
        image[:] = 40 + 120 * (x * random.uniform(0.2, 1, channels) + y * random.uniform(0.2, 1, channels)) / 2
        for _ in range(4):
            top, left = random.integers(0, max(1, height)), random.integers(0, max(1, width))
            image[top : top + max(1, height // 4), left : left + max(1, width // 4)] = random.uniform(0, 255, channels)
    return np.asarray(np.round(np.clip(images + random.normal(0, 6, shape), 0, 255)))


def wave(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Something like a recording or a row of measurements: a few tones along the longest axis, some noise."""
    if not shape:
        return np.asarray(random.normal())
    axis = int(np.argmax(shape))
    time = np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    tones = sum(random.uniform(0.2, 1) * np.sin(time * rate + random.uniform(0, 6)) for rate in (0.9, 0.21, 0.043))
    return np.asarray(tones + random.normal(0, 0.1, shape))


def limits(model: Any) -> dict[str, int]:
    """Name of an input -> size of the smallest vocabulary it is looked up in, for a functional or sequential model."""
    import keras

    inputs = dict(zip(signature.input_names(model), model.inputs, strict=True))
    reached = {
        name: _vocabularies(tensor, getattr(model, "_functional", None) or model) for name, tensor in inputs.items()
    }
    embeddings = [layer.input_dim for layer in model._flatten_layers() if isinstance(layer, keras.layers.Embedding)]
    if embeddings and not any(reached.values()):  # inside a layer that calls others, which no graph shows
        return dict.fromkeys(inputs, min(embeddings))
    return {name: min(sizes) for name, sizes in reached.items() if sizes}


def _vocabularies(tensor: Any, model: Any) -> list[int]:
    """Sizes of the vocabularies that `tensor` reaches as integers."""
    import keras

    sizes: list[int] = []
    for _, layers in by_integers(tensor, model):
        for layer in layers:
            size = layer.input_dim if isinstance(layer, keras.layers.Embedding) else None
            size = getattr(layer, "num_tokens", None) if size is None else size
            if size:
                sizes.append(int(size))
    return sizes


def store(path: Path, trials: Sequence[Trial]) -> None:
    """Write trials to an .npz file."""
    arrays: dict[str, Any] = {
        f"{i} {part} {k}": array
        for i, trial in enumerate(trials)
        for part, some in (("input", trial.inputs), ("answer", trial.answers), ("ties", trial.ties))
        for k, array in enumerate(some)
    }
    np.savez(path, kinds=np.array([trial.kind for trial in trials]), **arrays)


def read(path: Path) -> list[Trial]:
    """Trials as `store` wrote them."""
    with np.load(path, allow_pickle=False) as stored:

        def part(i: int, name: str) -> list[Array]:
            found: list[Array] = []
            while (key := f"{i} {name} {len(found)}") in stored:
                found.append(stored[key])
            return found

        kinds = enumerate(stored["kinds"])
        return [Trial(str(kind), part(i, "input"), part(i, "answer"), part(i, "ties")) for i, kind in kinds]

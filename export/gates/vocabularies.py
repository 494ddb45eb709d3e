"""What inputs in front of look-ups and masks are drawn from: tokens of the vocabulary, and steps that are masked.

Integers drawn blindly would all be unknown to an IntegerLookup, and hardly ever a step to be left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from keronyx.export import signature
from keronyx.export.gates.reached import by_integers
from keronyx.export.gates.trials import Trial
from keronyx.types import Array, TensorSpec

UNKNOWN = 0.2
"""Share of integers that are left as drawn, where a look-up takes unknown ones too."""

HOLES = 0.25
"""Share of steps masked at random; of every second trial the last third is masked instead, as padding is."""


@dataclass(frozen=True)
class Meaning:
    """Of one input: the integers a look-up knows (none: it is not looked up) and whether it takes no others; what
    masks a step (None: nothing does) and how many axes behind those of the steps hold one step's values."""

    tokens: tuple[int, ...] = ()
    strict: bool = False
    mask: float | None = None
    inner: int = 0


def meanings(model: Any) -> dict[str, Meaning]:
    """Name of an input -> what it means, of a functional or sequential `keras.Model`; others have none."""
    graph = getattr(model, "_functional", None) or model
    inputs = zip(signature.input_names(model), model.inputs, strict=True)
    return {name: meaning for name, tensor in inputs if (meaning := _meaning(tensor, graph)) != Meaning()}


def with_meaning(
    drawn: Sequence[Trial], tensors: Sequence[TensorSpec], known: Mapping[str, Meaning], seed: int = 0
) -> list[Trial]:
    """The trials, with tokens and masked steps where an input has such."""
    random = np.random.default_rng([11, seed])

    def array(of: Array, tensor: TensorSpec, padded: bool) -> Array:
        meaning = known.get(tensor.name)
        return of if meaning is None else _masked(_looked_up(of, meaning, random), meaning, padded, random)

    return [
        replace(trial, inputs=[array(a, t, i % 2 == 1) for a, t in zip(trial.inputs, tensors, strict=True)])
        for i, trial in enumerate(drawn)
    ]


def _looked_up(array: Array, meaning: Meaning, random: np.random.Generator) -> Array:
    if not meaning.tokens or array.dtype.kind not in "iu":
        return array
    tokens = np.asarray(random.choice(meaning.tokens, array.shape)).astype(array.dtype)
    return tokens if meaning.strict else np.where(random.random(array.shape) < UNKNOWN, array, tokens)


def _masked(array: Array, meaning: Meaning, padded: bool, random: np.random.Generator) -> Array:
    """The array with some steps masked, the first of a row never: of a row without any step nothing is asked."""
    steps = array.shape[: array.ndim - meaning.inner]
    if meaning.mask is None or len(steps) < 2:
        return array
    masked = random.random(steps) < HOLES
    if padded:
        masked = np.broadcast_to(np.arange(steps[-1]) >= steps[-1] - max(1, steps[-1] // 3), steps).copy()
    masked[..., 0] = False
    return np.where(masked.reshape(steps + (1,) * meaning.inner), np.asarray(meaning.mask, array.dtype), array)


def _meaning(tensor: Any, graph: Any) -> Meaning:
    """What the layers say that `tensor` reaches: a look-up or an Embedding through integers, Masking directly."""
    import keras
    from keras.src.layers.preprocessing.index_lookup import IndexLookup

    def looks_up(layers: list[Any]) -> bool:
        return any(isinstance(layer, IndexLookup) for layer in layers)

    found = Meaning()
    for one, layers in by_integers(tensor, graph, beyond=lambda layers: not looks_up(layers)):
        for layer in layers:
            if isinstance(layer, IndexLookup):
                found = _with_tokens(found, layer)
            elif isinstance(layer, keras.layers.Embedding) and layer.mask_zero and not looks_up(layers):
                found = replace(found, mask=0.0, inner=0)
            elif isinstance(layer, keras.layers.Masking) and one is tensor and np.isfinite(layer.mask_value):
                found = replace(found, mask=float(layer.mask_value), inner=max(1, len(tensor.shape) - 2))
    return found


def _with_tokens(found: Meaning, layer: Any) -> Meaning:
    """Two look-ups of one input: what both know, if there is such."""
    if layer.invert:
        tokens, strict = list(range(layer.vocabulary_size())), True
    elif layer.vocabulary_dtype == "string":
        return found
    else:
        special = [] if layer.mask_token is None else [layer.mask_token]
        tokens = [int(token) for token in (*special, *layer.get_vocabulary(include_special_tokens=False))]
        strict = layer.num_oov_indices == 0
    known = set(found.tokens or tokens)
    both = [token for token in tokens if token in known]
    return replace(found, tokens=tuple(both) or found.tokens, strict=strict or found.strict)

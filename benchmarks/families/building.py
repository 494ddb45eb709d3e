"""What every family's builders share: seeded weights under which no layer is the identity."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from math import prod
from typing import Any

import numpy as np

SEED = 0


def network(*options: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Marks a builder as a model of its family.

    Args:
        options: what `keronyx export` is told besides the source, such as `--batch dynamic`.
    """

    def decorate(build: Callable[[], Any]) -> Callable[[], Any]:
        @wraps(build)
        def built() -> Any:
            import keras

            keras.utils.set_random_seed(SEED)
            policy = keras.config.dtype_policy()
            try:
                return randomise(build())
            finally:
                keras.config.set_dtype_policy(policy)

        built.options = options  # type: ignore[attr-defined]
        return built

    return decorate


def randomise(model: Any) -> Any:
    """Random weights, scaled so that signals keep their size; variances stay positive, adapted constants stay."""
    import keras

    random = np.random.default_rng(SEED)
    adapted = {
        id(v)
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.Normalization)
        for v in layer.variables
    }
    for variable in model.variables:
        if id(variable) in adapted or not keras.backend.is_float_dtype(variable.dtype):
            continue
        variable.assign(_drawn(random, variable.name, tuple(variable.shape)))
    return model


def _drawn(random: np.random.Generator, name: str, shape: tuple[int, ...]) -> Any:
    if "variance" in name:
        return random.uniform(0.5, 2, shape)
    if name == "gamma":
        return random.uniform(0.7, 1.3, shape)
    if name == "alpha":
        return random.uniform(0.1, 0.4, shape)
    scale = 1.0 if name == "embeddings" else 0.3 if len(shape) < 2 else 1.3 / np.sqrt(prod(shape[:-1]))
    return random.normal(0, scale, shape)

"""Model families that `export` is held against: Keras models as users build them, small, with random weights.

Each module is a family; each of its builders (marked with `@network`, or listed in SMALL) is a model, and a source:
`keronyx export benchmarks.families.attention:transformer_block` works from the checkout's root.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass

ZOO = ("unet:16", "unet-spatial:16", "unet-dilated:16", "model-v4", "enet")
"""The five networks of the zoo: the U-Nets at width 16, the others as published."""


@dataclass(frozen=True)
class Model:
    """One model: `source` and `options` are what `keronyx export` is told."""

    family: str
    name: str
    source: str
    options: tuple[str, ...] = ()


def models() -> list[Model]:
    """Every model, by family; the large ones last."""
    found = [Model("zoo", name, name) for name in ZOO]
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    for family in sorted(names, key=lambda name: (name == "applications", name)):
        module = importlib.import_module(f"{__name__}.{family}")
        builders = {name: thing.options for name, thing in vars(module).items() if hasattr(thing, "options")}
        builders |= {build.__name__: () for build in getattr(module, "SMALL", ())}
        found += [Model(family, name, f"{module.__name__}:{name}", options) for name, options in builders.items()]
    return found


FAMILIES: dict[str, Model] = {f"{model.family}:{model.name}": model for model in models()}
"""`family:name` -> the model."""

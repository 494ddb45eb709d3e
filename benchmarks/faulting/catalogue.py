"""Every fault by name: what it is in words, what it is put into, and how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import injecting
from benchmarks.injecting import Fault
from keronyx.types import Array

Given = list[list[Array]]
"""Answers: [input][output]."""
Spoil = Callable[[Given, np.random.Generator], Given]

FILES = ("main", "both", "square", "epsilon", "epoch")
"""What `making` writes as NAME.onnx, each a correct conversion: the network; the same with its logits as a second
output; the same for square images; and two of slightly other models."""


@dataclass(frozen=True)
class Known:
    """One fault. `judged_as` names the model it is a wrong file or answer of, `file` what is run in its place.

    `inject` changes that file, `spoil` its answers; with neither the file itself is what is wrong. `varies` says what
    else than the inputs is drawn anew with each seed.
    """

    name: str
    words: str
    judged_as: str = "main"
    file: str = "main"
    inject: Fault | None = None
    spoil: Spoil | None = None
    varies: str = ""


def outputs_exchanged(model: Any, rng: np.random.Generator) -> tuple[Any, str]:
    """The first two outputs, each under the other's name."""
    changed = _copy(model)
    one, other = (value.name for value in changed.graph.output[:2])
    names = {one: other, other: one}
    for node in changed.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    return changed, ""


def sides_exchanged(model: Any, rng: np.random.Generator) -> tuple[Any, str]:
    """Height and width of the first output the other way round."""
    changed = _copy(model)
    value = changed.graph.output[0]
    for node in changed.graph.node:
        node.output[:] = [f"{name}__right" if name == value.name else name for name in node.output]
        node.input[:] = [f"{name}__right" if name == value.name else name for name in node.input]
    turned = changed.graph.node.add(op_type="Transpose", input=[f"{value.name}__right"], output=[value.name])
    order = turned.attribute.add(name="perm", ints=[0, 2, 1, 3])
    order.type = order.INTS
    sizes = value.type.tensor_type.shape.dim
    sizes[1].dim_value, sizes[2].dim_value = sizes[2].dim_value, sizes[1].dim_value
    return changed, ""


def stale(answers: Given, rng: np.random.Generator) -> Given:
    """Every answer but the first is that to the input before."""
    return [answers[max(0, i - 1)] for i in range(len(answers))]


def one_nan(answers: Given, rng: np.random.Generator) -> Given:
    """One pixel of the answer to every input is NaN."""
    spoilt = []
    for outputs in answers:
        first = outputs[0].copy()
        first[(0, *(int(rng.integers(size)) for size in first.shape[1:3]))] = np.nan
        spoilt.append([first, *outputs[1:]])
    return spoilt


NONE = Known("none", "no fault")

FAULTS: tuple[Known, ...] = (
    Known("epsilon", "epsilon of every BatchNorm 1e-5, not 1e-3", file="epsilon"),
    Known("filter", "one filter x 1.02", inject=injecting.filter_scaled, varies="filter"),
    Known("bias", "one bias + 1 %", inject=injecting.bias_scaled, varies="bias"),
    Known("small-bias", "the same, however small the bias", inject=injecting.any_bias_scaled, varies="bias"),
    Known("padding", "padding shifted by one row", inject=injecting.padding_shifted, varies="layer"),
    Known("dilation", "dilation dropped", inject=injecting.dilation_dropped, varies="layer"),
    Known("bilinear", "bilinear for nearest", inject=injecting.nearest_made_linear, varies="layer"),
    Known("shifted", "nearest, shifted by half a pixel", inject=injecting.nearest_shifted, varies="layer"),
    Known("relu", "ReLU dropped", inject=injecting.relu_dropped, varies="layer"),
    Known("prelu", "PReLU slopes shared over channels", inject=injecting.slopes_averaged, varies="layer"),
    Known("classes", "two classes swapped", inject=injecting.classes_swapped, varies="classes"),
    Known("permuted", "outputs permuted", judged_as="both", file="both", inject=outputs_exchanged),
    Known("transposed", "height and width transposed", inject=sides_exchanged),
    Known("square", "the same, square images", judged_as="square", file="square", inject=sides_exchanged),
    Known("stale", "answers of the input before", spoil=stale),
    Known("nan", "NaN in one pixel", spoil=one_nan, varies="pixel"),
    Known("epoch", "weights of another epoch", file="epoch"),
)

BY_NAME = {fault.name: fault for fault in (NONE, *FAULTS)}


def chosen(names: Sequence[str]) -> tuple[Known, ...]:
    """Faults by name, all of them and none without names."""
    return tuple(BY_NAME[name] for name in names) if names else (NONE, *FAULTS)


def _copy(model: Any) -> Any:
    made = type(model)()
    made.CopyFrom(model)
    return made

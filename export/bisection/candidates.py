"""Which values of Keras' a tensor of the file may be, by the layer its node is labelled with and by what goes in."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from keronyx.export.bisection.calls import Program
from keronyx.export.bisection.nodes import Graph, Step

FEW = 6
"""Calls that may be made for a value that a tensor is not likely to be: more, and the network would be computed ahead.
"""


class Candidates:
    def __init__(self, program: Program, graph: Graph) -> None:
        self.program, self.graph = program, graph
        self.producer = program.producers()
        self.consumers: dict[int, list[int]] = {}
        for i, call in enumerate(program.calls):
            for number in call.inputs:
                self.consumers.setdefault(number, []).append(i)

    @cached_property
    def by_path(self) -> dict[str, list[int]]:
        """Path of a layer -> indices of its calls."""
        found: dict[str, list[int]] = {}
        for i, call in enumerate(self.program.calls):
            found.setdefault(call.path, []).append(i)
        return found

    @cached_property
    def labelled(self) -> frozenset[int]:
        """Calls of layers that have nodes."""
        return frozenset(i for step in self.graph.steps for i in self.calls(step.layer))

    def calls(self, label: str) -> list[int]:
        """Calls of the layer that a node is labelled with, or of the one around it."""
        while label:
            if label in self.by_path:
                return self.by_path[label]
            label = label.rpartition("/")[0]
        return []

    def owner(self, label: str) -> str:
        """The layer that is looked at as a whole, which a label may be inside of."""
        calls = self.calls(label)
        return self.program.calls[calls[0]].path if calls else label

    @cached_property
    def _by_label(self) -> dict[str, list[int]]:
        return {step.layer: self._of_calls(self.calls(step.layer)) for step in self.graph.steps}

    def _of_calls(self, calls: Iterable[int]) -> list[int]:
        found: dict[int, None] = {}
        for i in calls:
            call = self.program.calls[i]
            near = [*call.outputs, *self.followers(call.outputs), *call.inputs, *self.followers(call.inputs)]
            found |= dict.fromkeys(near)
        return list(found)

    def followers(self, numbers: Iterable[int]) -> list[int]:
        """What is computed from these values next, past layers that have no nodes of their own."""
        found: dict[int, None] = {}
        waiting = list(numbers)
        for number in waiting:
            for i in self.consumers.get(number, ()):
                outputs = self.program.calls[i].outputs
                if i not in self.labelled:
                    waiting += [one for one in outputs if one not in found]
                found |= dict.fromkeys(outputs)
        return list(found)

    def of(self, step: Step, given: Iterable[int]) -> list[tuple[int, int | None]]:
        """Values that outputs of a node may be, the likeliest first, each with how many calls may be made for it (None:
        however many).

        Args:
            given: values that its inputs were recognised as.
        """
        calls = self.calls(step.layer)
        ends = dict(zip(self.graph.outputs, self.program.outputs, strict=True))
        sure = [ends[name] for name in step.outputs if name in ends]
        if len(calls) == 1:
            sure += self.program.calls[calls[0]].outputs
        found = dict.fromkeys([*sure, *self._by_label[step.layer], *self.followers(given)])
        return [(number, None if number in sure else FEW) for number in found]

    @cached_property
    def last_step(self) -> dict[int, int]:
        """Value -> index of the last node that it is a candidate for by its label."""
        return {number: i for i, step in enumerate(self.graph.steps) for number in self._by_label[step.layer]}

    def wanted(self, number: int, step: int) -> bool:
        """Whether a value may be asked for behind a node."""
        return self.last_step.get(number, -1) > step

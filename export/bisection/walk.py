"""Through the file, node by node: every tensor is recognised as a value of Keras', or else a layer departs.

A tensor that is not recognised need not be wrong: what is inside a layer, or of two layers that were made one, is no
value of Keras'. It is carried along as it is. Where the next layer's is not recognised either, the oracle's value is
put in its place: if that makes the next layer right, this one departs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from keronyx.export.bisection.blame import Blame, blame
from keronyx.export.bisection.candidates import Candidates
from keronyx.export.bisection.match import Difference, Layout, compare, fits, layouts
from keronyx.export.bisection.nodes import Graph
from keronyx.export.bisection.oracle import Oracle
from keronyx.types import Array

TRIED = 6
"""Candidates put in the place of one tensor."""

CHAIN = 4
"""Layers in a row that are not recognised before the first of them is said to depart."""


@dataclass(frozen=True)
class Departure:
    """A layer that departs: who is to blame, the tensor it shows in, and by how much. `confirmed` if the file is right
    with the oracle's value in its place."""

    blame: Blame
    tensor: str
    difference: Difference
    confirmed: bool


@dataclass
class Walk:
    """What was found: value -> tensor and its error, and the layers that depart, in the order they were met."""

    graph: Graph
    oracle: Oracle
    candidates: Candidates
    values: dict[str, Array] = field(default_factory=dict)
    tags: dict[str, tuple[int, Layout]] = field(default_factory=dict)
    recognised: dict[int, tuple[str, Difference]] = field(default_factory=dict)
    departures: list[Departure] = field(default_factory=list)
    region: list[int] = field(default_factory=list)
    """Nodes with outputs that were not recognised and that still matter."""
    pending: list[int] = field(default_factory=list)
    """Those of them that are the last of their layer."""

    def run(self, inputs: dict[str, Array]) -> None:
        """Walk through the whole file."""
        self.values = dict(inputs)
        for name, number in zip(self.graph.inputs, self.oracle.program.inputs, strict=True):
            self.tags[name] = number, Layout(tuple(range(inputs[name].ndim)), inputs[name].shape)
        for i, step in enumerate(self.graph.steps):
            self.values |= self.graph.run(step, self.values)
            if set(step.outputs) <= self.graph.computed:
                self._settle(i)
            self._forget(i)
        while self.pending:
            self._depart(self.pending[0], None)

    def _settle(self, i: int) -> None:
        """Recognise what a node gives; where that cannot be done, see whether an earlier layer is to blame."""
        if self._recognise(i):
            self._prune(i)
            return
        self.region.append(i)
        self._prune(i)
        if not self._last_of_layer(i):
            return
        before = self._before(i)
        suspects = [p for p in self.pending if p in before]
        for p in suspects:
            if self._depart(p, i):
                return
        self.pending.append(i)
        if len(suspects) >= CHAIN:
            self._depart(suspects[0], None, upto=i)

    def _numbers(self, i: int) -> list[int]:
        """Candidates for a node's outputs, computed."""
        step = self.graph.steps[i]
        given = [self.tags[name][0] for name in step.inputs if name in self.tags]
        return [number for number, most in self.candidates.of(step, given) if self.oracle.reach(number, most)]

    def _recognise(self, i: int) -> bool:
        """Whether all outputs of a node are values of Keras'; those that are become exact."""
        numbers = self._numbers(i)
        for name in self.graph.steps[i].outputs:
            self.tags.pop(name, None)
            for number in numbers:
                found = self._same(self.values[name], number)
                if found is not None:
                    self._tag(name, number, *found)
            if name in self.tags:
                self._put(name)
        return all(name in self.tags for name in self.graph.steps[i].outputs)

    def _same(self, array: Array, number: int) -> tuple[Layout, Difference] | None:
        """How the value lies in an array, if it does."""
        exact, own, dtype = self.oracle.exact(number), self.oracle.own(number), self.oracle.dtype(number)
        for layout in layouts(exact.shape, array.shape):
            if fits(array, exact, own, layout, dtype):
                found = compare(array, layout.of(exact), layout.of(own), dtype)
                if found.right:
                    return layout, found
        return None

    def _tag(self, name: str, number: int, layout: Layout, difference: Difference) -> None:
        self.tags.setdefault(name, (number, layout))
        self.oracle.represented.add(number)
        self.recognised.setdefault(number, (name, difference))

    def _put(self, name: str) -> None:
        """Give a tensor its exact value, rounded to the precision it is in."""
        number, layout = self.tags[name]
        self.values[name] = self.placed(number, layout, self.values[name])

    def placed(self, number: int, layout: Layout, like: Array) -> Array:
        """The exact value as a tensor of the file has it."""
        made: Array = np.ascontiguousarray(layout.of(self.oracle.exact(number))).astype(like.dtype)
        return made

    def _last_of_layer(self, i: int) -> bool:
        """Whether another layer, or the caller, takes what a node gives."""
        step, takers = self.graph.steps[i], self.graph.consumers
        owner = self.candidates.owner
        layers = {owner(self.graph.steps[j].layer) for name in step.outputs for j in takers.get(name, ())}
        return bool(layers - {owner(step.layer)} or set(step.outputs) & set(self.graph.outputs))

    def _before(self, i: int) -> list[int]:
        """Nodes of the region that a node depends on through tensors that were not recognised, itself the last."""
        found, needed = [i], {name for name in self.graph.steps[i].inputs if name not in self.tags}
        for j in reversed([j for j in self.region if j < i]):
            if needed & set(self.graph.steps[j].outputs):
                found.append(j)
                needed |= {name for name in self.graph.steps[j].inputs if name not in self.tags}
        return found[::-1]

    def _prune(self, done: int) -> None:
        """Take out of the region what no longer matters: all that depends on it was recognised."""
        kept: list[int] = []
        needed: set[str] = set(self.graph.outputs)
        for j in reversed(self.region):
            open_outputs = [name for name in self.graph.steps[j].outputs if name not in self.tags]
            later = any(k > done for name in open_outputs for k in self.graph.consumers.get(name, ()))
            if open_outputs and (later or needed & set(open_outputs)):
                kept.append(j)
                needed |= set(self.graph.steps[j].inputs)
        self.region = kept[::-1]
        self.pending = [j for j in self.pending if j in self.region]

    def _forget(self, done: int) -> None:
        kept = {name for j in self.region for name in self.graph.steps[j].inputs}
        takers = self.graph.consumers
        for name in [n for n in self.values if n not in kept and max(takers.get(n, [-1])) <= done]:
            if name not in self.graph.outputs or name in self.tags:
                del self.values[name]
        suspected = {n for j in self.region for n in self._numbers_known(j)}
        self.oracle.forget(lambda n: n in suspected or self.candidates.wanted(n, done))

    def _numbers_known(self, i: int) -> list[int]:
        step = self.graph.steps[i]
        given = [self.tags[name][0] for name in step.inputs if name in self.tags]
        return [*given, *(number for number, _ in self.candidates.of(step, given))]

    def _depart(self, p: int, i: int | None, upto: int | None = None) -> bool:
        """Put the oracle's value in the place of what node `p` gives, and see whether that makes node `i` right; then
        its layer departs. Without `i` it does in any case."""
        last = i if i is not None else upto if upto is not None else len(self.graph.steps)
        for name in self.graph.steps[p].outputs:
            if name in self.tags:
                continue
            for number, layout, difference in self._nearest(p, name)[: TRIED if i is not None else 1]:
                raw = self.values[name]
                made = self._again(p, last, {name: self.placed(number, layout, raw)})
                if i is not None and not any(self._is_another(i, made[n], number) for n in self.graph.steps[i].outputs):
                    continue
                found = blame(self, p, number, layout)
                self.departures.append(Departure(found, name, difference, confirmed=i is not None))
                self.values |= made
                self.tags[name] = number, layout
                self.oracle.represented.add(number)
                for j in self._behind(p, last):
                    self._recognise(j)
                self._prune(last)
                return True
        if i is None:  # nothing of Keras' has its shape
            self.departures.append(Departure(Blame(self._call_of(p), ()), "", UNKNOWN, confirmed=False))
            self.pending.remove(p)
        return False

    def _call_of(self, p: int) -> int:
        calls = self.candidates.calls(self.graph.steps[p].layer)
        return calls[0] if calls else -1

    def _nearest(self, p: int, name: str) -> list[tuple[int, Layout, Difference]]:
        """Values that an unrecognised tensor may have been meant to be: those the file does not have yet, the nearest
        first, then the others."""
        array, found = self.values[name], []
        inputs = {self.tags[n][0] for n in self.graph.steps[p].inputs if n in self.tags}
        for number in self._numbers(p):
            exact, own = self.oracle.exact(number), self.oracle.own(number)
            if number in inputs:
                continue
            for layout in layouts(exact.shape, array.shape):
                difference = compare(array, layout.of(exact), layout.of(own), self.oracle.dtype(number))
                found.append((number, layout, difference))
        return sorted(found, key=lambda one: (one[0] in self.oracle.represented, one[2].error))

    def _is_another(self, i: int, array: Array, number: int) -> bool:
        """Whether what a node gives now is a value of Keras' other than the one that was put in."""
        given = self.oracle.exact(number)
        others = [n for n in self._numbers(i) if not np.array_equal(self.oracle.exact(n), given)]
        return any(self._same(array, n) is not None for n in others)

    def _behind(self, p: int, last: int) -> list[int]:
        """Nodes of the region, and `last`, that depend on node `p`."""
        found, reached = [], set(self.graph.steps[p].outputs)
        for j in [*(j for j in self.region if p < j < last), *([last] if last < len(self.graph.steps) else [])]:
            if reached & set(self.graph.steps[j].inputs):
                found.append(j)
                reached |= set(self.graph.steps[j].outputs)
        return found

    def _again(self, p: int, last: int, given: dict[str, Array]) -> dict[str, Array]:
        """What the nodes behind `p` make of other values."""
        made = dict(given)
        for j in self._behind(p, last):
            made |= self.graph.run(self.graph.steps[j], {**self.values, **made})
        return made

    def closure(self, p: int, given: dict[str, Array]) -> dict[str, Array]:
        """What the nodes up to `p` make of other values for recognised tensors that go into them."""
        made = dict(given)
        for j in self._before(p):
            made |= self.graph.run(self.graph.steps[j], {**self.values, **made})
        return made

    def entries(self, p: int) -> Iterable[str]:
        """Recognised tensors that go into the nodes up to `p`."""
        taken = (name for j in self._before(p) for name in self.graph.steps[j].inputs)
        return [name for name in dict.fromkeys(taken) if name in self.tags and name in self.values]

    def labels(self, p: int) -> set[str]:
        """Layers of the nodes up to `p` that nothing was recognised in."""
        return {self.graph.steps[j].layer for j in self._before(p)}


UNKNOWN = Difference(float("inf"), 0.0, float("inf"), 1.0, False)

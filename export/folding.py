"""BatchNormalization folded into the convolution before it for the time of a trace: no layer is built again.

The convolution computes with the folded weights, the BatchNormalization hands on what it gets (see `fold.py`). All
other readers of their variables find these as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from keronyx.export.fold import pairs_of

Pair = tuple[Any, Any]
"""A convolution and its BatchNormalization."""


def all_pairs(model: Any) -> list[Pair]:
    """Those of a functional or sequential model, and of the models nested in it; none of other models."""
    found = _all_pairs(model)
    counts = Counter(id(layer) for pair in found for layer in pair)
    return [pair for pair in found if all(counts[id(layer)] == 1 for layer in pair)]


def _all_pairs(model: Any) -> list[Pair]:
    import keras
    from keras.src.models import Functional

    graph: Any = getattr(model, "_functional", None) if type(model) is keras.Sequential else model
    if type(graph) is not Functional:
        return []
    operations = {id(operation): operation for operation in graph.operations}
    nested = [operation for operation in operations.values() if isinstance(operation, keras.Model)]
    found = [(operations[conv], bn) for conv, bn in pairs_of(graph).items()]
    return found + [pair for one in nested for pair in _all_pairs(one)]


class Folding:
    """`weights` are a convolution's kernel and bias, tensors of the trace, by the convolution's id."""

    def __init__(self) -> None:
        self.weights: dict[int, tuple[Any, Any]] = {}
        self._given: dict[int, Any] = {}
        self._right = True

    def start(self, weights: Mapping[int, tuple[Any, Any]]) -> None:
        """A trace begins."""
        self.weights, self._given, self._right = dict(weights), {}, True

    @property
    def right(self) -> bool:
        """Whether layers were called as the model's graph says, each BatchNormalization on what its convolution gave:
        a layer of the user's own may call them, too."""
        return self._right and not self._given

    def convolve(self, conv: Any, inputs: Any) -> Any:
        """In place of the convolution's `call`."""
        import tensorflow as tf

        kernel, bias = self.weights[id(conv)]
        own = {"_kernel" if "_kernel" in vars(conv) else "kernel": kernel} | ({"bias": bias} if conv.use_bias else {})
        with _instead(conv, own):
            made = type(conv).call(conv, inputs)
        made = made if conv.use_bias else tf.nn.bias_add(made, bias)
        self._right = self._right and id(conv) not in self._given
        self._given[id(conv)] = made
        return made

    def hand_on(self, conv: Any, inputs: Any, *_: Any, **__: Any) -> Any:
        """In place of the BatchNormalization's."""
        self._right = self._right and self._given.pop(id(conv), None) is inputs
        return inputs


@contextmanager
def folded(pairs: Sequence[Pair]) -> Iterator[Folding]:
    """The layers compute as folded ones for the time being."""
    folding = Folding()
    with ExitStack() as stack:
        for conv, bn in pairs:
            stack.enter_context(_instead(conv, {"call": partial(folding.convolve, conv)}))
            stack.enter_context(_instead(bn, {"call": partial(folding.hand_on, conv)}))
        yield folding


@contextmanager
def _instead(layer: Any, attributes: Mapping[str, Any]) -> Iterator[None]:
    """Attributes of the object itself, past Keras' tracking of what is assigned to a layer."""
    own = vars(layer)
    before = {name: own[name] for name in attributes if name in own}
    own.update(attributes)
    try:
        yield
    finally:
        for name in attributes:
            del own[name]
        own.update(before)

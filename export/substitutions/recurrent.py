"""LSTM, GRU and SimpleRNN become one ONNX node each.

Keras loops over the time steps; tf2onnx only knows some loops as an LSTM and leaves the others (every GRU, every batch
of 1, every mask) as a Loop, which ONNX Runtime runs node by node. ONNX has operators of the same maths.

Masked steps keep the state and repeat the last output. To let the ONNX operator do that, steps are sorted, those that
count first; as many are run as count, and every step gets the output of the last one that counts up to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from keronyx.export.cells import Operator, operator_of
from keronyx.export.operators.carried import carried
from keronyx.export.substitutions import Substitution
from keronyx.recast import replaced


@contextmanager
def _scope() -> Iterator[None]:
    from keras import layers

    with ExitStack() as stack:
        for kind in (layers.RNN, layers.LSTM, layers.GRU):
            stack.enter_context(replaced(kind, "inner_loop", _inner_loop(kind.inner_loop)))
        yield


SUBSTITUTION = Substitution(
    "recurrent", "a GRU, SimpleRNN, masked LSTM or one of a fixed batch stays a loop over its steps", _scope
)


def _inner_loop(original: Callable[..., Any]) -> Callable[..., Any]:
    def inner_loop(self: Any, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        from keras import layers, tree

        mask = tree.flatten(mask)[0] if tree.is_nested(mask) else mask
        cells = self.cell.cells if type(self.cell) is layers.StackedRNNCells else [self.cell]
        fits = not training and _plain(sequences, mask) and _plain_states(initial_state)
        operators = [one for cell in cells if fits and (one := operator_of(cell))]
        if len(operators) < len(cells):
            return original(self, sequences, initial_state, mask, training)
        states = initial_state if len(cells) > 1 else [initial_state]
        return _layers_of_cells(self, operators, sequences, states, mask, initial_state)

    return inner_loop


def _plain(sequences: Any, mask: Any) -> bool:
    import tensorflow as tf

    fits = tf.is_tensor(sequences) and sequences.dtype == tf.float32 and sequences.shape.rank == 3
    return fits and (mask is None or mask.shape.rank == 2)


def _plain_states(states: Any) -> bool:
    import tensorflow as tf
    from keras import tree

    return all(tf.is_tensor(s) and s.dtype == tf.float32 and s.shape.rank == 2 for s in tree.flatten(states))


def _layers_of_cells(
    layer: Any, operators: list[Operator], sequences: Any, states: Any, mask: Any, structure: Any
) -> tuple[Any, Any, Any]:
    """What `RNN.inner_loop` returns: the last output, outputs [batch, time or 1, units], and the states."""
    import tensorflow as tf
    from keras import tree

    backwards, x = layer.go_backwards, sequences
    steps = None
    if mask is not None:
        mask = tf.cast(mask, tf.bool)
        if backwards:
            x, mask, backwards = tf.reverse(x, [1]), tf.reverse(mask, [1]), False
        steps = _Steps(mask)
        x = tf.gather(x, steps.order, batch_dims=1)
    made: list[Any] = []
    for operator, state in zip(operators, states, strict=True):
        initial = tree.flatten(state)
        x, ends = _run(operator, x, initial, steps and steps.count, backwards)
        made += [steps.end(end, start) for end, start in zip(ends, initial, strict=True)] if steps else ends
    last = ends[0]
    if steps:
        last = tf.where(steps.any, last, tf.zeros_like(last))
        if layer.zero_output_for_mask:
            last = tf.where(mask[:, -1:], last, tf.zeros_like(last))
        outputs = steps.outputs(x, layer.zero_output_for_mask) if layer.return_sequences else None
    else:
        outputs = x
    if not layer.return_sequences:
        outputs = tf.expand_dims(last, 1)
    elif backwards:
        outputs = tf.reverse(x, [1])
    return last, outputs, tree.pack_sequence_as(structure, made)


class _Steps:
    """Where the steps that count are. `mask` [batch, time] bool."""

    def __init__(self, mask: Any) -> None:
        import tensorflow as tf

        time = tf.range(tf.shape(mask)[1])
        self.mask = mask
        self.order = tf.argsort(tf.where(mask, time, time + tf.shape(mask)[1]), axis=1)
        counts = tf.cast(mask, tf.int32)
        self.count = tf.reduce_sum(counts, axis=1)
        self.any = tf.expand_dims(self.count > 0, 1)
        self.place = tf.cumsum(counts, axis=1) - 1  # of the last step that counts, -1 before the first

    def end(self, end: Any, start: Any) -> Any:
        """The last state, or the first where no step counts."""
        import tensorflow as tf

        return tf.where(self.any, end, start)

    def outputs(self, sorted_outputs: Any, zero: bool) -> Any:
        """Outputs [batch, time, units] in the order of time."""
        import tensorflow as tf

        spread = tf.gather(sorted_outputs, tf.maximum(self.place, 0), batch_dims=1)
        there = self.mask if zero else self.place >= 0
        return tf.where(tf.expand_dims(there, 2), spread, tf.zeros_like(spread))


def _run(operator: Operator, sequences: Any, states: list[Any], count: Any, backwards: bool) -> tuple[Any, list[Any]]:
    """Outputs [batch, time, units] in the order of time, and the states after the last step."""
    import tensorflow as tf

    batch, time, units = sequences.shape[0], sequences.shape[1], operator.units
    zero = all(_is_zero(state) for state in states)  # as ONNX begins without being told
    y, *ends = carried(
        operator.name,
        [
            tf.transpose(sequences, [1, 0, 2]),
            *operator.weights,
            count,
            *([] if zero else [tf.expand_dims(state, 0) for state in states]),
        ],
        [((time, 1, batch, units), tf.float32), *([((1, batch, units), tf.float32)] * len(states))],
        direction="reverse" if backwards else "forward",
        **operator.attributes,
    )
    return tf.transpose(tf.squeeze(y, 1), [1, 0, 2]), [tf.squeeze(end, 0) for end in ends]


def _is_zero(tensor: Any) -> bool:
    """Whether the tensor is known to be zeros, such as `tf.zeros` of the batch's size."""
    import tensorflow as tf

    fill = tensor.op.inputs[1] if tensor.op.type == "Fill" else tensor
    value = tf.get_static_value(fill)
    return value is not None and not value.any()

"""Dense layers on more than two dimensions as one MatMul, and attention's scale as a number.

Keras calls tensordot, which flattens all dimensions but the last and restores them, through shapes computed at run time
when the batch is open; a MatMul takes any number of rows. The scale it computes from the shape it has just read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from keronyx.export.substitutions import Substitution
from keronyx.recast import replaced


@contextmanager
def _scope() -> Iterator[None]:
    import tensorflow as tf
    from keras.src.backend.tensorflow import nn

    original, original_attention = tf.tensordot, nn.dot_product_attention

    def tensordot(a: Any, b: Any, axes: Any, name: str | None = None) -> Any:
        a, b = tf.convert_to_tensor(a), tf.convert_to_tensor(b)
        axes = axes if isinstance(axes, int) else [list(np.ravel(side)) for side in axes]
        last = axes in (1, [[-1], [0]], [[len(a.shape) - 1], [0]])
        if last and len(a.shape) > 2 and len(b.shape) == 2 and a.dtype.is_floating:
            return tf.matmul(a, b, name=name)
        return original(a, b, axes, name)

    def dot_product_attention(
        query: Any,
        key: Any,
        value: Any,
        bias: Any = None,
        mask: Any = None,
        scale: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        size = key.shape[-1] if scale is None else None
        scale = scale if size is None else 1.0 / tf.sqrt(tf.constant(size, tf.float32))
        return original_attention(query, key, value, bias, mask, scale, *args, **kwargs)

    with replaced(tf, "tensordot", tensordot), replaced(nn, "dot_product_attention", dot_product_attention):
        yield


SUBSTITUTION = Substitution("dense", "tensordot flattens and restores dimensions through shapes", _scope)

"""Look-ups of integers (IntegerLookup) by arithmetic: tf2onnx wants tables it can name, of strings.

Keys close together are places in a constant vector; keys far apart are compared with one after another.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from keronyx.export.substitutions import Substitution
from keronyx.recast import replaced

SPAN = 1 << 20
"""Up to this distance between the smallest and the largest key, all between them are written out."""


@contextmanager
def _scope() -> Iterator[None]:
    import tensorflow as tf

    original = tf.lookup.StaticHashTable.lookup

    def lookup(self: Any, keys: Any, name: str | None = None) -> Any:
        if not (self.key_dtype.is_integer and (self.value_dtype.is_integer or self.value_dtype.is_floating)):
            return original(self, keys, name)
        with tf.init_scope():
            known, values = (tensor.numpy() for tensor in self.export())
            default = self._default_value.numpy()
        keys = tf.cast(keys, tf.int64)
        if not known.size:
            return tf.fill(tf.shape(keys), default)
        first, last = int(known.min()), int(known.max())
        if last - first < SPAN:
            every = np.full(last - first + 1, default)
            every[known - first] = values
            found = tf.gather(tf.constant(every), tf.clip_by_value(keys, first, last) - first)
            return tf.where(tf.logical_and(keys >= first, keys <= last), found, default)
        same = tf.equal(keys[..., None], tf.constant(known, tf.int64))
        one = tf.reduce_sum(tf.where(same, tf.constant(values), np.zeros_like(default)), -1)
        return tf.where(tf.reduce_any(same, -1), one, default)

    with replaced(tf.lookup.StaticHashTable, "lookup", lookup):
        yield


SUBSTITUTION = Substitution("tables", "no ONNX operator for look-up tables of integers", _scope)

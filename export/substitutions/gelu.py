"""The exact GELU through erf instead of erfc, in the form ONNX Runtime fuses into one operator.

tf2onnx knows no Erfc (onnx/tensorflow-onnx #2463); erfc(-x) is 1 + erf(x).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from keronyx.export.substitutions import Substitution
from keronyx.recast import replaced


@contextmanager
def _scope() -> Iterator[None]:
    import tensorflow as tf

    original = tf.nn.gelu

    def gelu(features: Any, approximate: bool = False, name: str | None = None) -> Any:
        if approximate:
            return original(features, approximate, name)
        x = tf.convert_to_tensor(features)
        return 0.5 * x * (1 + tf.math.erf(x / math.sqrt(2)))

    with replaced(tf.nn, "gelu", gelu):
        yield


SUBSTITUTION = Substitution("gelu", "onnx/tensorflow-onnx #2463", _scope)

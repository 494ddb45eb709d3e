"""Multi-hot and counted categories (CategoryEncoding, Discretization, IntegerLookup) as sums of one-hot vectors.

Keras takes TensorFlow's bincount, of which tf2onnx makes some forty nodes, and none where the counts have weights. Its
own other way, which it takes on other backends, is the sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from keronyx.export.substitutions import Substitution
from keronyx.recast import replaced


@contextmanager
def _scope() -> Iterator[None]:
    from keras.src.utils import numerical_utils

    def refuse(*_: Any, sparse: bool = False, **__: Any) -> Any:
        if sparse:
            return original(*_, sparse=sparse, **__)
        raise ValueError("Keras then takes its other way")

    tf_utils = numerical_utils.tf_utils
    original: Callable[..., Any] = tf_utils.tf_encode_categorical_inputs
    with replaced(tf_utils, "tf_encode_categorical_inputs", refuse):
        yield


SUBSTITUTION = Substitution("counting", "bincount becomes forty nodes, and with weights none", _scope)

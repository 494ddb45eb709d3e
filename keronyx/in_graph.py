"""Calling a Keras model eagerly so that it answers as `predict` and a trace do.

Keras' preprocessing layers convert integers to their compute dtype in a graph, but not eagerly: there a uint8 image
that is resized stays uint8, rounded (Keras 3.15, `layers/preprocessing/data_layer.py`). What is compared must be one of
the two, and what is shipped is the graph's.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any


def as_in_graph() -> AbstractContextManager[Any]:
    """A scope in which layers convert their inputs as in a graph. Operators still run one by one; of this thread alone;
    entering it costs 2 us."""
    from keras.src.utils.backend_utils import TFGraphScope

    scope: AbstractContextManager[Any] = TFGraphScope()
    return scope

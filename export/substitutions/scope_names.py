"""Layers and models of any name: TensorFlow takes no spaces, colons or letters beyond ASCII in scopes of a graph.

Keras opens a scope under the name of every layer it calls, and only eager calls go without that rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from keronyx.export.substitutions import Substitution
from keronyx.recast import replaced


def scope_name(name: str) -> str:
    """The name as TensorFlow takes it for a scope. Two names may become one."""
    scope = re.sub(r"[^\w./>-]", "_", name, flags=re.ASCII)
    return scope if re.match(r"[A-Za-z0-9.]", scope) else f"layer{scope}"


@contextmanager
def scope_names() -> Iterator[None]:
    """Scopes get a name that TensorFlow takes."""
    import tensorflow as tf

    original = tf.name_scope

    def name_scope(name: Any) -> Any:
        return original(scope_name(name) if name and isinstance(name, str) else name)

    with replaced(tf, "name_scope", name_scope):
        yield


SUBSTITUTION = Substitution("scope names", "TensorFlow takes no scope of a name that Keras takes", scope_names)

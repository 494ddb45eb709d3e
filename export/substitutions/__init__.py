"""What Keras does in a way tf2onnx cannot convert (or converts badly) is done in another, equal way while it is traced.

One file a substitution, each with the upstream issue it answers, so that it can be removed once that is mended. They
hold while a model is traced: Keras itself, and so the reference of every comparison, is never changed. Those that make
a trace possible at all (names, open sizes) hold for every artifact, the others for ONNX alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Substitution:
    """`scope` replaces something for as long as it is entered. `answers` is the issue, such as `onnx/tensorflow-onnx
    #2463`, or in a few words what is wrong without it."""

    name: str
    answers: str
    scope: Callable[[], AbstractContextManager[None]]


def substitutions() -> tuple[Substitution, ...]:
    """All of them, in the order they are entered."""
    from keronyx.export.substitutions import (
        argmax,
        center_crop,
        conv_transpose,
        counting,
        dense,
        dilated_conv,
        gelu,
        grouped_conv,
        recurrent,
        resizing,
        scope_names,
        symbolic_sizes,
        tables,
        time_distributed,
        upsampling,
    )

    images = (center_crop, conv_transpose, dilated_conv, grouped_conv, resizing, symbolic_sizes, upsampling)
    others = (argmax, counting, dense, gelu, recurrent, scope_names, tables, time_distributed)
    return tuple(module.SUBSTITUTION for module in (*images, *others))


@contextmanager
def substituted() -> Iterator[None]:
    """All substitutions, for the time of a trace."""
    with ExitStack() as stack:
        for substitution in substitutions():
            stack.enter_context(substitution.scope())
        yield

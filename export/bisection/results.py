"""What a bisection finds, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

RIGHT, DEPARTS, NOT_COMPARED = "right", "departs", "not compared"
SPOILED = "spoiled by an optimizer"


@dataclass(frozen=True)
class LayerError:
    """One call of one Keras layer, given exact inputs rounded to the file's precision.

    `layer` is its path (`encoder/conv1`), `tensor` the tensor of the file that has its output. `error` and
    `keras_error` are root mean squares in units of the exact output's, of the file and of Keras in its own precision;
    `ratio` is the one over the other (over rounding once where Keras makes no error). `amplification` is the error that
    comes out over the error that goes in, which is rounding alone. All four are None where nothing was compared (the
    layer is one with a neighbour in the file), or where the output is not finite.
    """

    layer: str
    class_name: str
    tensor: str
    error: float | None
    keras_error: float | None
    ratio: float | None
    amplification: float | None
    verdict: str
    one_with: tuple[str, ...] = ()
    """Layers that are the same nodes of the file: a fault may be theirs just as well."""
    confirmed: bool = True
    """Whether the next layer is right once this one's exact output is put in its place."""


@dataclass(frozen=True)
class Bisection:
    """`layers` in the order they are computed. `guilty` is the first that departs, None if none does.

    `optimizers` are those of ONNX Runtime that spoil a file that is right without them, and `session_option` what to
    pass to `InferenceSession` to do without; empty where they do not.
    """

    layers: tuple[LayerError, ...]
    guilty: str | None
    optimizers: tuple[str, ...]
    session_option: str
    seconds: float

    def departing(self) -> tuple[LayerError, ...]:
        """Layers that depart, those that amplify most first."""
        found = [one for one in self.layers if one.verdict in (DEPARTS, SPOILED)]
        return tuple(sorted(found, key=lambda one: -(one.amplification or float("inf"))))

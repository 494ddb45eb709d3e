"""The challenge's loss and scores as Keras 3 functions, for any backend: what `fit` minimises and logs.

Truth is one-hot (n, height, width, 3) float32, all zero where a pixel has no class; answers are probabilities of that
shape. F is that of the whole batch (see scores.py, which counts the same in numpy).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keronyx.zoo.scenes import CAR, ROAD
from keronyx.zoo.scores import BETA, EPSILON


def road_f(truth: Any, answer: Any) -> Any:
    """Soft F0.5 of the road, a scalar."""
    return _soft_f(truth, answer, ROAD)


def car_f(truth: Any, answer: Any) -> Any:
    """Soft F2 of cars, a scalar."""
    return _soft_f(truth, answer, CAR)


def lyft_f(truth: Any, answer: Any) -> Any:
    """Mean of the two."""
    return (road_f(truth, answer) + car_f(truth, answer)) / 2


def challenge_loss(cross_entropy: float = 0.0) -> Callable[[Any, Any], Any]:
    """1 - Lyft F, plus `cross_entropy` times the mean cross-entropy of the pixels with a class.

    The published networks were trained with the first part alone, which has next to no gradient as long as a class is
    not found at all; some cross-entropy gets a short training past that.
    """

    def loss(truth: Any, answer: Any) -> Any:
        from keras import ops

        missing = 1 - lyft_f(truth, answer)
        if not cross_entropy:
            return missing
        seen = ops.maximum(ops.sum(truth), 1.0)
        return missing - cross_entropy * ops.sum(truth * ops.log(ops.maximum(answer, EPSILON))) / seen

    return loss


def _soft_f(truth: Any, answer: Any, of_class: int) -> Any:
    from keras import ops

    truth = ops.cast(truth, answer.dtype)
    right, made = truth[..., of_class], answer[..., of_class] * ops.sum(truth, axis=-1)
    hit = ops.sum(right * made)
    precision = hit / (ops.sum(made) + EPSILON)
    recall = hit / (ops.sum(right) + EPSILON)
    square = BETA[of_class] ** 2
    return (1 + square) * precision * recall / (square * precision + recall + EPSILON)

"""How well road and car are found: the challenge's two scores, told apart, and IoU. numpy only, any number of images.

Soft: TP, FP and FN are sums of probabilities over the batch, precision and recall carry an epsilon of 1e-7; the
figures the 2018 entry published are means of it over batches. Official: hard masks at 600x800, TP, FP and FN pooled
over all frames, as the challenge ranked its entries. F-beta = (1 + b^2) P R / (b^2 P + R), with beta 2 for cars and
0.5 for road; both scores average the two.

A class that neither truth nor answer has anywhere is found without a mistake: F and IoU are 1. One that only the truth
or only the answer has scores 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from keronyx.types import Array, TaskScore
from keronyx.zoo.labels import IGNORED
from keronyx.zoo.pairs import resized_label
from keronyx.zoo.scenes import CAR, ROAD

BETA = {ROAD: 0.5, CAR: 2.0}
EPSILON = 1e-7
OFFICIAL_SIZE = (600, 800)
"""Height and width of the challenge's frames, which the official score is counted at."""
SOFT_BATCH = 2
"""Images of the batches that soft F is taken over: what the 2018 entry trained and validated with."""
RESAMPLES = 2000
LEAST_UNITS = 4
"""An interval of fewer images (for soft F, of fewer batches) would be a guess: its bounds are NaN then."""
MOST_NUMBERS = 2**22
"""Weights drawn at a time, so that memory does not grow with the images."""

SOFT, OWN, OFFICIAL = 0, 1, 2
"""First axis of an image's counts: sums of probabilities; hard, at the network's size; hard, at OFFICIAL_SIZE."""


@dataclass(frozen=True)
class Score:
    """F of one kind over everything seen: 0 to 1, NaN where nothing was seen."""

    road: float
    car: float

    @property
    def mean(self) -> float:
        """The challenge's figure (Lyft F)."""
        return (self.road + self.car) / 2


def f_beta(counts: Array, beta: float, epsilon: float = 0.0) -> Array:
    """F-beta of counts (..., 3): true positives, false positives, false negatives, of pixels or of probabilities.

    Without any positive, in truth or in answer, nothing was missed and nothing made up: 1.
    """
    tp, fp, fn = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    precision = _share(tp, tp + fp + epsilon)
    recall = _share(tp, tp + fn + epsilon)
    f = _share((1 + beta**2) * precision * recall, beta**2 * precision + recall + epsilon)
    return np.where(tp + fp + fn == 0, 1.0, f)


def intersection_over_union(counts: Array) -> Array:
    """IoU of counts as for `f_beta`; 1 where neither truth nor answer has any."""
    union = np.asarray(counts, np.float64).sum(-1)
    return np.where(union == 0, 1.0, _share(counts[..., 0], union))


def _share(part: Array, whole: Array) -> Array:
    """part / whole, 0 where that is 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole != 0)


def soft_counts(probabilities: Array, labels: Array, of_class: int) -> Array:
    """Counts (3,) of one class.

    Args:
        probabilities: (..., height, width, 3).
        labels: (..., height, width) uint8; IGNORED pixels count nowhere.
    """
    seen = labels != IGNORED
    truth = labels[seen] == of_class
    answer = probabilities[..., of_class][seen].astype(np.float64)
    hit, missed = float(answer[truth].sum()), float((1 - answer[truth]).sum())
    return np.array([hit, float(answer[~truth].sum()), missed])


def hard_counts(answers: Array, labels: Array, of_class: int) -> Array:
    """Counts (3,) of one class; both (..., height, width) uint8 classes, IGNORED in `labels` counts nowhere."""
    seen = labels != IGNORED
    truth, answer = labels[seen] == of_class, answers[seen] == of_class
    hit = np.count_nonzero(truth & answer)
    return np.array([hit, np.count_nonzero(answer) - hit, np.count_nonzero(truth) - hit], np.float64)


@dataclass
class Scores:
    """Collects images in order; of each only 18 numbers are kept."""

    frames: list[Array] = field(default_factory=list)
    """Of every image (3, 2, 3) float64: SOFT, OWN, OFFICIAL; ROAD, CAR; true positives, false ones, false negatives."""

    def add(self, probabilities: Array, labels: Array) -> None:
        """Some images: (n, height, width, 3) float, (n, height, width) uint8."""
        for found, label in zip(probabilities, labels, strict=True):
            answer = found.argmax(-1).astype(np.uint8)
            large = resized_label(answer, *OFFICIAL_SIZE), resized_label(label, *OFFICIAL_SIZE)
            kinds = (
                [soft_counts(found, label, c) for c in BETA],
                [hard_counts(answer, label, c) for c in BETA],
                [hard_counts(*large, c) for c in BETA],
            )
            self.frames.append(np.array(kinds))

    def counts(self) -> Array:
        """(images, 3, 2, 3) float64."""
        return np.array(self.frames).reshape(-1, 3, len(BETA), 3)

    def soft_score(self, batch: int = SOFT_BATCH) -> Score:
        """Mean over batches of so many images in order, as the entry published it."""
        return _score(_soft(self.counts(), batch).mean(0)) if self.frames else NONE

    def official(self) -> Score:
        """Pooled over all frames at 600x800; without the challenge's penalty for slow answers."""
        return _score(_official(self.counts().sum(0))) if self.frames else NONE

    def iou(self) -> Score:
        """Pooled over all images, at the network's own size."""
        return _score(_iou(self.counts().sum(0))) if self.frames else NONE

    def figures(self) -> dict[str, float]:
        """Every score by its name: `soft F`, `soft F road`, `soft F car`, the same of `official F` and `IoU`."""
        kinds = {"soft F": self.soft_score(), "official F": self.official(), "IoU": self.iou()}
        return {
            name: value
            for kind, score in kinds.items()
            for name, value in zip(_names(kind), (score.mean, score.road, score.car), strict=True)
        }


NONE = Score(float("nan"), float("nan"))


def paired(mine: Scores, reference: Scores, seed: int = 0, resamples: int = RESAMPLES) -> tuple[TaskScore, ...]:
    """Every score of `figures` beside the reference's, over the same images in the same order.

    The interval holds the middle 95 % of the difference over `resamples` seeded bootstrap samples: of images for
    `official F` and `IoU`, of batches of SOFT_BATCH for `soft F`, the same draws for both models.

    Raises:
        ValueError: the two were not collected on equally many images.
    """
    one, other = mine.counts(), reference.counts()
    if len(one) != len(other):
        raise ValueError(f"{len(one)} images against {len(other)}")
    values, wanted = mine.figures(), reference.figures()
    count = len(one)
    soft = _soft(one) - _soft(other)
    bounds = _interval(lambda weights: _and_mean(weights @ soft / len(soft)), len(soft), 3, seed, resamples)
    for kind in (_official, _iou):
        bounds += _interval(
            lambda weights, kind=kind: _and_mean(kind(_pooled(weights, one)) - kind(_pooled(weights, other))),  # type: ignore[misc]
            count,
            3,
            seed,
            resamples,
        )
    return tuple(
        TaskScore(name, values[name], wanted[name], *bound, count) for name, bound in zip(values, bounds, strict=True)
    )


def mean_interval(differences: Array, seed: int = 0, resamples: int = RESAMPLES) -> tuple[float, float]:
    """As `paired`, of the mean of (images,) differences."""
    count = len(differences)
    return _interval(lambda weights: weights @ differences[:, None] / count, count, 1, seed, resamples)[0]


def _interval(
    statistic: Callable[[Array], Array], units: int, columns: int, seed: int, resamples: int
) -> list[tuple[float, float]]:
    """Bounds of each column of `statistic`: (samples, units) weights -> (samples, columns)."""
    if units < LEAST_UNITS:
        return [(float("nan"), float("nan"))] * columns
    drawn = np.concatenate([statistic(weights) for weights in _resampled(units, seed, resamples)])
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _resampled(units: int, seed: int, resamples: int) -> Iterator[Array]:
    """How often each unit is drawn, (some, units) at a time until there are `resamples`; rows sum to `units`."""
    rng = np.random.default_rng(seed)
    at_once = max(1, MOST_NUMBERS // units)
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        yield rng.multinomial(units, np.full(units, 1 / units), size).astype(np.float64)


def _pooled(weights: Array, counts: Array) -> Array:
    """(samples, images) weights, (images, 3, 2, 3) counts -> (samples, 3, 2, 3)."""
    return (weights @ counts.reshape(len(counts), -1)).reshape(-1, *counts.shape[1:])


def _soft(counts: Array, batch: int = SOFT_BATCH) -> Array:
    """Soft F (batches, 2) of road and car; the last batch may be smaller."""
    parts = np.add.reduceat(counts[:, SOFT], np.arange(0, len(counts), batch))
    return np.stack([f_beta(parts[:, c], beta, EPSILON) for c, beta in BETA.items()], -1)


def _official(counts: Array) -> Array:
    """(..., 3, 2, 3) -> F (..., 2) of road and car."""
    return np.stack([f_beta(counts[..., OFFICIAL, c, :], beta) for c, beta in BETA.items()], -1)


def _iou(counts: Array) -> Array:
    """(..., 3, 2, 3) -> IoU (..., 2) of road and car."""
    return intersection_over_union(counts[..., OWN, :, :])


def _and_mean(by_class: Array) -> Array:
    """(samples, 2) -> (samples, 3): their mean before road and car, in the order of `_names`."""
    return np.concatenate([by_class.mean(-1, keepdims=True), by_class], -1)


def _names(kind: str) -> tuple[str, str, str]:
    return kind, f"{kind} road", f"{kind} car"


def _score(by_class: Array) -> Score:
    return Score(float(by_class[ROAD]), float(by_class[CAR]))


def challenge_points(score: Score, frames_per_second: float) -> float:
    """The challenge's ranking figure: 100 x mean F, less what is missing to 10 frames a second."""
    return 100 * score.mean - max(0.0, 10 - frames_per_second)

"""How well road and car are found: the challenge's two scores, told apart, and IoU. numpy only, any number of images.

Soft: TP, FP and FN are sums of probabilities over the batch, precision and recall carry an epsilon of 1e-7; the
figures the 2018 entry published are means of it over batches. Official: hard masks at 600x800, TP, FP and FN pooled
over all frames, as the challenge ranked its entries. F-beta = (1 + b^2) P R / (b^2 P + R), with beta 2 for cars and
0.5 for road; both scores average the two.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from keronyx.types import Array
from keronyx.zoo.labels import IGNORED
from keronyx.zoo.pairs import resized_label
from keronyx.zoo.scenes import CAR, ROAD

BETA = {ROAD: 0.5, CAR: 2.0}
EPSILON = 1e-7
OFFICIAL_SIZE = (600, 800)
"""Height and width of the challenge's frames, which the official score is counted at."""


@dataclass(frozen=True)
class Score:
    """F of one kind over everything seen: 0 to 1, NaN where nothing was seen."""

    road: float
    car: float

    @property
    def mean(self) -> float:
        """The challenge's figure (Lyft F)."""
        return (self.road + self.car) / 2


@dataclass(frozen=True)
class Counts:
    """True positives, false positives, false negatives of one class: pixels, or sums of probabilities."""

    tp: float = 0.0
    fp: float = 0.0
    fn: float = 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    def f(self, beta: float, epsilon: float = 0.0) -> float:
        """F-beta. Without any positive, in truth or in answer, nothing was missed and nothing made up: 1."""
        if self.tp + self.fp + self.fn == 0:
            return 1.0
        precision = self.tp / (self.tp + self.fp + epsilon) if self.tp + self.fp + epsilon else 0.0
        recall = self.tp / (self.tp + self.fn + epsilon) if self.tp + self.fn + epsilon else 0.0
        below = beta**2 * precision + recall + epsilon
        return (1 + beta**2) * precision * recall / below if below else 0.0

    def iou(self) -> float:
        """Intersection over union; 1 where neither has a pixel."""
        union = self.tp + self.fp + self.fn
        return self.tp / union if union else 1.0


def soft_counts(probabilities: Array, labels: Array, of_class: int) -> Counts:
    """Of one class over a batch.

    Args:
        probabilities: (n, height, width, 3).
        labels: (n, height, width) uint8; IGNORED pixels count nowhere.
    """
    seen = labels != IGNORED
    truth = labels[seen] == of_class
    answer = probabilities[..., of_class][seen].astype(np.float64)
    hit = float(answer[truth].sum())
    return Counts(hit, float(answer.sum()) - hit, float(truth.sum()) - hit)


def hard_counts(answers: Array, labels: Array, of_class: int) -> Counts:
    """Of one class; both (..., height, width) uint8 classes, IGNORED in `labels` counts nowhere."""
    seen = labels != IGNORED
    truth, answer = labels[seen] == of_class, answers[seen] == of_class
    hit = int(np.count_nonzero(truth & answer))
    return Counts(hit, int(np.count_nonzero(answer)) - hit, int(np.count_nonzero(truth)) - hit)


@dataclass
class Scores:
    """Collects batches; memory does not grow with them but for three numbers an image."""

    soft: list[Score] = field(default_factory=list)
    """Of every batch."""
    frames: list[dict[int, Counts]] = field(default_factory=list)
    """Hard counts of every image, at the network's own size: road and car."""
    pooled: dict[int, Counts] = field(default_factory=lambda: {ROAD: Counts(), CAR: Counts()})
    """At OFFICIAL_SIZE, over all images."""

    def add(self, probabilities: Array, labels: Array) -> None:
        """One batch: (n, height, width, 3) float, (n, height, width) uint8."""
        counted = {c: soft_counts(probabilities, labels, c).f(beta, EPSILON) for c, beta in BETA.items()}
        self.soft.append(Score(counted[ROAD], counted[CAR]))
        for answer, label in zip(probabilities.argmax(-1).astype(np.uint8), labels, strict=True):
            self.frames.append({c: hard_counts(answer, label, c) for c in BETA})
            large = resized_label(answer, *OFFICIAL_SIZE), resized_label(label, *OFFICIAL_SIZE)
            self.pooled = {c: counts + hard_counts(*large, c) for c, counts in self.pooled.items()}

    def soft_score(self) -> Score:
        """Mean over batches, as the entry published it."""
        return _score({c: float(np.mean([[s.road, s.car][c] for s in self.soft])) for c in BETA}) if self.soft else NONE

    def official(self) -> Score:
        """Pooled over all frames at 600x800; without the challenge's penalty for slow answers."""
        return _score({c: counts.f(BETA[c]) for c, counts in self.pooled.items()}) if self.frames else NONE

    def iou(self) -> Score:
        """Pooled over all images, at the network's own size."""
        if not self.frames:
            return NONE
        return _score({c: sum((frame[c] for frame in self.frames), Counts()).iou() for c in BETA})


NONE = Score(float("nan"), float("nan"))


def _score(by_class: dict[int, float]) -> Score:
    return Score(by_class[ROAD], by_class[CAR])


def challenge_points(score: Score, frames_per_second: float) -> float:
    """The challenge's ranking figure: 100 x mean F, less what is missing to 10 frames a second."""
    return 100 * score.mean - max(0.0, 10 - frames_per_second)

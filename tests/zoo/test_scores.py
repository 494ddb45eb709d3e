"""Soft and official F are what their definitions say, written down a second time here."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keronyx.zoo.labels import IGNORED, one_hot
from keronyx.zoo.scores import Counts, Scores, hard_counts, soft_counts


def drawn(seed, shape=(2, 6, 8)):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (*shape, 3))
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    labels = rng.choice([0, 1, 2, IGNORED], shape, p=[0.4, 0.2, 0.3, 0.1]).astype(np.uint8)
    return probabilities, labels


def soft_by_hand(probabilities, labels, channel, beta):
    tp = fp = fn = 0.0
    for p, y in zip(probabilities[..., channel].ravel(), labels.ravel(), strict=True):
        if y != IGNORED:
            tp, fp, fn = tp + p * (y == channel), fp + p * (y != channel), fn + (1 - p) * (y == channel)
    precision, recall = tp / (tp + fp + 1e-7), tp / (tp + fn + 1e-7)
    return (1 + beta**2) * precision * recall / (beta**2 * precision + recall + 1e-7)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_soft_scores_are_their_definition(seed):
    probabilities, labels = drawn(seed)
    scores = Scores()
    scores.add(probabilities, labels)
    found = scores.soft_score()
    assert found.road == pytest.approx(soft_by_hand(probabilities, labels, 0, 0.5), abs=1e-12)
    assert found.car == pytest.approx(soft_by_hand(probabilities, labels, 1, 2), abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_official_score_pools_all_frames_at_600_x_800(seed):
    scores, answers, truths = Scores(), [], []
    for part in range(2):
        probabilities, labels = drawn([seed, part], (1, 6, 8))
        scores.add(probabilities, labels)
        answers.append(probabilities.argmax(-1).repeat(100, 1).repeat(100, 2))
        truths.append(labels.repeat(100, 1).repeat(100, 2))
    answer, truth = np.concatenate(answers), np.concatenate(truths)
    seen = truth != IGNORED
    for channel, beta, found in ((0, 0.5, scores.official().road), (1, 2.0, scores.official().car)):
        right, made = (truth == channel)[seen], (answer == channel)[seen]
        precision, recall = (right & made).sum() / made.sum(), (right & made).sum() / right.sum()
        assert found == pytest.approx((1 + beta**2) * precision * recall / (beta**2 * precision + recall), abs=1e-12)


@pytest.mark.slow
def test_fit_minimises_what_the_scores_count():
    from keronyx.zoo.losses import car_f, challenge_loss, road_f

    probabilities, labels = drawn(3)
    truth = one_hot(labels)
    scores = Scores()
    scores.add(probabilities, labels)
    answer = probabilities.astype(np.float32)
    assert float(road_f(truth, answer)) == pytest.approx(scores.soft_score().road, abs=1e-5)
    assert float(car_f(truth, answer)) == pytest.approx(scores.soft_score().car, abs=1e-5)
    assert float(challenge_loss()(truth, answer)) == pytest.approx(1 - scores.soft_score().mean, abs=1e-5)


def test_no_car_and_none_found_is_no_mistake():
    counts = hard_counts(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8), 1)
    assert counts.f(2.0) == 1 and counts.iou() == 1


def test_no_car_but_one_found_scores_nothing():
    counts = hard_counts(np.ones((2, 2), np.uint8), np.zeros((2, 2), np.uint8), 1)
    assert counts.f(2.0) == 0 and counts.iou() == 0


def test_images_without_any_class_count_nowhere():
    labels = np.full((1, 2, 2), IGNORED, np.uint8)
    assert soft_counts(np.full((1, 2, 2, 3), 1 / 3), labels, 0) == Counts()


def test_iou_is_that_of_all_images_together():
    scores = Scores()
    answer = np.zeros((2, 2, 2, 3))
    answer[..., 0] = 1
    labels = np.array([[[0, 0], [0, 0]], [[0, 1], [1, 1]]], np.uint8)
    scores.add(answer, labels)
    assert scores.iou().road == 5 / 8 and scores.iou().car == 0


def test_nothing_seen_is_no_score():
    assert np.isnan(Scores().official().mean)

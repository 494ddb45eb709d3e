"""Soft and official F are what their definitions say, written down a second time here."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keronyx.zoo.labels import IGNORED, one_hot
from keronyx.zoo.scores import (
    Scores,
    challenge_points,
    f_beta,
    hard_counts,
    intersection_over_union,
    mean_interval,
    paired,
    soft_counts,
)


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
    assert f_beta(counts, 2.0) == 1 and intersection_over_union(counts) == 1


def test_no_car_but_one_found_scores_nothing():
    counts = hard_counts(np.ones((2, 2), np.uint8), np.zeros((2, 2), np.uint8), 1)
    assert f_beta(counts, 2.0) == 0 and intersection_over_union(counts) == 0


def test_images_without_any_class_count_nowhere():
    labels = np.full((1, 2, 2), IGNORED, np.uint8)
    assert soft_counts(np.full((1, 2, 2, 3), 1 / 3), labels, 0).tolist() == [0, 0, 0]


def test_iou_is_that_of_all_images_together():
    scores = Scores()
    answer = np.zeros((2, 2, 2, 3))
    answer[..., 0] = 1
    labels = np.array([[[0, 0], [0, 0]], [[0, 1], [1, 1]]], np.uint8)
    scores.add(answer, labels)
    assert scores.iou().road == 5 / 8 and scores.iou().car == 0


def test_nothing_seen_is_no_score():
    assert np.isnan(Scores().official().mean)


def collected(seed, images=8, worse=0.0, shape=(6, 8)):
    """Scores of a model that is right most of the time, less often by `worse`."""
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, 2], (images, *shape)).astype(np.uint8)
    noise = rng.normal(0, 1 + worse, (images, *shape, 3))
    logits = 1.5 * one_hot(labels) + noise
    scores = Scores()
    scores.add(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True), labels)
    return scores


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 3))
def test_soft_f_is_the_mean_over_batches_however_images_are_added(seed, images, batch):
    probabilities, labels = drawn(seed, (images, 3, 4))
    scores = Scores()
    for part in range(images):
        scores.add(probabilities[part : part + 1], labels[part : part + 1])
    for channel, beta, found in ((0, 0.5, scores.soft_score(batch).road), (1, 2.0, scores.soft_score(batch).car)):
        by_hand = [
            soft_by_hand(probabilities[start : start + batch], labels[start : start + batch], channel, beta)
            for start in range(0, images, batch)
        ]
        assert found == pytest.approx(np.mean(by_hand), abs=1e-12)


def test_a_model_does_not_differ_from_itself():
    scores = collected(0)
    for one in paired(scores, scores):
        assert one.value == one.reference and one.low == one.high == 0


def test_a_paired_interval_is_that_of_resampled_images():
    """Written a second time: images drawn with replacement, scores collected anew of what was drawn."""
    mine, reference = collected(1, worse=0.3), collected(1)
    found = {one.name: one for one in paired(mine, reference, seed=3, resamples=200)}
    rng, differences = np.random.default_rng(3), []
    for _ in range(200):
        times = rng.multinomial(8, np.full(8, 1 / 8))
        figures = []
        for scores in (mine, reference):
            again = Scores([frame for frame, often in zip(scores.frames, times, strict=True) for _ in range(often)])
            figures.append(again.figures())
        differences.append([figures[0][name] - figures[1][name] for name in found])
    low, high = np.quantile(differences, (0.025, 0.975), axis=0)
    for place, (name, one) in enumerate(found.items()):
        if not name.startswith("soft"):
            assert (one.low, one.high) == pytest.approx((low[place], high[place]), abs=1e-12), name
        assert one.value == mine.figures()[name] and one.reference == reference.figures()[name]


def test_the_interval_of_soft_f_is_that_of_resampled_batches():
    mine, reference = collected(1, 12, worse=0.3), collected(1, 12)
    one = next(one for one in paired(mine, reference, seed=5, resamples=300) if one.name == "soft F car")
    by_batch = np.array(
        [
            Scores(mine.frames[start : start + 2]).soft_score().car
            - Scores(reference.frames[start : start + 2]).soft_score().car
            for start in range(0, 12, 2)
        ]
    )
    rng = np.random.default_rng(5)
    drawn = [by_batch.repeat(rng.multinomial(6, np.full(6, 1 / 6))).mean() for _ in range(300)]
    assert (one.low, one.high) == pytest.approx(tuple(np.quantile(drawn, (0.025, 0.975))), abs=1e-12)
    assert one.images == 12 and one.value - one.reference == pytest.approx(by_batch.mean(), abs=1e-12)


def test_a_worse_model_is_found_out_and_draws_are_the_same_every_time():
    found = paired(collected(2, 40, worse=2.0), collected(2, 40))
    assert found == paired(collected(2, 40, worse=2.0), collected(2, 40))
    assert all(one.high < 0 and one.low <= one.value - one.reference <= one.high for one in found)
    assert [one.name for one in found] == [
        "soft F", "soft F road", "soft F car", "official F", "official F road", "official F car", "IoU", "IoU road",
        "IoU car",
    ]  # fmt: skip


def test_a_paired_interval_holds_the_true_difference_as_often_as_it_says():
    """Of a mean of 40 differences, 95 %; a bootstrap of so few is a little narrow."""
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(300):
        low, high = mean_interval(rng.normal(0.3, 1, 40), seed, 400)
        held += low <= 0.3 <= high
    assert 0.90 <= held / 300 <= 0.99


def test_few_images_give_no_interval():
    found = {one.name: one for one in paired(collected(0, 4), collected(1, 4))}
    assert np.isnan(found["soft F"].low) and not np.isnan(found["official F"].low)
    assert np.isnan(mean_interval(np.zeros(3))[0])


def test_memory_for_an_interval_is_bounded(monkeypatch):
    from keronyx.zoo import scores

    whole = mean_interval(np.arange(50.0))
    monkeypatch.setattr(scores, "MOST_NUMBERS", 500)
    assert max(len(weights) for weights in scores._resampled(50, 0, 2000)) == 10
    assert mean_interval(np.arange(50.0)) == whole


def test_different_images_are_not_compared():
    with pytest.raises(ValueError, match="8 images against 4"):
        paired(collected(0), collected(0, 4))


def test_slow_answers_cost_points():
    from keronyx.zoo.scores import Score

    assert challenge_points(Score(0.9, 0.8), 4) == pytest.approx(85 - 6)
    assert challenge_points(Score(0.9, 0.8), 30) == pytest.approx(85)

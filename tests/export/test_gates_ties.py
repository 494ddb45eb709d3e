"""An argmax over values that are as good as equal may answer any of them, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from keronyx.export import onnx, signature
from keronyx.export.dims import NOTHING
from keronyx.export.gates import numeric, references, ties, trials
from keronyx.export.gates.trials import Trial
from keronyx.parity import FLOAT32


def test_only_a_place_that_is_tied_counts_as_the_reference() -> None:
    near = np.array([[True, True, False], [False, True, False], [True, False, True]])
    right = [np.array([[0, 1, 2]], "int32"), np.array([5, 5])]
    made = [np.array([[1, 0, 2]], "int32"), np.array([6, 5])]
    found = ties.settled(made, right, [near, np.zeros((0, 0), bool)])
    assert found[0].tolist() == [[0, 0, 2]] and found[0].dtype == "int32"
    assert found[1].tolist() == [6, 5]
    (far,) = ties.settled([np.array([[7, -1, 0]])], right[:1], [near])
    assert far.tolist() == [[7, -1, 2]]


def test_near_is_a_share_of_the_rms_and_infinity_is_tied_with_itself_alone() -> None:
    values = np.array([[1, 1 - 1e-4, 0.5], [-np.inf, 0, 1], [np.inf, np.inf, 1]])
    seen = [(values, np.array([0, 2, 0]))]
    near, none = ties.tied([np.array([[0], [2], [0]]), np.array([0, 1, 0])], seen, 3e-4)
    assert near.tolist() == [[True, True, False], [False, False, True], [True, True, False]]
    assert none.size == 0


def test_ties_are_stored_with_their_trial(tmp_path: Path) -> None:
    near = [np.zeros((0, 0), bool), np.eye(3) > 0]
    trials.store(tmp_path / "t.npz", [Trial("random", [np.ones(2)], [np.ones(1)]), Trial("other", [], [], near)])
    first, second = trials.read(tmp_path / "t.npz")
    assert first.ties == [] and [a.tolist() for a in second.ties] == [a.tolist() for a in near]


@pytest.mark.slow
@pytest.mark.parametrize("axis", [1, -1, None])
def test_an_argmin_of_a_saturated_sigmoid_is_exported(axis: int | None) -> None:
    import keras
    from keras import layers

    image = keras.Input((5, 6, 4), name="image")
    y = layers.Conv2D(5, 3, padding="same", activation="sigmoid")(image)
    places = layers.Lambda(lambda t: keras.ops.argmin(t, axis=axis, keepdims=axis is not None))(y)
    model = keras.Model(image, [keras.ops.cast(places, "int64"), y, keras.ops.argmax(image, 1)])
    random = np.random.default_rng(1)
    model.set_weights([random.normal(0, 0.4, w.shape) for w in model.get_weights()])
    spec = signature.of_keras(model, "tiny", "tiny", 1, None)
    path = Path("model.onnx")
    onnx.convert(model, spec, path)
    made = references.tried(model, spec, NOTHING)
    rounding = references.rounded(model, spec, made, "float32")
    assert numeric.judge(path, spec, made, FLOAT32, rounding).refusal is None
    for trial in rounding:
        near, none, _ = trial.ties
        assert none.size == 0 and near.any(1).all()
    assert rounding[1].ties[0].sum() > rounding[1].ties[0].shape[0], "saturated"
    alone = (rounding[0].ties[0].sum(1) == 1).reshape(made[0].answers[0].shape)
    assert alone.any()
    made[0].answers[0] = made[0].answers[0] + alone
    refusal = numeric.judge(path, spec, made, FLOAT32, rounding).refusal
    assert refusal is not None and "random input" in refusal.said

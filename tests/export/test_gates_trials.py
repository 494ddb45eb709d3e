"""Inputs a model is tried on: they mean something to it, and cover what breaks converters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keronyx.export.gates import trials
from keronyx.export.gates.trials import Trial
from keronyx.types import TensorSpec


def _one(shape: tuple[int | None, ...], dtype: str, **more: Any) -> dict[str, Any]:
    return {trial.kind: trial.inputs[0] for trial in trials.draw([TensorSpec("x", shape, dtype)], {}, **more)}


def test_an_image_is_tried_as_noise_as_a_picture_and_below_zero() -> None:
    drawn = _one((2, 40, 50, 3), "float32")
    assert list(drawn) == ["random", "realistic", "negative"]
    assert all(array.shape == (2, 40, 50, 3) and array.dtype == np.float32 for array in drawn.values())
    picture = drawn["realistic"]
    assert 0 <= picture.min() < 60 and 180 < picture.max() <= 255
    steps = np.abs(np.diff(picture, axis=2))
    assert np.median(steps) < 15 < steps.max(), "smooth, but for edges"
    assert drawn["negative"].max() < 0
    assert drawn["random"].min() < 0 < drawn["random"].max()


def test_pixels_are_drawn_from_all_of_their_range_and_never_below_zero() -> None:
    drawn = _one((1, 30, 30, 1), "uint8")
    assert list(drawn) == ["random", "realistic"]
    assert all(array.dtype == np.uint8 and array.max() > 127 for array in drawn.values())


def test_indices_stay_inside_the_vocabulary() -> None:
    words, other = TensorSpec("words", (1, 200), "int32"), TensorSpec("other", (1, 200), "int64")
    for trial in trials.draw([words, other], {"words": 7}):
        assert trial.inputs[0].min() >= 0 and trial.inputs[0].max() == 6
        assert trial.inputs[1].min() >= 0 and trial.inputs[1].max() == 3, "small where nothing is known"
    assert "negative" not in [trial.kind for trial in trials.draw([words, other], {})]


def test_a_mask_has_both_values() -> None:
    assert all(set(array.reshape(-1)) == {True, False} for array in _one((1, 2), "bool").values())


def test_an_open_batch_is_tried_with_one_and_with_all_together() -> None:
    drawn = _one((None, 5), "float32")
    assert list(drawn) == ["random", "realistic", "negative", "batch 3"]
    rows = [drawn[kind] for kind in ("random", "realistic", "negative")]
    assert all(row.shape == (1, 5) for row in rows)
    np.testing.assert_array_equal(drawn["batch 3"], np.concatenate(rows))


def test_open_dimensions_of_one_name_have_one_length() -> None:
    tensors = [TensorSpec("a", (None, None, 4), "float32"), TensorSpec("b", (None, None, None), "float32")]
    names = [("batch", "length", 4), ("batch", "length", "batch")]
    for trial in trials.draw(tensors, {}, length=11, names=names)[:3]:
        assert [array.shape for array in trial.inputs] == [(1, 11, 4), (1, 11, 1)]


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "uint64"])
def test_every_dtype_and_a_scalar_can_be_drawn(dtype: str) -> None:
    assert all(array.dtype == dtype and np.isfinite(array).all() for array in _one((1, 6), dtype).values())
    assert all(array.shape == () for array in _one((), dtype).values())


def test_trials_are_read_as_they_were_stored(tmp_path: Path) -> None:
    answers = [np.arange(3), np.array([["Füße", ""]])]
    drawn = trials.draw([TensorSpec("x", (None, 3), "float32"), TensorSpec("word", (None, 2), "string")], {})
    stored = [Trial(trial.kind, trial.inputs, answers) for trial in drawn]
    trials.store(tmp_path / "trials.npz", stored)
    found = trials.read(tmp_path / "trials.npz")
    assert [trial.kind for trial in found] == [trial.kind for trial in stored]
    for mine, right in zip(found, stored, strict=True):
        for a, b in zip(mine.inputs + mine.answers, right.inputs + right.answers, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype


@pytest.mark.slow
def test_each_input_knows_the_vocabulary_it_is_looked_up_in() -> None:
    import keras
    from keras import layers

    words, kinds, free = (keras.Input((4,), dtype="int32", name=name) for name in ("words", "kinds", "free"))
    inner_in = keras.Input((4,), dtype="int32")
    inner = keras.Model(inner_in, layers.Embedding(5, 3)(inner_in))
    total = layers.Embedding(50, 3)(keras.ops.maximum(words, 0)) + inner(kinds)
    model = keras.Model([words, kinds, free], total + keras.ops.cast(free, "float32")[..., None])
    assert trials.limits(model) == {"words": 50, "kinds": 5}
    sequential = keras.Sequential([layers.Input((4,), dtype="int32", name="words"), layers.Embedding(9, 2)])
    assert trials.limits(sequential) == {"words": 9}
    assert trials.limits(keras.Model(free, keras.ops.cast(free, "float32"))) == {}


def test_open_sizes_are_tried_unequal_too() -> None:
    tensors = [TensorSpec("a", (None, None, None, 3), "float32"), TensorSpec("b", (None, None), "float32")]
    names = [("batch", "height", "width", 3), ("batch", "height")]
    (trial,) = trials.uneven(tensors, {}, 4, names)
    assert [array.shape for array in trial.inputs] == [(1, 80, 112, 3), (1, 80)]
    (trial,) = trials.uneven(tensors, {}, 4, names, 5, 1)
    assert [array.shape for array in trial.inputs] == [(1, 5, 6, 3), (1, 5)]
    assert trials.open_sizes(tensors, names) == ["height", "width"]
    assert trials.uneven(tensors[:1], {}, 4, [("n", "n", "n", 3)]) == []  # sizes of the batch are the batch's
    assert trials.uneven([TensorSpec("x", (None, 8), "float32")], {}, 4, [("batch", 8)]) == []

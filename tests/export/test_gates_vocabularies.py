"""Inputs in front of look-ups and masks: tokens that are known, and steps that are left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keronyx.errors import ExportError
from keronyx.export import onnx, signature
from keronyx.export.dims import NOTHING
from keronyx.export.gates import references, vocabularies
from keronyx.export.gates.trials import Trial
from keronyx.export.gates.vocabularies import Meaning
from keronyx.types import ModelSpec, TensorSpec

KNOWN = (10, 20, -30, 4000)


def _one(meaning: Meaning, array: Any, name: str = "x") -> list[Any]:
    tensors = [TensorSpec("x", array.shape, array.dtype.name)]
    drawn = [Trial("random", [array], []), Trial("realistic", [array], [])]
    return [trial.inputs[0] for trial in vocabularies.with_meaning(drawn, tensors, {name: meaning})]


def test_a_strict_lookup_gets_nothing_but_its_tokens_and_another_some_unknown_ones() -> None:
    array = np.ones((3, 50), "int32")
    for drawn in _one(Meaning(KNOWN, strict=True), array):
        assert drawn.dtype == "int32" and set(drawn.reshape(-1)) == set(KNOWN)
    for drawn in _one(Meaning(KNOWN), array):
        assert set(drawn.reshape(-1)) == {*KNOWN, 1} and 0.1 < np.mean(drawn == 1) < 0.3
    assert all(drawn is array for drawn in _one(Meaning(KNOWN), array, "another"))


def test_steps_are_masked_here_and_there_and_at_the_end_but_never_all_of_them() -> None:
    holes, padded = _one(Meaning(mask=-2.0, inner=1), np.ones((8, 12, 3), "float32"))
    for drawn in (holes, padded):
        masked = drawn == -2
        assert drawn.dtype == "float32" and np.all(masked.all(-1) == masked.any(-1)), "a step's values all or none"
        assert not masked[:, 0].any() and set(np.unique(drawn)) == {-2, 1}
    assert np.all((padded[..., 0] == -2) == (np.arange(12) >= 8))
    (one, _) = _one(Meaning(mask=0.0), np.ones((1,), "int32"))
    assert one.tolist() == [1]


def _answered(model: Any) -> list[Trial]:
    return references.tried(model, signature.of_keras(model, "tiny", "tiny", None, None), NOTHING)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["int", "multi_hot", "count"])
@pytest.mark.parametrize("mask", [None, -1])
def test_a_model_that_takes_no_unknown_integers_is_exported(mode: str, mask: int | None, comparison: Any) -> None:
    import keras
    from keras import layers

    ids = keras.Input((6,), dtype="int64", name="ids")
    lookup = layers.IntegerLookup(vocabulary=KNOWN, num_oov_indices=0, mask_token=mask, output_mode=mode)
    y = lookup(ids[:, 1:])
    model = keras.Model(ids, layers.Embedding(6, 3)(y) if mode == "int" else y)
    spec = signature.of_keras(model, "tiny", "tiny", None, None)
    onnx.convert(model, spec, Path("model.onnx"))
    for trial in references.tried(model, spec, NOTHING):
        assert np.unique(trial.inputs[0]).size > 2
        comparison.assert_same(trial.answers, comparison.run_onnx(Path("model.onnx"), spec, trial.inputs))


@pytest.mark.slow
def test_each_input_is_drawn_from_what_it_reaches() -> None:
    import keras
    from keras import layers

    ids, words, steps, free = (
        keras.Input((9,), dtype="int32", name="ids"),
        keras.Input((9,), dtype="int32", name="words"),
        keras.Input((9, 2), name="steps"),
        keras.Input((9, 2), name="free"),
    )
    inner = keras.Sequential([layers.Input((9, 2)), layers.Masking(5.0), layers.SimpleRNN(3)])
    looked = layers.Embedding(7, 3, mask_zero=True)(layers.IntegerLookup(vocabulary=KNOWN)(ids))
    made = layers.SimpleRNN(3)(looked) + layers.SimpleRNN(3)(layers.Embedding(50, 3, mask_zero=True)(words))
    made = made + inner(steps) + layers.SimpleRNN(3)(layers.Masking()(layers.Dense(2)(free)))
    model = keras.Model([ids, words, steps, free], made)
    found = vocabularies.meanings(model)
    assert set(found) == {"ids", "words", "steps"}
    assert found["ids"].tokens == KNOWN and not found["ids"].strict
    assert (found["words"].mask, found["steps"].mask, found["steps"].inner) == (0, 5, 1)
    for trial in _answered(model):
        assert np.isin(trial.inputs[0], KNOWN).mean() > 0.5
        assert 0.1 < np.mean(trial.inputs[1] == 0) < 0.5 and 0.1 < np.mean(trial.inputs[2] == 5) < 0.5


@pytest.mark.slow
def test_an_inverted_lookup_gets_places_in_its_vocabulary() -> None:
    import keras
    from keras import layers

    x = keras.Input((9,), dtype="int64", name="x")
    model = keras.Model(x, layers.IntegerLookup(vocabulary=KNOWN, invert=True)(x))
    assert vocabularies.meanings(model)["x"] == Meaning((0, 1, 2, 3, 4), strict=True)


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "advised"), [((9,), False), ((None,), True)])
def test_sizes_are_advised_only_where_they_are_open(shape: tuple[int | None], advised: bool) -> None:
    import keras

    class Never(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            raise ValueError("never")

        def compute_output_spec(self, x: Any) -> Any:
            return keras.KerasTensor(x.shape, x.dtype)

    x = keras.Input(shape, name="x")
    spec = ModelSpec("tiny", "tiny", (TensorSpec("x", (1, *shape), "float32"),), (), 0, "hash")
    with pytest.raises(ExportError, match="gives no answers") as refused:
        references.tried(keras.Model(x, Never()(x)), spec, NOTHING)
    assert ("--shape" in refused.value.remedy) == advised and "random" in refused.value.remedy

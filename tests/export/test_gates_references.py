"""What Keras itself answers, with real models: under rounding, of SavedModels, and layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keronyx import rounding
from keronyx.errors import ExportError
from keronyx.export import converter, finishing, onnx, onnx_files, signature
from keronyx.export import finish as finish_module
from keronyx.export.dims import NOTHING
from keronyx.export.gates import Refusal, guilty, references, trials

pytestmark = pytest.mark.slow


def _net(randomised: Any, dtype: str | None = None) -> Any:
    import keras
    from keras import layers

    image = keras.Input((8, 8, 3), name="image")
    y = layers.Conv2D(4, 3, name="first", dtype=dtype)(image)
    y = layers.ReLU(name="act")(y)
    y = layers.Conv2D(4, 3, name="second")(y)
    y = layers.Flatten(name="flat")(y)
    return randomised(keras.Model(image, layers.Dense(3, name="last")(y)))


def _spec(model: Any, batch: int | None = 1) -> Any:
    return signature.of_keras(model, "tiny", "tiny", batch, None)


def test_trials_have_keras_answers_at_every_batch(randomised: Any, comparison: Any) -> None:
    model = _net(randomised)
    made = references.tried(model, _spec(model, None), NOTHING)
    assert [trial.answers[0].shape[0] for trial in made] == [1, 1, 1, 3]
    for trial in made:
        comparison.assert_same(comparison.keras_answers(model, trial.inputs), trial.answers)
    together = np.concatenate([trial.answers[0] for trial in made[:3]])
    np.testing.assert_allclose(together, made[3].answers[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("then", ["", "rescaled", "padded"])
def test_pixels_are_resized_as_in_predict(then: str, comparison: Any, tmp_path: Path) -> None:
    import keras
    from keras import layers

    image = keras.Input((8, 9, 3), dtype="uint8", name="image")
    y = layers.Resizing(5, 7, pad_to_aspect_ratio=then == "padded")(image)
    model = keras.Model(image, layers.Rescaling(1 / 255)(y) if then == "rescaled" else y)
    spec = _spec(model)
    onnx.convert(model, spec, tmp_path / "model.onnx")
    for trial in references.tried(model, spec, NOTHING):
        expected = [model.predict(trial.inputs[0], verbose=0)]
        assert expected[0].dtype == spec.outputs[0].dtype == "float32"
        comparison.assert_same(expected, trial.answers)
        comparison.assert_same(expected, comparison.run_onnx(tmp_path / "model.onnx", spec, trial.inputs))


def _open_net(least: int) -> tuple[Any, Any]:
    """A model of open height and width, which takes none that is smaller."""
    import keras

    x = keras.Input((None, None, 3), name="x")
    model = keras.Model(x, keras.layers.Conv2D(2, least)(x))
    return model, signature.of_keras(model, "tiny", "tiny", 1, None, leave_open=True)


# No window of 3: oneDNN, on a processor with AVX-512, answers with anything where an image of 2 does not fit it.
@pytest.mark.parametrize(("least", "small"), [(1, 2), (9, 9), (30, 33)])
def test_open_sizes_are_tried_small_and_unequal_from_where_keras_takes_them(least: int, small: int) -> None:
    made = references.tried(*_open_net(least), NOTHING)
    sizes = [trial.inputs[0].shape[1:3] for trial in made]
    assert sizes == [(96, 96)] * 3 + [(80, 112), (small, small + 1), (small + 2, small + 3)]


def test_a_model_that_takes_no_small_size_is_tried_on_others() -> None:
    sizes = [trial.inputs[0].shape[1:3] for trial in references.tried(*_open_net(60), NOTHING)]
    assert sizes == [(96, 96)] * 3 + [(80, 112)]


def test_small_sizes_that_leave_nothing_to_compare_are_left_out() -> None:
    import keras

    x = keras.Input((None, 3), name="x")
    model = keras.Model(x, [x[:, 7:], keras.ops.mean(x[:, 3:], axis=1)])  # nothing, and no number
    spec = signature.of_keras(model, "tiny", "tiny", 1, None, leave_open=True)
    assert [t.inputs[0].shape[1] for t in references.tried(model, spec, NOTHING)] == [96, 96, 96, 80, 9, 10]


def test_a_file_that_is_wrong_for_small_sizes_alone_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import asdict

    import keras

    from keronyx.export import substitutions

    kept = tuple(one for one in substitutions.substitutions() if one.name != "center crop")
    monkeypatch.setattr(substitutions, "substitutions", lambda: kept)
    monkeypatch.setattr(signature, "center_crop", substitutions.symbolic_sizes.symbolic_sizes)
    x = keras.Input((None, None, 3), name="x")
    model = keras.Model(x, keras.layers.CenterCrop(8, 9)(x))
    spec = signature.of_keras(model, "tiny", "tiny", 1, None, leave_open=True)
    graph, _ = onnx.converted(model, spec)
    onnx_files.save_raw(graph, tmp_path / onnx_files.RAW)
    trials.store(tmp_path / onnx_files.ANSWERS, references.tried(model, spec, NOTHING))
    terms = {"folder": str(tmp_path), "name": "model.onnx", "spec": asdict(spec), "precision": "float32"}
    done = finishing.finish({**terms, "opset": 18, "skip": []})
    assert "[1, 2, 3, 3], the reference's [1, 8, 9, 3] (uneven 2x3 input" in done["refusal"]["said"]


def test_a_model_that_takes_only_small_indices_gets_smaller_ones() -> None:
    import keras
    import tensorflow as tf

    class Two(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            tf.debugging.assert_less(x, 2)
            return tf.cast(x, "float32") * 3

        def compute_output_spec(self, x: Any) -> Any:
            return keras.KerasTensor(x.shape, "float32")

    x = keras.Input((30,), dtype="int32", name="x")
    model = keras.Model(x, Two()(x))
    assert references.tried(model, _spec(model), NOTHING)[0].inputs[0].max() == 1

    class Never(Two):
        def call(self, x: Any) -> Any:
            tf.debugging.assert_less(x, 0)
            return tf.cast(x, "float32")

    model = keras.Model(x, Never()(x))
    with pytest.raises(ExportError, match="Keras gives no answers to compare with"):
        references.tried(model, _spec(model), NOTHING)


def test_rounding_moves_answers_a_little_and_leaves_the_model_as_it_was(randomised: Any) -> None:
    model = _net(randomised)
    spec = _spec(model)
    weights = [np.array(value) for value in model.get_weights()]
    made = references.tried(model, spec, NOTHING)
    moved = references.rounded(model, spec, made, "float32")
    for trial, other in zip(made, moved, strict=True):
        off = np.abs(trial.answers[0] - other.answers[0]).max() / np.abs(trial.answers[0]).max()
        assert 1e-9 < off < 1e-5
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_weights_that_memory_does_not_suffice_to_move_are_as_they_were(
    randomised: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _net(randomised)
    spec = _spec(model)
    made, weights, real = references.tried(model, spec, NOTHING), model.get_weights(), rounding.jittered
    moved = []

    def jittered(values: Any, *terms: Any) -> Any:
        if moved:
            raise MemoryError
        moved.append(values)
        return real(values, *terms)

    monkeypatch.setattr(rounding, "jittered", jittered)
    with pytest.raises(MemoryError):
        references.rounded(model, spec, made, "float32")
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights(), strict=True))


def test_the_coarsest_precision_of_any_layer_counts(randomised: Any) -> None:
    assert references.precision(_net(randomised)) == "float32"
    assert references.precision(_net(randomised, "mixed_float16")) == "float16"
    assert references.precision(_net(randomised, "float64")) == "float32"


def test_a_weight_that_is_no_number_is_named(randomised: Any) -> None:
    model = _net(randomised)
    assert references.odd_weights(model) == []
    bias = model.get_layer("second").bias
    bias.assign([0, np.nan, 0, 0])
    assert references.odd_weights(model) == ["second/bias"]
    bias.assign([0, np.inf, -np.inf, 0])
    assert references.odd_weights(model) == ["second/bias"]


def test_a_saved_model_answers_by_its_signature(randomised: Any, tmp_path: Path, comparison: Any) -> None:
    import tensorflow as tf

    model = _net(randomised, "mixed_float16")
    model.export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    spec = signature.of_saved_model(loaded, "tiny", "tiny", "id", 1, None)
    made = references.tried(loaded, spec, NOTHING)
    for trial in made:
        comparison.assert_same(comparison.keras_answers(model, trial.inputs), trial.answers)
    assert references.precision(loaded) == "float16"
    moved = references.rounded(loaded, spec, made, "float16")
    assert np.abs(moved[0].answers[0] - made[0].answers[0]).max() > 0


class _Stub:
    """The converting child, in this process."""

    def __init__(self, model: Any, spec: Any, folder: Path, made: list[Any]) -> None:
        self.model, self.spec, self.folder, self.trials = model, spec, folder, made
        self.probed: list[list[int]] = []

    def ask(self, order: str, timeout_s: float, **asked: Any) -> dict[str, Any]:
        from dataclasses import asdict

        assert order == "probe"
        trial = self.trials[asked["trial"]]
        spec, indices = guilty.probe(self.model, self.spec, NOTHING, trial, self.folder, asked["after"], asked["upto"])
        self.probed.append(indices)
        names = [name for name, _ in guilty.layers(self.model)]
        return {"spec": asdict(spec), "indices": indices, "names": [names[i] for i in indices]}


@pytest.mark.parametrize("room", [guilty.PROBE_BYTES, 0], ids=["all at once", "one at a time"])
def test_the_first_layer_that_goes_wrong_is_named(
    room: int, randomised: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx_ir as ir

    model = _net(randomised)
    spec = _spec(model)
    made = references.tried(model, spec, NOTHING)
    real = onnx.converted

    def with_a_fault(*args: Any) -> Any:
        graph, said = real(*args)
        for node in graph.graph:
            if node.op_type == "Conv" and node.metadata_props.get("keronyx.layer") == "second":
                kernel = node.inputs[1]
                assert kernel is not None and kernel.const_value is not None
                kernel.const_value = ir.tensor(kernel.const_value.numpy() * 1.02, name=kernel.name)
        return graph, said

    monkeypatch.setattr(onnx, "converted", with_a_fault)
    monkeypatch.setattr(guilty, "PROBE_BYTES", room)
    stub = _Stub(model, spec, tmp_path, made)
    finish = finish_module.Finish(stub, tmp_path, "model.onnx", spec, 18, 60, lambda _: None)  # type: ignore[arg-type]
    monkeypatch.setattr(
        finish_module.Finish, "_ask", lambda self, order, **arguments: getattr(finishing, order)(arguments)
    )
    error = finish._refused(Refusal("numeric", "last is off", trial=1), "float32")
    assert error.message == "the numeric gate refuses the ONNX file: last is off (layer second)"
    assert stub.probed[0] == ([0, 1, 2, 3, 4] if room else [4])
    assert not [path for path in tmp_path.iterdir() if path.name == "model.onnx"]


def test_what_tf2onnx_fails_on_is_named_by_its_layer(randomised: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _net(randomised)

    def fails(*_: Any, **__: Any) -> None:
        raise ValueError("no such thing")

    monkeypatch.setattr(converter, "handlers", lambda: {"Relu": fails})
    with pytest.raises(ExportError, match=r"tf2onnx cannot convert this model: no such thing \(layer act\)"):
        onnx.converted(model, _spec(model))


def test_the_files_of_a_conversion_are_those_the_second_process_reads(randomised: Any, tmp_path: Path) -> None:
    model = _net(randomised)
    spec = _spec(model)
    graph, _ = onnx.converted(model, spec)
    onnx_files.save_raw(graph, tmp_path / onnx_files.RAW)
    trials.store(tmp_path / onnx_files.ANSWERS, references.tried(model, spec, NOTHING))
    from dataclasses import asdict

    terms = {"folder": str(tmp_path), "name": "model.onnx", "spec": asdict(spec), "precision": "float32"}
    done = finishing.finish({**terms, "opset": 18, "skip": []})
    assert done["refusal"] is None and done["macs"] == 6 * 6 * 4 * 27 + 4 * 4 * 4 * 36 + 64 * 3

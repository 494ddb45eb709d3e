"""A run trains, keeps its best weights, tells a row a cycle, and goes on after it was killed."""

import csv
import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from keronyx.errors import KeronyxError, SourceError, UsageError
from keronyx.zoo import runs
from keronyx.zoo import train as training
from keronyx.zoo.train import Asked, Cycle, train

pytestmark = pytest.mark.slow
ASKED = Asked("unet:2", ("scenes:4",), ("scenes:2:9",), (Cycle(2, 1e-2), Cycle(1, 1e-3)), 32, 48)


@pytest.fixture(autouse=True)
def two_convolutions(monkeypatch):
    """In place of a network of the zoo: traced in a second."""

    def build(name, height, width, seed):
        import keras

        image = keras.Input((height, width, 3))
        x = keras.layers.BatchNormalization(name="bn")(image)
        x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="a")(x)
        return keras.Model(image, keras.layers.Conv2D(3, 1, activation="softmax", name="b")(x))

    monkeypatch.setattr(training.networks, "build", build)


def test_a_run_learns_and_tells_a_row_a_cycle(tmp_path):
    rows = train(ASKED, tmp_path)
    logged = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [row["learning_rate"] for row in rows] == [1e-2, 1e-3]
    assert float(logged[1]["loss"]) < float(logged[0]["loss"])
    assert rows[1]["lyft_f"] == pytest.approx(max(float(line["val_lyft_f"]) for line in logged), abs=1e-5)
    assert json.loads((tmp_path / "cycles.json").read_text()) == rows


def test_a_killed_run_goes_on_with_the_samples_and_weights_it_would_have_had(tmp_path, monkeypatch):
    whole = train(ASKED, tmp_path / "whole")
    seen = []

    def killed(learning, before):
        import keras

        def begin(epoch, logs=None):
            learning.epoch = before + epoch
            seen.append(epoch)
            if len(seen) == 2:
                raise KeyboardInterrupt

        return keras.callbacks.LambdaCallback(on_epoch_begin=begin)

    monkeypatch.setattr(training.callbacks, "epoch_of", killed)
    with pytest.raises(KeyboardInterrupt):
        train(ASKED, tmp_path / "cut")
    rows = train(ASKED, tmp_path / "cut")
    assert seen == [0, 1, 1, 0]
    assert np.allclose([r["lyft_f"] for r in rows], [r["lyft_f"] for r in whole], atol=1e-3)


def test_a_finished_run_is_not_trained_again(tmp_path):
    rows = train(ASKED, tmp_path)
    before = (tmp_path / "log.csv").read_text()
    assert train(ASKED, tmp_path) == rows
    assert (tmp_path / "log.csv").read_text() == before


def test_another_run_in_the_same_folder_is_refused(tmp_path):
    train(ASKED, tmp_path)
    other = Asked("unet:2", ("scenes:4",), ("scenes:2:9",), ASKED.cycles, 32, 48, batch=1)
    with pytest.raises(UsageError, match="batch differ"):
        train(other, tmp_path)


def test_a_run_tells_its_steps_and_epochs_in_order(tmp_path):
    told = []
    train(ASKED, tmp_path, told=told.append)
    steps = [(one["cycle"], one["epoch"], one["step"]) for one in told if one["at"] == "step"]
    assert steps == [(1, 1, 1), (1, 1, 2), (1, 2, 1), (1, 2, 2), (2, 1, 1), (2, 1, 2)]
    epochs = [one for one in told if one["at"] == "epoch"]
    assert [one["val_lyft_f"] for one in epochs] == [line["val_lyft_f"] for line in runs.epochs(tmp_path)]
    assert all(one["steps"] == 2 and one["cycles"] == 2 for one in told)
    assert json.loads(json.dumps(told)) == told


def test_a_cycle_without_gain_ends_early(tmp_path, monkeypatch):
    scores = iter([0.5, 0.4, 0.3, 0.6, 0.1, 0.2, 0.3])

    def validation(whole, checking):
        import keras

        class Validation(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                logs["val_lyft_f"] = next(scores)

        return Validation()

    monkeypatch.setattr(training.callbacks, "validation", validation)
    asked = dataclasses.replace(ASKED, cycles=(Cycle(9, 1e-3), Cycle(9, 1e-3)), patience=2)
    assert [row["epochs"] for row in train(asked, tmp_path)] == [3, 3]


def test_a_cycle_whose_row_alone_is_missing_is_not_trained_again(tmp_path):
    rows = train(ASKED, tmp_path)
    (tmp_path / runs.CYCLES).unlink()
    (tmp_path / runs.BACKUP).mkdir()
    before = (tmp_path / runs.LOG).read_text()
    again = train(ASKED, tmp_path)
    assert (tmp_path / runs.LOG).read_text() == before
    assert [row["lyft_f"] for row in again] == pytest.approx([rows[-1]["lyft_f"]] * 2, abs=1e-6)


def test_a_loss_that_is_no_number_ends_the_run_in_one_line(tmp_path):
    asked = dataclasses.replace(ASKED, cycles=(Cycle(2, 1e30),))
    with pytest.raises(KeronyxError, match="the loss is no number any more in epoch"):
        train(asked, tmp_path)


def test_training_starts_from_random_weights_unless_others_are_named(tmp_path, monkeypatch):
    from keronyx.zoo import weights

    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    taught = training.networks.build("unet:2", 32, 48, 0)
    taught.set_weights([np.full(array.shape, 0.5, "float32") for array in taught.get_weights()])
    weights.save(taught, weights.file_of("unet:2"), {})
    taught.save_weights(tmp_path / "own.weights.h5")

    def start(file):
        model = training.networks.build("unet:2", 32, 48, 0)
        training.start_from(model, file, "unet:2")
        return all((array == 0.5).all() for array in model.get_weights())

    assert start("shipped") and start(str(tmp_path / "unet-2.npz")) and start(str(tmp_path / "own.weights.h5"))
    seen = []
    monkeypatch.setattr(training, "start_from", lambda *which: seen.append(which[1:]))
    train(dataclasses.replace(ASKED, cycles=(Cycle(1, 1e-9),)), tmp_path / "random")
    train(dataclasses.replace(ASKED, weights="shipped"), tmp_path / "taught")
    assert seen == [("shipped", "unet:2")]


def test_weights_that_are_not_there_or_of_another_network_are_refused(tmp_path, monkeypatch):
    from keronyx.zoo import weights

    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    model = training.networks.build("unet:2", 32, 48, 0)
    (tmp_path / "none.weights.h5").write_bytes(b"nothing")
    for file, said in (
        ("shipped", "no trained weights come with unet:2"),
        ("absent.npz", "no such weights file"),
        (str(tmp_path / "none.weights.h5"), "does not fit unet:2"),
    ):
        with pytest.raises(SourceError, match=said):
            training.start_from(model, file, "unet:2")


def test_patches_train_a_network_that_is_validated_on_whole_images(tmp_path):
    rows = train(dataclasses.replace(ASKED, patch=(16, 16)), tmp_path)
    with np.load(tmp_path / runs.WEIGHTS) as stored:
        card = json.loads(str(stored["card.json"]))
    assert card["image_size"] == [32, 48] and card["scores"]["lyft_f"] == rows[-1]["lyft_f"]


def test_threads_are_tensorflows_and_come_too_late_once_it_has_computed():
    code = (
        "from keronyx.zoo.train import _use_threads\nfrom keronyx.errors import UsageError\nimport tensorflow as tf\n"
        "_use_threads(1)\nassert tf.config.threading.get_intra_op_parallelism_threads() == 1\ntf.ones(1) + 1\n"
        "try:\n    _use_threads(2)\nexcept UsageError as error:\n    print(error.message)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "before TensorFlow has computed anything" in done.stdout, done.stderr[-500:]

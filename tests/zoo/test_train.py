"""A run trains, keeps its best weights, tells a row a cycle, and goes on after it was killed."""

import csv
import json

import numpy as np
import pytest

from keronyx.errors import UsageError
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
        x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(keras.layers.BatchNormalization()(image))
        return keras.Model(image, keras.layers.Conv2D(3, 1, activation="softmax")(x))

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

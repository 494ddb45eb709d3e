"""`keronyx train`: a run in its own process, gone on with after a kill, reported again when it is finished."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from keronyx.cli import app
from keronyx.errors import UsageError
from keronyx.pipeline import training
from keronyx.zoo import runs
from keronyx.zoo.runs import Asked, Cycle

LINE = "train unet:2 --data scenes:6 --validation scenes:2:1 --image-size 32x48 -o run --threads 1 --licence drawn"


def keronyx(line):
    return CliRunner().invoke(app, line.split())


@pytest.mark.parametrize(
    ("text", "made"),
    [("22@1e-3,6@2e-4", (Cycle(22, 1e-3), Cycle(6, 2e-4))), ("1@0.5", (Cycle(1, 0.5),))],
)
def test_cycles_are_read(text, made):
    assert training.cycles(text) == made


@pytest.mark.parametrize("text", ["", "5", "5@", "@1e-3", "0@1e-3", "5@-1", "5@inf", "5@nan", "a@b", "5@1e-3,"])
def test_what_is_no_cycle_is_a_usage_error(text):
    with pytest.raises(UsageError, match="22@1e-3"):
        try:
            training.cycles(text)
        except UsageError as error:
            raise UsageError(error.remedy) from None


def test_a_folder_knows_what_its_run_was_asked_for(tmp_path):
    asked = Asked("unet:2", ("scenes:6",), ("scenes:2",), (Cycle(1, 1e-3),), batch=3)
    runs.begin(asked, tmp_path)
    (tmp_path / runs.LOG).write_text("epoch,cycle\n0,1\n")
    assert training.settle("unet:2", tmp_path, {}) == asked
    assert training.settle("unet:2", tmp_path, {"batch": 3}) == asked
    with pytest.raises(UsageError, match="batch differ"):
        training.settle("unet:2", tmp_path, {"batch": 2})
    with pytest.raises(UsageError, match="network differ"):
        training.settle("unet:4", tmp_path, {})


def test_a_run_that_never_began_lends_no_terms_to_the_next(tmp_path):
    terms = {"data": ("scenes:6",), "validation": ("scenes:2",)}
    runs.begin(training.settle("unet:2", tmp_path, {**terms, "height": 33, "weights": "bad.npz"}), tmp_path)
    asked = training.settle("unet:2", tmp_path, {**terms, "height": 32})
    assert (asked.height, asked.weights) == (32, None)


def test_a_folder_that_cannot_be_made_is_said_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "Child", None)
    (tmp_path / "file").write_text("")
    done = keronyx("train unet:2 -o file/run")
    assert done.exit_code != 0 and done.stderr.startswith("keronyx: file/run cannot be written: ")
    assert "unexpected" not in done.stderr


@pytest.mark.parametrize("line", ["train unet:2", "evaluate unet:2 --data scenes:2"])
def test_no_more_threads_than_any_machine_has_are_taken(line):
    done = keronyx(f"{line} --threads 257")
    assert done.exit_code == 2 and "256" in done.stderr


def test_data_without_validation_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="--validation"):
        training.settle("unet:2", tmp_path / "new", {"data": ("scenes:6",)})


@pytest.mark.parametrize(
    "line",
    [
        "train vnet",
        "train unet --cycles 5",
        "train unet --data nowhere --validation scenes:2",
        "train unet --patch 16",
        "train unet:2 --patch 640x640",
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line_before_anything_starts(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "Child", None)
    done = keronyx(line)
    assert done.exit_code == 2 and done.stderr.startswith("keronyx: ") and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_killed_run_goes_on_and_a_finished_one_is_only_reported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-m", "keronyx", *f"{LINE} --cycles 3@1e-3,1@1e-4".split()]
    begun = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=_heeds_ctrl_c)
    for line in begun.stderr:
        if "epoch 1/3" in line:
            break
    begun.send_signal(signal.SIGINT)
    assert begun.wait(60) == 130
    _until(lambda: not _children(tmp_path))
    before = len(runs.epochs(tmp_path / "run"))
    assert 0 < before < 4 and not training.finished(tmp_path / "run")

    told = keronyx("train unet:2 -o run --json")  # the folder knows the rest
    assert told.exit_code == 0, told.stderr
    rows = json.loads(told.stdout)["cycles"]
    assert [row["epochs"] for row in rows] == [3, 1] and all(row["validation_image_ms"] > 0 for row in rows)
    assert len(runs.epochs(tmp_path / "run")) == 4
    with np.load(tmp_path / "run" / "weights.npz") as stored:
        card = json.loads(str(stored["card.json"]))
    assert card["licence"] == "drawn" and "--cycles" in card["command"]
    assert card["scores"]["lyft_f"] == rows[-1]["lyft_f"]
    assert (tmp_path / "run" / "curves.svg").read_text().startswith("<svg")

    monkeypatch.setattr(training, "Child", None)  # nothing is started again
    again = keronyx("train unet:2 -o run")
    assert again.exit_code == 0 and f"{rows[-1]['lyft_f']:.4f}" in again.stdout
    assert (tmp_path / "run" / "report.md").read_text().count("unet:2, ") == 2


@pytest.mark.slow
def test_data_that_go_away_during_a_run_end_it_in_one_line(tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    for kind in ("image", "label3"):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for name in "ab":
            array = np.zeros((32, 48, 3) if kind == "image" else (32, 48), np.uint8)
            Image.fromarray(array).save(tmp_path / "data" / kind / f"{name}.png")

    def told(event):
        if event["at"] == "step":
            (tmp_path / "data" / "label3" / "b.png").unlink(missing_ok=True)

    asked = Asked("unet:2", (str(tmp_path / "data"),), ("scenes:2",), (Cycle(500, 1e-3),), 32, 48)
    with pytest.raises(Exception, match=r"b\.png went away"):
        training.train(asked, tmp_path / "run", threads=1, told=told)


def _heeds_ctrl_c():
    """Whoever started the tests in the background left SIGINT ignored, which a process inherits."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _children(folder):
    """Training processes that work for this folder."""
    found = []
    for process in os.listdir("/proc"):
        if process.isdigit():
            try:
                line = Path(f"/proc/{process}/cmdline").read_text()
                if "keronyx.zoo.training" in line and os.readlink(f"/proc/{process}/cwd") == str(folder):
                    found.append(process)
            except OSError:
                continue
    return found


def _until(true):
    for _ in range(200):
        if true():
            return
        time.sleep(0.1)
    raise AssertionError("never")

"""`keronyx parity`: every row is asked, judged and told of, whatever becomes of it; bad input gets one line."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from keronyx.cli import app
from keronyx.errors import DataError, UsageError
from keronyx.exit_codes import Exit
from keronyx.pipeline import ParityOptions, Silent, certify, certifying, preparation
from keronyx.profiles import certificate
from keronyx.types import Missing, Status, Verdict

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A command in a fresh folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments):
        done = CliRunner().invoke(app, ["parity", *map(str, arguments)])
        return done.exit_code, done.stdout, done.stderr

    return invoke


def of(export, **terms):
    exported = preparation(export, None, Silent())(1, ("keras",))
    return certify(lambda *_: exported, ParityOptions(timeout_s=60, threads=1, **terms), Silent())


def test_every_row_is_told_of_whatever_becomes_of_it(fakes, segmenter_export):
    fakes("HONEST", "CRASHING", "STALE", fakes.of("HONEST", "cuda", Missing("no GPU", "buy one")))
    found = of(segmenter_export, providers=("cpu", "cuda"), inputs=24)
    honest, crashing, stale, absent = found.rows
    assert honest.status is Status.OK and honest.parity.verdict is Verdict.PASS and honest.parity.inputs == 4
    assert crashing.status is Status.FAILED and crashing.parity is None and "crashed" in crashing.reason
    assert stale.parity is not None
    assert absent.status is Status.UNAVAILABLE and (absent.reason, absent.remedy) == ("no GPU", "buy one")
    assert len(found.inputs_sha256) == 64 and found.artifacts[0].sha256 and found.limits["max_drop"] == 0.002
    assert not honest.samples.wall_ns


def test_the_same_seed_gives_the_same_inputs_and_another_seed_others(fakes, segmenter_export):
    fakes("HONEST")
    first, again, other = (of(segmenter_export, inputs=2, seed=seed).inputs_sha256 for seed in (0, 0, 1))
    assert first == again != other


def test_one_input_alone_is_refused(fakes, segmenter_export):
    fakes("HONEST")
    with pytest.raises(UsageError, match="one input alone"):
        of(segmenter_export, inputs=1)


def test_a_real_model_passes_on_real_runtimes_and_is_scored_on_labelled_data(segmenter_copy, run, tmp_path):
    code, out, _ = run(
        segmenter_copy, "--runtimes", "tf-graph,ort", "--data", "scenes:6", "-q", "-o", tmp_path / "made" / "c.json"
    )
    assert code == Exit.DONE, out
    found = certificate.load(tmp_path / "made" / "c.json")
    assert found.data == "scenes:6" and "float64 oracle" in out
    for row in found.rows:
        assert row.parity.verdict is Verdict.PASS and row.parity.ratio < 3
        gates = {gate.name: gate.verdict for gate in row.parity.gates}
        assert gates["task"] is Verdict.PASS
        assert {score.name for score in row.parity.task} >= {"soft F", "official F", "IoU"}
    graph = found.rows[0].parity.task
    assert all(score.value == score.reference for score in graph)


def test_a_file_that_was_tampered_with_fails_with_exit_code_4(segmenter_copy, run):
    import onnx

    path = segmenter_copy / "model.onnx"
    model = onnx.load(path)
    kernel = max(model.graph.initializer, key=lambda tensor: len(tensor.dims) * 1000 + len(tensor.raw_data))
    values = onnx.numpy_helper.to_array(kernel).copy()
    values[0] *= 1.02
    kernel.CopyFrom(onnx.numpy_helper.from_array(values, kernel.name))
    onnx.save(model, path)
    code, out, _ = run(segmenter_copy, "--runtimes", "ort", "-q", "--json")
    found = json.loads(out)
    assert code == Exit.PARITY and found["rows"][0]["parity"]["verdict"] == "fail"
    code, out, _ = run(segmenter_copy, "--runtimes", "ort", "-q", "--atol", "10")
    assert code == Exit.DONE and "the given tolerances" in out


def test_zeros_that_pad_fusion_turns_into_minus_infinity_are_wrong(tmp_path, run):
    """onnxruntime 1.31.1 folds a Pad of zeros into the MaxPool behind it, which pads with -inf (issue #24737)."""
    import keras
    import onnx

    image = keras.Input((16, 20, 3), name="image")
    negative = keras.layers.Conv2D(4, 1, kernel_initializer=keras.initializers.Constant(-0.5), name="conv")(image)
    x = keras.layers.ZeroPadding2D(1, name="pad")(negative)
    keras.Model(image, keras.layers.MaxPooling2D(3, 2, name="pool")(x)).save(tmp_path / "m.keras")
    code, out, err = run("m.keras", "--runtimes", "ort", "-q", "--json")
    assert code == Exit.DONE, out + err  # export protects from it
    (folder,) = (tmp_path / "exports").iterdir()
    kernel, bias = keras.models.load_model(tmp_path / "m.keras").layers[1].get_weights()
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    nodes = [
        helper.make_node("Transpose", ["image"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["nchw", "w", "b"], ["c"]),
        helper.make_node("Pad", ["c", "pads"], ["p"]),
        helper.make_node("MaxPool", ["p"], ["m"], kernel_shape=[3, 3], strides=[2, 2]),
        helper.make_node("Transpose", ["m"], ["pool"], perm=[0, 2, 3, 1]),
    ]
    constants = {"w": kernel.transpose(3, 2, 0, 1).copy(), "b": bias, "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])}
    graph = helper.make_graph(
        nodes,
        "raw",
        [helper.make_tensor_value_info("image", 1, [1, 16, 20, 3])],
        [helper.make_tensor_value_info("pool", 1, [1, 8, 10, 4])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    raw = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    exported = preparation(folder, None, Silent())(1, ("keras", "onnx"))  # before: a file of another size is made anew
    onnx.save(raw, folder / "model.onnx")
    found = certify(lambda *_: exported, ParityOptions(runtimes=("ort",), bisect=True), Silent())
    assert found.rows[0].parity.verdict is Verdict.FAIL
    assert {gate.name for gate in found.rows[0].parity.gates if gate.verdict is Verdict.FAIL} == {"tensor"}
    assert found.bisection.optimizers == ("Pad_Fusion",)
    assert found.bisection.session_option == 'disabled_optimizers=["Pad_Fusion"]'


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        (["--metric", "os:getcwd"], 2, "--metric needs labelled data"),
        (["--data", "nowhere"], 2, "nowhere is no folder"),
        (["--data", "scenes:2", "--metric", "no_such_module:f"], 1, "no_such_module"),
        (["--rtol", "inf"], 2, "is no tolerance"),
        (["--max-drop", "inf", "--data", "scenes:2"], 2, "is no tolerance"),
        (["--runtimes", "caffe"], 2, "caffe"),
        (["-o", "c.html"], 2, "no format has the suffix"),
        (["-o", "."], 2, ""),
    ],
)
def test_bad_input_gets_one_clear_line(line, code, said, segmenter_export, run):
    made, _, err = run(segmenter_export, *line)
    assert made == code and said in err and "Traceback" not in err and len(err.splitlines()) <= 2, err


def test_an_existing_certificate_is_not_replaced_without_force(segmenter_export, run, tmp_path):
    (tmp_path / "c.json").write_text("mine")
    code, _, err = run(segmenter_export, "-o", "c.json")
    assert code == 1 and "exists" in err and (tmp_path / "c.json").read_text() == "mine"


def test_a_metric_that_raises_ends_the_run_and_says_where(segmenter_export, fakes, tmp_path, monkeypatch):
    from keronyx.pipeline import tasks

    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "their_metric.py").write_text("def score(outputs, label):\n    raise KeyError('no such class')\n")
    fakes("HONEST")
    monkeypatch.setattr(certifying, "find", lambda *_: fakes.of("HONEST"))
    with pytest.raises(DataError, match="their_metric:score failed on scene 0"):
        of(segmenter_export, task=tasks.find(["scenes:3"], "their_metric:score"))


def test_a_row_that_cannot_be_scored_though_keras_can_fails_its_task_and_the_others_stand(
    segmenter_export, fakes, tmp_path, monkeypatch
):
    from keronyx.pipeline import tasks

    monkeypatch.syspath_prepend(str(tmp_path))
    code = "seen = []\ndef score(*_):\n    seen.append(1)\n    return 0.5 if len(seen) <= 4 else float('nan')\n"
    (tmp_path / "spoiled_metric.py").write_text(code)
    fakes("HONEST", "WELL_BEHAVED")
    monkeypatch.setattr(certifying, "find", lambda *_: fakes.of("HONEST"))
    keras_itself, other = of(segmenter_export, task=tasks.find(["scenes:4"], "spoiled_metric:score")).rows
    gates = {gate.name: gate for gate in other.parity.gates}
    assert gates["task"].verdict is Verdict.FAIL and "gave nan" in gates["task"].detail
    assert {gate.name: gate.verdict for gate in keras_itself.parity.gates}["task"] is Verdict.PASS


def test_where_nothing_could_be_checked_nothing_is_proved(fakes, segmenter_copy, run):
    fakes(fakes.of("HONEST", "cuda", Missing("no GPU", "")))
    code, out, _ = run(segmenter_copy, "--providers", "cuda", "-q", "--json")
    assert code == Exit.ROW and json.loads(out)["verdict"] == "not run"


def test_the_users_own_arrays_are_the_inputs_that_are_compared(fakes, segmenter_export, tmp_path, monkeypatch):
    from keronyx.pipeline import tasks

    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mean_metric.py").write_text("def score(outputs, label):\n    return 1.0\n")
    exported = preparation(segmenter_export, None, Silent())(1, ("keras",))
    (image,) = exported.manifest.spec.inputs
    arrays = np.random.default_rng(0).uniform(0, 255, (5, *image.shape[1:])).astype("float32")
    np.savez(tmp_path / "mine.npz", **{image.name: arrays, "labels": np.zeros(5)})
    fakes("HONEST")
    monkeypatch.setattr(certifying, "find", lambda *_: fakes.of("HONEST"))
    found = of(segmenter_export, inputs=3, task=tasks.find([str(tmp_path / "mine.npz")], "mean_metric:score"))
    np.save(tmp_path / "wanted.npy", arrays[:3, None], allow_pickle=False)
    assert found.inputs_sha256 == hashlib.sha256((tmp_path / "wanted.npy").read_bytes()).hexdigest()
    assert "mine.npz" in found.inputs and len(found.data_sha256) == 64

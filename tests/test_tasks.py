"""Labelled data streamed through a worker: read, fed in the model's batch, scored, compared; refused in one line."""

import dataclasses
import io
import json
import tracemalloc
import zipfile

import numpy as np
import pytest
from typer.testing import CliRunner

from keronyx.cli import app
from keronyx.errors import DataError, SourceError, UsageError, WorkerError
from keronyx.pipeline import Silent, labelled, tasks
from keronyx.pipeline.tasks import Collected, Metric, Task
from keronyx.runtime.handle import Answer
from keronyx.types import ModelSpec, TensorSpec
from keronyx.zoo import scenes
from keronyx.zoo.scores import Scores


def model(batch=1, height=16, width=24):
    shape = (batch, height, width, 3)
    return ModelSpec("m", "m", (TensorSpec("image", shape, "float32"),), (TensorSpec("p", shape, "float32"),), 0, "")


TWO = ModelSpec(
    "two",
    "two",
    (TensorSpec("a", (1, 2), "float32"), TensorSpec("b", (1,), "int32")),
    (TensorSpec("sum", (1, 2), "float32"),),
    0,
    "",
)


class InProcess:
    """A worker without a process: answers with `function` of the input arrays, and remembers their shapes."""

    def __init__(self, function):
        self.function = function
        self.seen = []

    def answer(self, inputs, folder):
        arrays = [np.load(file) for file in inputs]
        self.seen.append([array.shape for array in arrays])
        files = []
        for place, output in enumerate(self.function(*arrays)):
            files.append(folder / f"out-{place}.npy")
            np.save(files[-1], output)
        return Answer(tuple(files), 3.0)


def looks(images):
    """Probabilities that depend on each image alone."""
    return [images / (images.sum(-1, keepdims=True) + 1)]


@pytest.mark.parametrize(("batch", "calls"), [(1, 5), (2, 3), (8, 1)])
def test_items_are_fed_in_the_models_batch_and_scored_once_each(batch, calls):
    worker = InProcess(looks)
    found = tasks.find(["scenes:5"]).evaluate(worker, model(batch), Silent())
    assert worker.seen == [[(batch, 16, 24, 3)]] * calls and found.items == 5
    wanted = Scores()
    images, labels = scenes.batch(5, 16, 24)
    wanted.add(looks(images)[0], labels)
    assert found.figures() == wanted.figures() and found.item_ms == 3 / batch


def test_memory_does_not_grow_with_the_data():
    def peak(count):
        task = tasks.find([f"scenes:{count}"])
        tracemalloc.start()
        task.evaluate(InProcess(looks), model(1, 64, 96), Silent())
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(2)
    assert peak(24) < 1.2 * peak(4)


def test_arrays_are_fed_by_the_inputs_names_and_scored_by_the_users_metric(tmp_path):
    rng = np.random.default_rng(0)
    a, b, labels = rng.normal(size=(6, 2)), np.arange(6, dtype="int16"), np.arange(6)
    np.savez(tmp_path / "d.npz", b=b, labels=labels, a=a)
    worker = InProcess(lambda a, b: [a + b[:, None]])
    seen = []

    def metric(outputs, label):
        seen.append(label)
        assert set(outputs) == {"sum"} and outputs["sum"].shape == (2,)
        return float(outputs["sum"].sum())

    task = Task(labelled.find([str(tmp_path / "d.npz")]), Metric("mine:sum", metric))
    task.check(TWO)
    found = task.evaluate(worker, TWO, Silent())
    assert seen == list(range(6))
    assert found.figures() == {"mine:sum": pytest.approx((a.sum(1) + 2 * b).mean(), abs=1e-5)}
    (score,) = task.compare(dataclasses.replace(found, values=tuple(v - 1 for v in found.values)), found)
    assert (score.name, score.images) == ("mine:sum", 6)
    assert score.low == pytest.approx(-1) and score.high == pytest.approx(-1)


def test_segmentation_is_compared_score_by_score():
    task = tasks.find(["scenes:8"])
    mine, reference = (
        task.evaluate(InProcess(function), model(), Silent())
        for function in (lambda images: [np.roll(looks(images)[0], 1, -1)], looks)
    )
    found = task.compare(mine, reference)
    assert {one.name for one in found} == set(mine.figures()) and all(one.images == 8 for one in found)
    assert any(one.value != one.reference and one.low <= one.value - one.reference <= one.high for one in found)


def test_scores_of_other_data_are_not_compared():
    one = Collected(3, 1.0, None, "m", (1.0, 2.0, 3.0))
    with pytest.raises(UsageError):
        Task(labelled.find(["scenes:3"])).compare(one, dataclasses.replace(one, items=4))


def fails(outputs, label):
    raise ZeroDivisionError("by\nzero")


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (fails, r"metric mine failed on scene 0 of scenes:2: ZeroDivisionError: by zero"),
        (lambda outputs, label: None, "metric mine failed on scene 0 of scenes:2: TypeError"),
        (lambda outputs, label: float("nan"), "metric mine gave nan on scene 0"),
        (lambda outputs, label: outputs["nothing"], "metric mine failed on scene 0 of scenes:2: KeyError"),
        (lambda outputs, label: exit(), "metric mine failed on scene 0 of scenes:2: SystemExit"),
    ],
)
def test_a_metric_that_fails_is_named_with_the_item_and_the_error(metric, said):
    task = Task(labelled.find(["scenes:2"]), Metric("mine", metric))
    with pytest.raises(DataError, match=said) as caught:
        task.evaluate(InProcess(looks), model(), Silent())
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("text", ["json", "json:", ":loads", "json:nothing", "json:__name__"])
def test_what_is_no_metric_is_a_usage_error(text):
    with pytest.raises(UsageError):
        tasks.find(["scenes:2"], text)


def test_a_metrics_module_that_cannot_be_imported_is_named():
    with pytest.raises(SourceError, match="cannot import 'no_such_module_at_all'"):
        tasks.find(["scenes:2"], "no_such_module_at_all:f")


def test_a_model_of_something_else_needs_a_metric():
    spec = dataclasses.replace(model(), outputs=(TensorSpec("y", (1, 10), "float32"),))
    with pytest.raises(UsageError, match="no score is known"):
        tasks.find(["scenes:2"]).check(spec)
    tasks.find(["scenes:2"], "math:fsum").check(spec)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ((TensorSpec("x", (1, 8), "float32"),), "takes no single RGB image"),
        ((TensorSpec("x", (1, 8, 8, 1), "float32"),), "takes no single RGB image"),
        ((TensorSpec("x", (1, 8, 8, 3), "float32"),) * 2, "takes no single RGB image"),
        ((TensorSpec("x", (1, None, 8, 3), "float32"),), "leaves its image's size open"),
    ],
)
def test_a_model_that_takes_no_images_is_refused(inputs, said):
    with pytest.raises(UsageError, match=said):
        tasks.find(["scenes:2"]).check(dataclasses.replace(model(), inputs=inputs))


def write(file, **arrays):
    np.savez(file, **arrays)


ZEROS = {"a": np.zeros((3, 2)), "b": np.zeros(3, "int32"), "labels": np.zeros(3)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": np.zeros(2)}, "several lengths"),
        ({"labels": np.float64(1)}, "several lengths"),
        ({"a": np.zeros((3, 5))}, "a is 3x5 float64, the model takes Nx2 float32"),
        ({"b": np.zeros(3)}, "b is 3 float64, the model takes N int32"),
        ({"a": np.array([["x", "y"]] * 3)}, "a is 3x2 <U1"),
        ({"a": np.array([[b"x", b"y"]] * 3)}, r"a is 3x2 \|S1"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, change, said):
    write(tmp_path / "d.npz", **{**ZEROS, **change})
    with pytest.raises(DataError, match=said):
        tasks.find([str(tmp_path / "d.npz")], "math:fsum").check(TWO)


def test_no_array_is_a_text_and_bfloat16_is_fed_as_float32(tmp_path):
    def check(dtype, array):
        write(tmp_path / "d.npz", a=array, labels=np.zeros(3))
        spec = dataclasses.replace(TWO, inputs=(TensorSpec("a", (None, 2), dtype),))
        found = labelled.find([str(tmp_path / "d.npz")])
        found.check(spec)
        return found.item(0, spec)[0][0].dtype

    for array in (np.zeros((3, 2)), np.array([["x", "y"]] * 3)):
        with pytest.raises(DataError, match="the model takes Nx2 string"):
            check("string", array)
    assert check("bfloat16", np.zeros((3, 2))) == np.float32


def test_a_metric_that_writes_into_a_label_does_not_change_the_data(tmp_path):
    write(tmp_path / "d.npz", **{**ZEROS, "labels": np.zeros((3, 2))})
    found = labelled.find([str(tmp_path / "d.npz")])
    found.item(0, TWO)[1][:] = 7
    assert (found.item(0, TWO)[1] == 0).all()


def lying(file, name):
    """An archive with one array whose header tells of more than any memory holds."""
    header = io.BytesIO()
    told = {"descr": "<f8", "fortran_order": False, "shape": (2**56,)}
    np.lib.format.write_array_header_1_0(header, told)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{name}.npy", header.getvalue())


def test_an_array_that_lies_about_its_size_is_refused_in_a_line(tmp_path):
    lying(tmp_path / "d.npz", "labels")
    with pytest.raises(DataError, match=r"d\.npz is no archive of arrays"):
        labelled.find([str(tmp_path / "d.npz")])


def test_a_missing_array_is_named(tmp_path):
    write(tmp_path / "d.npz", **{name: array for name, array in ZEROS.items() if name != "b"})
    with pytest.raises(DataError, match=r"has no array 'b' \(it has a, labels\)"):
        tasks.find([str(tmp_path / "d.npz")], "math:fsum").check(TWO)
    write(tmp_path / "e.npz", a=np.zeros(3))
    with pytest.raises(DataError, match="has no array `labels`"):
        labelled.find([str(tmp_path / "e.npz")])


def test_an_archive_that_is_none_carries_code_or_is_too_large_is_refused(tmp_path, monkeypatch):
    (tmp_path / "none.npz").write_bytes(b"nothing")
    np.savez(tmp_path / "code.npz", labels=np.array([object()]))
    write(tmp_path / "d.npz", **ZEROS)
    monkeypatch.setattr(labelled, "MOST_BYTES", 400)
    for name, said in (("none", "is no archive"), ("code", "is no archive"), ("d", "at most|holds")):
        with pytest.raises(DataError, match=said):
            labelled.find([str(tmp_path / f"{name}.npz")])
    with pytest.raises(UsageError, match="no such file"):
        labelled.find([str(tmp_path / "absent.npz")])
    with pytest.raises(UsageError, match="cannot be joined"):
        labelled.find(["scenes:2", str(tmp_path / "d.npz")])


@pytest.mark.parametrize(
    ("labels", "said"),
    [(np.full((2, 16, 24), 7), "other values than"), (np.zeros((2, 8, 8), "uint8"), "its label 8x8")],
)
def test_labels_that_do_not_fit_the_answers_are_refused(tmp_path, labels, said):
    write(tmp_path / "d.npz", image=np.zeros((2, 16, 24, 3)), labels=labels)
    task = tasks.find([str(tmp_path / "d.npz")])
    task.check(model())
    with pytest.raises(DataError, match=said):
        task.evaluate(InProcess(looks), model(), Silent())


def test_the_data_are_drawn_from_for_other_purposes():
    draw = tasks.find(["scenes:2"]).draw
    found = draw(4, 16, 24)
    first = scenes.scene(0, 16, 24)[0]
    assert found.shape == (4, 16, 24, 3) and (found[0] == first).all() and (found[2] == first[:, ::-1]).all()


def test_arrays_are_no_images_to_draw_from(tmp_path):
    write(tmp_path / "d.npz", **ZEROS)
    assert tasks.find([str(tmp_path / "d.npz")]).draw is None


# --- the command


def keronyx(*line):
    return CliRunner().invoke(app, [str(part) for part in line])


@pytest.mark.slow
def test_a_model_is_evaluated_on_further_runtimes_and_written(segmenter_copy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = ("evaluate", segmenter_copy, "--data", "scenes:8", "--runtimes", "tf-graph,ort", "--quiet")
    told = keronyx(*line, "--json", "-o", "out.csv")
    assert told.exit_code == 0, told.stderr
    found = json.loads(told.stdout)
    keras, ort = found["rows"]
    assert (keras["runtime"], ort["runtime"]) == ("tf-graph", "ort") and found["items"] == 8
    assert set(keras["scores"]) >= {"soft F", "official F", "IoU car"}
    for one in ort["differences"]:
        assert abs(one["value"] - one["reference"]) < 1e-4 and one["reference"] == keras["scores"][one["name"]]
    assert (tmp_path / "out.csv").read_text().startswith("score,Keras (tf-graph/cpu),ort/cpu,")
    again = keronyx(*line, "-o", "out.csv")
    assert again.exit_code == 1 and "out.csv exists" in again.stderr


def test_a_runtime_that_fails_or_is_missing_is_a_row_that_says_so(segmenter_export, fakes, monkeypatch):
    from keronyx import pipeline
    from keronyx.pipeline import evaluating
    from keronyx.types import Missing

    keras, crashing = fakes.of("HONEST"), fakes.of("CRASHING_AT_ONCE")
    lacking = fakes.of("HONEST", "cuda", Missing("no GPU", "buy one"))
    monkeypatch.setattr(evaluating, "RUNTIMES", (keras, crashing, lacking))
    monkeypatch.setattr(evaluating, "find", lambda name, provider: keras)
    options = evaluating.EvaluateOptions(runtimes=(keras.name, crashing.name), providers=("cpu", "cuda"), threads=1)
    prepare = pipeline.preparation(segmenter_export, None, Silent())
    found = evaluating.evaluate(prepare, tasks.find(["scenes:4"]), options, Silent())
    assert [row.status for row in found.rows] == ["OK", "FAILED", "UNAVAILABLE"]
    assert "SIGSEGV" in found.rows[1].reason and found.rows[1].scores is None
    said = "\n".join(evaluating.grid(found).notes)
    assert "CRASHING_AT_ONCE/cpu: FAILED" in said and "UNAVAILABLE, no GPU (buy one)" in said
    assert json.loads(json.dumps(evaluating.as_json(found), allow_nan=False))["rows"][1]["scores"] is None

    monkeypatch.setattr(evaluating, "find", lambda name, provider: crashing)
    with pytest.raises(WorkerError, match="SIGSEGV"):
        evaluating.evaluate(prepare, tasks.find(["scenes:4"]), options, Silent())


@pytest.mark.slow
def test_a_users_metric_is_used_by_the_command(two_headed_export, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_metric_of_this_test.py").write_text(
        "def close(outputs, label):\n    return -abs(float(outputs['first'].sum()) - label)\n"
    )
    rng = np.random.default_rng(0)
    np.savez("d.npz", zeta=rng.normal(size=(5, 8)), alpha=rng.normal(size=(5, 6)), labels=np.arange(5))
    line = ("evaluate", two_headed_export, "--data", "d.npz", "--metric", "own_metric_of_this_test:close", "--quiet")
    told = keronyx(*line)
    assert told.exit_code == 0, told.stderr
    assert "own_metric_of_this_test:close" in told.stdout and "5 items of d.npz" in told.stdout


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("--data nowhere", 2),
        ("--data scenes:2 --metric nothing", 2),
        ("--data scenes:2 -o x.doc", 2),
        ("--data scenes:2 --runtimes otr", 2),
        ("--data .", 1),
    ],
)
def test_what_cannot_be_evaluated_is_refused_in_a_line(line, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = keronyx("evaluate", "unet:1", "--quiet", *line.split())
    assert done.exit_code == code and done.stderr.startswith("keronyx: ") and not (tmp_path / "exports").exists()

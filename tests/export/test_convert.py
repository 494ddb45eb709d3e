"""From a source to a folder: once, whole, one at a time; and whatever befalls the child, nothing is lost."""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from keronyx.errors import ExportError, SourceError, UntrustedModelError, UnwritableError, WorkerError
from keronyx.export import convert, finish, lock
from keronyx.export import folder as folders
from keronyx.export.convert import complete, export
from keronyx.export.source import Source, identify

FAKE_CHILD = '''
"""Stands in for the conversion: writes what it was asked for, and misbehaves as the environment says."""
import json, os, signal, time
from pathlib import Path
from keronyx.errors import ExportError
from keronyx.process import serve

def note(line):
    with open("orders.txt", "a") as file:
        file.write(line + "\\n")

def load(order):
    note("load")
    text = Path(order["source"]["target"]).read_text()
    tensor = {"name": "x", "shape": [order["batch"], 4], "dtype": "float32"}
    return {"name": "fake", "source": "fake", "inputs": [tensor], "outputs": [tensor], "parameters": 1,
            "content_hash": text, "macs": None}

def write(order):
    kind, path = order["kind"], Path(order["path"])
    note(kind)
    path.write_text("half of " + kind)
    (path.parent / "scratch").mkdir(exist_ok=True)
    trouble = os.environ.get("TROUBLE", "")
    if trouble == f"killed at {kind}":
        os.kill(os.getpid(), signal.SIGKILL)
    if trouble == f"refuses {kind}":
        raise ExportError("no operator")
    if trouble == f"hangs at {kind}":
        time.sleep(60)
    if trouble == f"slow at {kind}":
        time.sleep(0.3)
    path.write_text("the whole of " + kind)
    artifact = {"kind": kind, "path": path.name, "bytes": len("the whole of " + kind), "sha256": "", "seconds": 1.0,
                "peak_mib": 2.0, "evidence": ["made"]}
    return {"artifact": artifact}

def convert(order):
    write({"kind": "onnx", "path": order["folder"] + "/raw.onnx"})
    float64 = "in float64" in os.environ.get("TROUBLE", "") and not order["not_in_float64"]
    return {"precision": "float64" if float64 else "float32", "float64": float64, "evidence": ["made"],
            "computes": [order["not_in_float64"]] if order["not_in_float64"] else [], "seconds": 1.0, "answers_s": 0.5,
            "cpu_s": 0.7, "peak_mib": 9.0 if float64 else 2.0, "odd_weights": os.environ.get("ODD", "").split()}

def round_answers(order):
    note("round")
    return {}

def probe(order):
    note("probe")
    return {"spec": {}, "indices": [], "names": []}

serve({"load": load, "write": write, "convert": convert, "round": round_answers, "probe": probe})
'''

FAKE_FINISHING = '''
"""Stands in for the second process: takes the raw graph as it is, or misbehaves as the environment says."""
import os, signal
from pathlib import Path
from keronyx.process import serve

calls = []

def finish(order):
    calls.append(order)
    folder, trouble = Path(order["folder"]), os.environ.get("TROUBLE", "")
    if trouble == "crashes" or (trouble == "crashes with passes" and not order["skip"]):
        os.kill(os.getpid(), signal.SIGSEGV)
    refusal = None
    if trouble.endswith("in float64") and order["precision"] == "float64":
        if trouble == "crashes in float64":
            os.kill(os.getpid(), signal.SIGSEGV)
        refusal = {"gate": "structure", "said": "no such kernel", "layer": "", "trial": 0}
    if trouble == "refused" or (trouble == "refused at first" and len(calls) == 1):
        refusal = {"gate": "numeric", "said": "y is off", "layer": "", "trial": 1}
        (folder / (order["name"] + ".rejected")).write_text("a refused model")
    (folder / order["name"]).write_bytes((folder / "raw.onnx").read_bytes())
    if trouble == "much data":
        (folder / (order["name"] + ".data")).write_text("much")
    return {"refusal": refusal, "evidence": ["finished"], "macs": 7, "seconds": 0.25, "gates_s": 0.5, "cpu_s": 0.1,
            "peak_mib": 3.0}

def reject(order):
    (Path(order["folder"]) / (order["name"] + ".rejected")).write_text("the raw graph")
    return {}

serve({"finish": finish, "reject": reject})
'''


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A source whose conversion is faked, in a child process all the same; `orders.txt` tells what that was asked."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "fake_conversion.py").write_text(FAKE_CHILD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    (tmp_path / "modules" / "fake_finishing.py").write_text(FAKE_FINISHING)
    monkeypatch.setattr(convert, "CHILD", "fake_conversion")
    monkeypatch.setattr(finish, "FINISHING", "fake_finishing")
    monkeypatch.setattr(convert, "refuse_unsafe_keras_file", lambda _: None)
    monkeypatch.setattr(lock, "lock_path", lambda: tmp_path / "lock")
    (tmp_path / "model.h5").write_bytes(b"content one")
    return Source("h5", "model.h5", "fake", str(tmp_path / "model.h5"))


@contextmanager
def held_folder(folder: Path) -> Iterator[None]:
    """The folder is being written to, by whomever."""
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(handle)


def _orders() -> list[str]:
    return Path("orders.txt").read_text().split()


def _files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.name != folders.MANIFEST}


def test_the_model_itself_comes_first_and_everything_is_recorded(source: Source) -> None:
    made = export(source, ["litert", "onnx"])
    assert _orders() == ["load", "keras", "onnx", "litert"]
    assert not made.failed
    assert [a.kind for a in made.manifest.artifacts] == ["keras", "onnx", "litert"]
    assert made.manifest.spec.macs == 7
    assert folders.read(made.folder) == made.manifest
    assert set(_files(made.folder)) == {"model.keras", "model.onnx", "model.tflite"}


def test_the_same_content_is_not_converted_twice_and_more_kinds_are_added(source: Source) -> None:
    first = export(source, ["onnx"])
    again = export(source, ["onnx"])
    assert (again.folder, again.manifest) == (first.folder, first.manifest)
    assert _orders() == ["load", "keras", "onnx"]
    export(source, ["onnx", "frozen"])
    assert _orders() == ["load", "keras", "onnx", "load", "frozen"]


def test_changed_content_or_options_go_to_another_folder(source: Source, tmp_path: Path) -> None:
    first = export(source, ["onnx"])
    (tmp_path / "model.h5").write_bytes(b"content two")
    second = export(source, ["onnx"])
    dynamic = export(source, ["onnx"], batch=None)
    assert len({first.folder, second.folder, dynamic.folder}) == 3
    assert _files(first.folder)["model.onnx"] == "the whole of onnx"


@pytest.mark.parametrize("damage", ["missing", "cut short"])
def test_an_artifact_that_is_gone_is_made_again(damage: str, source: Source) -> None:
    made = export(source, ["onnx", "frozen"])
    if damage == "missing":
        (made.folder / "model.onnx").unlink()
    else:
        (made.folder / "model.onnx").write_text("x")
    export(source, ["onnx", "frozen"])
    assert _orders() == ["load", "keras", "onnx", "frozen", "load", "onnx"]
    assert _files(made.folder)["model.onnx"] == "the whole of onnx"


def test_a_foreign_folder_is_refused_before_anything_is_loaded(source: Source, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.onnx").write_text("precious")
    with pytest.raises(UnwritableError, match="not an export"):
        export(source, ["onnx"], folder=tmp_path / "mine")
    assert not Path("orders.txt").exists()
    assert _files(tmp_path / "mine") == {"model.onnx": "precious"}


def test_force_replaces_only_what_it_writes(source: Source, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in ("model.onnx", "frozen.pb", "thesis.txt"):
        (mine / name).write_text("precious")
    export(source, ["onnx"], folder=mine, force=True)
    assert _files(mine) == {
        "model.keras": "the whole of keras",
        "model.onnx": "the whole of onnx",
        "frozen.pb": "precious",
        "thesis.txt": "precious",
    }
    export(source, ["onnx"], folder=mine, force=True)
    assert _orders() == ["load", "keras", "onnx"] * 2


def test_a_refused_kind_costs_that_kind_alone(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TROUBLE", "refuses onnx")
    made = export(source, ["onnx", "frozen"])
    assert set(made.failed) == {"onnx"}
    assert isinstance(made.failed["onnx"], ExportError)
    assert set(_files(made.folder)) == {"model.keras", "frozen.pb"}
    assert [a.kind for a in made.manifest.artifacts] == ["keras", "frozen"]


def test_a_killed_child_leaves_no_partial_file_and_the_next_kind_gets_a_new_one(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TROUBLE", "killed at onnx")
    made = export(source, ["onnx", "frozen"])
    assert isinstance(made.failed["onnx"], WorkerError)
    assert "the conversion was killed" in made.failed["onnx"].message
    assert _orders() == ["load", "keras", "onnx", "load", "frozen"]
    assert set(_files(made.folder)) == {"model.keras", "frozen.pb"}
    assert folders.read(made.folder) == made.manifest
    monkeypatch.delenv("TROUBLE")
    assert not export(source, ["onnx", "frozen"]).failed


def test_a_killed_child_does_not_cost_the_file_that_was_there(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    made = export(source, ["onnx"])
    (made.folder / "model.onnx").write_text("the user's own")
    monkeypatch.setenv("TROUBLE", "killed at onnx")
    assert export(source, ["onnx"]).failed
    assert _files(made.folder)["model.onnx"] == "the user's own"


def test_a_conversion_that_hangs_is_ended(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TROUBLE", "hangs at onnx")
    made = export(source, ["onnx"], timeout_s=3)
    assert "did not answer within 3 s" in made.failed["onnx"].message
    assert set(_files(made.folder)) == {"model.keras"}


def test_remains_of_a_killed_export_are_cleared_away(source: Source, tmp_path: Path) -> None:
    remains = tmp_path / "target" / folders.MAKING
    remains.mkdir(parents=True)
    (remains / "model.keras").write_text("half")
    made = export(source, ["onnx"], folder=tmp_path / "target")
    assert set(_files(made.folder)) == {"model.keras", "model.onnx"}


def test_two_exports_into_one_folder_wait_for_one_another(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TROUBLE", "slow at keras")
    told: list[str] = []
    results: list[Any] = []

    def one(kind: str) -> None:
        results.append(export(source, [kind], folder=tmp_path / "target", progress=told.append))

    threads = [threading.Thread(target=one, args=(kind,)) for kind in ("onnx", "frozen")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2
    assert told.count("waiting for another conversion to end") == 1
    assert sorted(_orders()) == ["frozen", "keras", "load", "load", "onnx"]  # the model itself only once
    manifest = folders.read(tmp_path / "target")
    assert manifest is not None
    assert [a.kind for a in manifest.artifacts] == ["keras", "onnx", "frozen"]
    assert set(_files(tmp_path / "target")) == {"model.keras", "model.onnx", "frozen.pb"}


def test_different_content_exported_into_one_folder_at_once_is_refused_not_mixed(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    (tmp_path / "other.h5").write_bytes(b"other content")
    monkeypatch.setenv("TROUBLE", "slow at keras")
    outcomes: list[str] = []

    def one(which: Source) -> None:
        try:
            export(which, ["onnx"], folder=tmp_path / "target")
            outcomes.append("made")
        except UnwritableError:
            outcomes.append("refused")

    pair = [source, replace(source, target=str(tmp_path / "other.h5"))]
    threads = [threading.Thread(target=one, args=(which,)) for which in pair]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["made", "refused"]
    assert _orders() == ["load", "keras", "onnx"]


def test_a_conversion_with_another_lock_waits_for_the_folder(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    told: list[str] = []
    with held_folder(target):
        thread = threading.Thread(
            target=lambda: export(source, ["onnx"], folder=target, progress=told.append), daemon=True
        )
        thread.start()
        deadline = time.monotonic() + 20
        while "waiting for another conversion to end" not in told and time.monotonic() < deadline:
            time.sleep(0.01)
        (target / folders.MAKING).mkdir()
        (target / folders.MAKING / "model.keras").write_text("half of another's")
        thread.join(0.2)
        assert thread.is_alive() and _orders() == ["load"]
        assert [path.name for path in (target / folders.MAKING).iterdir()] == ["model.keras"]
    thread.join(20)
    assert _orders() == ["load", "keras", "onnx"]


def test_an_export_already_there_waits_for_nobody(source: Source, tmp_path: Path) -> None:
    export(source, ["onnx"])
    with (tmp_path / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        export(source, ["onnx"])
        assert _orders() == ["load", "keras", "onnx"]


def test_a_lock_that_is_a_link_to_elsewhere_is_not_followed(source: Source, tmp_path: Path) -> None:
    os.symlink(tmp_path / "victim", tmp_path / "lock")
    with pytest.raises(UnwritableError):
        export(source, ["onnx"])
    assert not (tmp_path / "victim").exists()


def test_a_folder_is_completed_from_the_model_in_it(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "hash_path", lambda _: "")
    made = export(source, ["onnx"])
    Path("orders.txt").unlink()
    completed = complete(made.folder, ["onnx", "litert"])
    assert _orders() == ["load", "litert"]
    assert [a.kind for a in completed.manifest.artifacts] == ["keras", "onnx", "litert"]


def test_a_folder_whose_model_was_changed_is_not_completed(source: Source) -> None:
    made = export(source, ["onnx"])
    (made.folder / "model.keras").write_text("the whole of KERAS")
    with pytest.raises(SourceError, match="is not as it was exported"):
        complete(made.folder, ["litert"])
    with pytest.raises(SourceError, match="no complete export folder"):
        complete(made.folder.parent, ["litert"])


# --- what the second process says -------------------------------------------------------------------------------------


def test_an_onnx_file_counts_both_processes(source: Source) -> None:
    artifact = export(source, ["onnx"]).manifest.artifact("onnx")
    assert artifact is not None
    assert (artifact.seconds, artifact.peak_mib) == (1.25, 3.0)
    assert artifact.evidence == ("finished", "made", "conversion 0.8 s of CPU", "gates 1.0 s")
    assert artifact.sha256 == convert.hash_path(Path(export(source, ["onnx"]).folder / "model.onnx"))


def test_a_refused_file_is_kept_under_another_name_until_a_later_one_passes(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TROUBLE", "refused")
    made = export(source, ["onnx", "frozen"])
    assert made.failed["onnx"].message == "the numeric gate refuses the ONNX file: y is off"
    assert isinstance(made.failed["onnx"], ExportError) and ".rejected" in made.failed["onnx"].remedy
    assert _orders() == ["load", "keras", "onnx", "round", "probe", "frozen"]
    assert set(_files(made.folder)) == {"model.keras", "model.onnx.rejected", "frozen.pb"}
    monkeypatch.delenv("TROUBLE")
    assert set(_files(export(source, ["onnx"]).folder)) == {"model.keras", "model.onnx", "frozen.pb"}


def test_a_model_that_multiplies_rounding_is_judged_again_knowing_that(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TROUBLE", "refused at first")
    made = export(source, ["onnx"])
    assert not made.failed and _orders() == ["load", "keras", "onnx", "round"]
    artifact = made.manifest.artifact("onnx")
    assert artifact is not None and "gates 1.5 s" in artifact.evidence


@pytest.mark.parametrize("trouble", ["refused in float64", "crashes in float64"])
def test_a_file_that_needs_a_second_conversion_counts_both(
    trouble: str, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TROUBLE", trouble)
    made = export(source, ["onnx"])
    assert not made.failed, made.failed
    assert _orders() == ["load", "keras", "onnx", "onnx"]
    assert set(_files(made.folder)) == {"model.keras", "model.onnx"}
    artifact = made.manifest.artifact("onnx")
    assert artifact is not None
    told = 2 if trouble == "refused in float64" else 1  # a process that crashes tells nothing
    assert (artifact.seconds, artifact.peak_mib) == (2 + told * 0.25, 9.0)
    said = {f"conversion {1.4 + told * 0.1:.1f} s of CPU", f"gates {1 + told * 0.5:.1f} s"}
    assert said <= set(artifact.evidence)
    assert "in float64 the structure gate refuses the file" in artifact.evidence


def test_weights_that_are_no_numbers_are_a_warning(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD", "a/kernel b/kernel c/kernel d/kernel")
    artifact = export(source, ["onnx"]).manifest.artifact("onnx")
    assert artifact is not None
    assert "warning: NaN or Inf in the weights a/kernel, b/kernel, c/kernel and others" in artifact.evidence


def test_onnx_runtime_crashing_with_the_graph_passes_costs_the_passes(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TROUBLE", "crashes with passes")
    artifact = export(source, ["onnx"]).manifest.artifact("onnx")
    assert artifact is not None
    assert any(said.startswith("DroppedPass all of them") and "SIGSEGV" in said for said in artifact.evidence)


def test_onnx_runtime_crashing_always_refuses_the_file(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TROUBLE", "crashes")
    made = export(source, ["onnx"])
    assert "the structure gate refuses" in made.failed["onnx"].message and "SIGSEGV" in made.failed["onnx"].message
    assert _files(made.folder)["model.onnx.rejected"] == "the raw graph"


def test_weights_in_a_file_of_their_own_are_part_of_the_artifact(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TROUBLE", "much data")
    made = export(source, ["onnx"])
    artifact = made.manifest.artifact("onnx")
    assert artifact is not None
    assert artifact.bytes == len("the whole of onnx") + len("much")
    assert artifact.sha256 != convert.hash_path(made.folder / "model.onnx")
    export(source, ["onnx"])
    assert _orders() == ["load", "keras", "onnx"]
    (made.folder / "model.onnx").write_text("cut short")
    monkeypatch.delenv("TROUBLE")
    export(source, ["onnx"])
    assert _orders() == ["load", "keras", "onnx", "load", "onnx"]
    assert set(_files(made.folder)) == {"model.keras", "model.onnx"}


# --- the real thing ---------------------------------------------------------------------------------------------------


def _save(path: Path, batchnorm: bool = True) -> Path:
    import keras
    from keras import layers

    image = keras.Input((None, None, 3), name="image")
    y = layers.Conv2D(4, 3, name="conv")(image)
    y = layers.BatchNormalization(name="bn")(y) if batchnorm else y
    keras.Model(image, layers.ReLU(name="out")(y)).save(path)
    return path


@pytest.mark.slow
def test_a_keras_file_becomes_every_artifact_with_figures_of_its_own_process(tmp_path: Path, comparison: Any) -> None:
    import keras

    found = identify(str(_save(tmp_path / "net.keras")))
    made = export(found, ["onnx", "frozen", "litert"], image_size=(8, 10))
    assert not made.failed
    manifest = made.manifest
    assert [a.kind for a in manifest.artifacts] == ["keras", "onnx", "frozen", "litert"]
    for artifact in manifest.artifacts:
        path = made.folder / artifact.path
        assert artifact.bytes == path.stat().st_size
        assert artifact.sha256 == convert.hash_path(path)
        assert artifact.seconds > 0
        assert 200 < artifact.peak_mib < 4096
    assert manifest.spec.inputs[0].shape == (1, 8, 10, 3)
    assert manifest.spec.macs == 6 * 8 * 4 * 27
    assert (manifest.opset, set(manifest.tools)) == (18, set(folders.TOOLS))
    assert not [path for path in made.folder.iterdir() if path.name.startswith(".")]
    x = comparison.feeds(manifest.spec.inputs, 1)
    expected = comparison.keras_answers(keras.saving.load_model(made.folder / "model.keras"), x)
    comparison.assert_same(expected, comparison.run_onnx(made.folder / "model.onnx", manifest.spec, x))
    assert str(tmp_path) not in (made.folder / folders.MANIFEST).read_text().replace(json.dumps(found.text), "")


@pytest.mark.slow
def test_custom_classes_reach_the_child_and_their_code_is_part_of_the_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    code = "import keras\nclass Twice(keras.layers.Layer):\n    def call(self, x):\n        return x * 2\n"
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "users_twice.py").write_text(code + "objects = {'Twice': Twice}\n")

    class Twice(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x * 2

    x = keras.Input((4,), name="x")
    keras.Model(x, Twice()(x)).save(tmp_path / "custom.keras")
    path = str(tmp_path / "custom.keras")
    with pytest.raises(SourceError, match="needs the custom class Twice"):
        export(identify(path), ["onnx"])
    monkeypatch.chdir(tmp_path / "here")  # where the child finds the module too
    found = identify(path, custom_objects="users_twice:objects")
    first = export(found, ["onnx"])
    assert not first.failed
    assert first.manifest.custom_objects == "users_twice:objects"
    (tmp_path / "here" / "users_twice.py").write_text(code.replace("* 2", "* 3") + "objects = {'Twice': Twice}\n")
    assert export(found, ["onnx"]).folder != first.folder


@pytest.mark.slow
def test_code_in_a_file_is_refused_by_the_child_and_an_untrusted_file_makes_no_folder(tmp_path: Path) -> None:
    import keras

    x = keras.Input((4,), name="x")
    keras.Model(x, keras.layers.Lambda(lambda t: t * 2, output_shape=(4,))(x)).save(tmp_path / "code.keras")
    with pytest.raises(UntrustedModelError):
        export(identify(str(tmp_path / "code.keras")), ["onnx"], root=tmp_path / "exports")
    assert not list((tmp_path / "exports").iterdir())


@pytest.mark.slow
def test_a_saved_model_is_exported_with_a_dynamic_batch(tmp_path: Path, comparison: Any) -> None:
    import keras
    import tensorflow as tf

    _save(tmp_path / "net.keras", batchnorm=False)
    model = keras.saving.load_model(tmp_path / "net.keras")
    signature = [tf.TensorSpec((None, 8, 10, 3), name="image")]
    function = tf.function(lambda image: {"out": model(image)}, input_signature=signature)
    module = tf.Module()
    module.model, module.function = model, function
    tf.saved_model.save(module, str(tmp_path / "saved"), function)
    made = export(identify(str(tmp_path / "saved")), ["onnx", "frozen", "litert"], batch=None)
    assert not made.failed
    assert [a.kind for a in made.manifest.artifacts] == ["saved_model", "onnx", "frozen", "litert"]
    assert made.manifest.spec.inputs[0].shape == (None, 8, 10, 3)
    x = comparison.feeds(made.manifest.spec.inputs, 2)
    found = comparison.run_onnx(made.folder / "model.onnx", made.manifest.spec, x)
    comparison.assert_same(comparison.keras_answers(model, x), found)


@pytest.mark.slow
def test_two_processes_exporting_to_one_folder_leave_one_whole_export(tmp_path: Path) -> None:
    import subprocess
    import sys

    import onnx

    _save(tmp_path / "net.keras")
    command = [sys.executable, "-m", "keronyx", "export", "net.keras", "-o", "same", "--image-size", "8x10", "--quiet"]
    pair = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=240) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], said
    assert said[0][0] == said[1][0], "the second found what the first had made"
    manifest = folders.read(tmp_path / "same")
    assert manifest is not None
    for artifact in manifest.artifacts:
        assert convert.hash_path(tmp_path / "same" / artifact.path) == artifact.sha256
    onnx.checker.check_model(str(tmp_path / "same" / "model.onnx"), full_check=True)
    assert {path.name for path in (tmp_path / "same").iterdir()} == {"manifest.json", "model.keras", "model.onnx"}


@pytest.mark.slow
def test_a_model_of_nothing_but_nan_is_refused_and_the_weights_are_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import keras

    from keronyx.cli import app

    model = keras.saving.load_model(_save(tmp_path / "net.keras"))
    kernel = model.get_layer("conv").kernel
    kernel.assign(kernel.numpy() * float("nan"))
    model.save("broken.keras")
    with pytest.raises(SystemExit) as ended:
        app(["export", "broken.keras", "-o", "out", "--image-size", "8x10", "--quiet"])
    assert ended.value.code == 1
    told = " ".join(capfd.readouterr().err.split())
    assert "the numeric gate refuses the ONNX file: Keras' own answers are nothing but NaN or Inf" in told
    assert "NaN or Inf in the weights conv/kernel" in told and "Traceback" not in told
    assert {path.name for path in Path("out").iterdir()} == {"manifest.json", "model.keras", "model.onnx.rejected"}

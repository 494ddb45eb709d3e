"""The line joined: real workers on a real model, faults injected where they would strike."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from keronyx import pipeline
from keronyx.errors import (
    DataError,
    ExportError,
    SourceError,
    UnavailableError,
    UsageError,
    WorkerError,
    WorkerTimeoutError,
)
from keronyx.pipeline import ProfileOptions, Silent, opening, preparation, profile, resolve, sources
from keronyx.pipeline.opening import failed
from keronyx.pipeline.placing import judge_placement
from keronyx.profiles.ranking import rankings
from keronyx.runtime import RUNTIMES
from keronyx.types import Missing, Placement, Row, Status, Verdict

OPTIONS = ProfileOptions(
    runtimes=("ort", "litert"), max_rounds=3, budget_s=20, timeout_s=120, threads=(1,), processes=1
)


def of(export: Path, options=OPTIONS, progress=None):
    progress = progress or Silent()
    return profile(preparation(export, None, progress), options, progress)


def rows(report):
    return {f"{row.runtime.rpartition(':')[2]}/{row.provider}": row for row in report.rows}


# --- judging


def row(provider="cuda", **placement):
    return Row("r", "ort", provider, "fp32", 1, Status.OK, placement=Placement(**placement))


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (row(assigned={"cuda": 5}), Status.OK),
        (row(assigned={"cuda": 5}, executed={"cuda": 1.0}), Status.OK),
        (row(assigned={"cuda": 5, "cpu": 1}), Status.PARTIAL),
        (row(assigned={"cuda": 5}, executed={"cuda": 0.9, "cpu": 0.1}), Status.PARTIAL),
        (row("tensorrt", assigned={"tensorrt": 1, "cuda": 9}), Status.PARTIAL),
        (row(assigned={"cpu": 5}), Status.FELL_BACK),
        (row(assigned={"cuda": 0, "cpu": 5}), Status.FELL_BACK),
        (row(assigned={"cuda": 5}, executed={"cpu": 1.0}), Status.FELL_BACK),
        (row(assigned={"cpu": 5}, executed={"cuda": 1.0}), Status.FELL_BACK),
        (row("cpu", assigned={"cpu": 5}, executed={"cpu": 1.0}), Status.OK),
    ],
)
def test_a_row_claims_only_what_ran_on_its_provider(given, status):
    assert judge_placement(given).status is status
    assert bool(judge_placement(given).reason) is (status is Status.FELL_BACK)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnavailableError("no GPU", "buy one"), Status.UNAVAILABLE),
        (WorkerTimeoutError("slow"), Status.TIMEOUT),
        (WorkerError("died"), Status.FAILED),
        (ExportError("no"), Status.FAILED),
    ],
)
def test_what_befell_a_row_is_its_status(error, status):
    judged = failed(row(), error)
    assert (judged.status, judged.reason, judged.remedy) == (status, error.message, error.remedy)


# --- before any work


def test_options_are_refused_before_anything_is_exported(tmp_path):
    def must_not(*_):
        raise AssertionError("exported")

    for wrong, error in [
        (dataclasses.replace(OPTIONS, runtimes=("otr",)), UsageError),
        (dataclasses.replace(OPTIONS, providers=("gpu",)), UsageError),
        (dataclasses.replace(OPTIONS, budget_s=0), UsageError),
        (dataclasses.replace(OPTIONS, data=tmp_path), DataError),
        (dataclasses.replace(OPTIONS, data=tmp_path / "nowhere"), DataError),
    ]:
        with pytest.raises(error):
            profile(must_not, wrong, Silent())


def test_a_networks_name_wins_over_a_folder_called_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "unet").mkdir()
    assert resolve("unet").target == sources.ZOO_BUILDER and resolve("unet:16").name == "unet:16"
    with pytest.raises(SourceError, match="folder"):
        resolve("./unet")


def test_a_folder_exported_at_another_batch_is_refused(segmenter_export):
    with pytest.raises(UsageError, match="is exported at batch 1, not 2"):
        of(segmenter_export, dataclasses.replace(OPTIONS, batches=(2,)))


@pytest.mark.parametrize(("name", "size"), [("MobileNetV3Small", (224, 224)), ("Xception", None)])
def test_only_an_architecture_that_leaves_its_size_open_is_given_one(name, size, monkeypatch):
    asked = {}
    monkeypatch.setattr(sources.convert, "export", lambda *_, **options: asked.update(options))
    sources.export(resolve(f"keras.applications:{name}"))
    assert asked["image_size"] == size


def test_slugs_are_file_names():
    assert pipeline.slug("unet:16") == "unet-16" and pipeline.slug("../..") == "model"
    assert "/" not in pipeline.slug("a/b\\c d")


# --- every runtime


@pytest.fixture(scope="module")
def whole(segmenter_export):
    options = dataclasses.replace(OPTIONS, providers=("cuda", "cpu"), runtimes=None, hot=True)
    return of(segmenter_export, options)


@pytest.mark.slow
def test_every_cpu_runtime_is_timed_and_checked(whole):
    timed = [row for row in whole.rows if row.provider == "cpu"]
    assert {row.runtime for row in timed} == {runtime.name for runtime in RUNTIMES if runtime.provider == "cpu"}
    for one in timed:
        assert one.status is Status.OK, one
        assert one.parity.verdict is Verdict.PASS and len(one.samples.wall_ns) == 3 and one.version
        assert min(one.cold.start_s, one.cold.import_s, one.cold.load_s, one.cold.first_call_s) > 0
        assert 3 <= len(one.cold.warmup_ms) < 32 and one.cold.peak_rss_mib > 10 and one.artifact_bytes
        assert 50 < one.harness_ns < 1_000_000
        proved = {gate.name: gate.verdict for gate in one.parity.gates}
        assert proved["complete"] is proved["uncached"] is Verdict.PASS
    assert rows(whole)["ort/cpu"].placement.executed == {"cpu": 1.0}
    assert any("ops" in fact for fact in rows(whole)["tf-optimized/cpu"].evidence)
    assert rows(whole)["tf-xla/cpu"].cold.compile_s > rows(whole)["ort/cpu"].cold.compile_s
    assert whole.plan.reference == {"b1": "tf-graph/cpu/fp32/b1"} and len(whole.control["b1"].wall_ns) == 3
    assert whole.plan.threads == 1 and whole.plan.rotation == 1


@pytest.mark.slow
def test_cuda_without_libraries_is_unavailable_not_cpu(whole):
    absent = [row for row in whole.rows if row.provider == "cuda"]
    if not all(runtime.missing() for runtime in RUNTIMES if runtime.provider == "cuda"):
        pytest.skip("this machine has CUDA")
    assert len(absent) == 5
    for one in absent:
        assert one.status is Status.UNAVAILABLE and one.samples.wall_ns == () and one.cold is None
        assert ".so" in one.reason and "install" in one.remedy


# --- faults in a run


ALL = dataclasses.replace(OPTIONS, runtimes=None)


@pytest.mark.slow
def test_one_row_that_crashes_hangs_or_eats_the_memory_costs_itself_alone(fakes, segmenter_export):
    kinds = ("WELL_BEHAVED", "CRASHING", "HANGING", "HUNGRY", "CRASHING_AT_ONCE")
    fakes(*kinds, fakes.of("GPU", "cuda", Missing("libcuda.so.1 not found", "install the driver")))
    options = dataclasses.replace(ALL, providers=("cpu", "cuda"), timeout_s=4, memory_limit_mib=700)
    found = rows(of(segmenter_export, options))
    said = {name: (one.status, one.reason) for name, one in found.items()}
    assert said["WELL_BEHAVED/cpu"] == (Status.OK, "") and len(found["WELL_BEHAVED/cpu"].samples.wall_ns) == 3
    assert said["CRASHING/cpu"][0] is Status.FAILED and "SIGSEGV" in said["CRASHING/cpu"][1]
    assert said["CRASHING/cpu"][1].endswith("(in round 1)")
    assert said["HANGING/cpu"][0] is Status.TIMEOUT and "within 4 s" in said["HANGING/cpu"][1]
    assert said["HUNGRY/cpu"][0] is Status.FAILED and "MiB" in said["HUNGRY/cpu"][1]
    assert said["CRASHING_AT_ONCE/cpu"][0] is Status.FAILED and "SIGSEGV" in said["CRASHING_AT_ONCE/cpu"][1]
    assert said["GPU/cuda"] == (Status.UNAVAILABLE, "libcuda.so.1 not found")


@pytest.mark.slow
def test_when_no_row_can_run_the_report_says_so(fakes, segmenter_export):
    fakes("CRASHING_AT_ONCE")
    report = of(segmenter_export, ALL)
    assert report.stopped == "no row can run" and report.rows[0].status is Status.FAILED and report.control == {}


def test_no_process_to_be_had_costs_the_row_not_the_run(fakes, segmenter_export, monkeypatch):
    fakes("WELL_BEHAVED")

    def none_left(*_):
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(opening, "Worker", none_left)
    assert "no process could be started" in of(segmenter_export, ALL).rows[0].reason


@pytest.mark.slow
@pytest.mark.parametrize("when", ["starting keronyx.runtime.fake:CRASHING", "measuring", "2", "checking"])
def test_ctrl_c_in_any_phase_leaves_a_report_of_what_was_measured(when, fakes, segmenter_export):
    fakes("WELL_BEHAVED", "CRASHING", fakes.of("GPU", "cuda", Missing("no GPU", "")))

    class Strike(Silent):
        struck = False

        def phase(self, text):
            self.strike(text.startswith(when))

        def rounds(self, done, share):
            self.strike(str(done) == when)

        def strike(self, now):
            if now and not self.struck:
                self.struck = True
                raise KeyboardInterrupt

    options = dataclasses.replace(ALL, providers=("cpu", "cuda"), max_rounds=4)
    report = of(segmenter_export, options, Strike())
    found = rows(report)
    assert report.stopped == "interrupted" and len(found) == 3
    assert found["GPU/cuda"].status is Status.UNAVAILABLE
    sound = found["WELL_BEHAVED/cpu"]
    rounds = {"starting keronyx.runtime.fake:CRASHING": 0, "checking": 0, "measuring": 0, "2": 2}.get(when, 4)
    assert len(sound.samples.wall_ns) == rounds
    assert sound.cold is not None
    assert (sound.parity is not None) is (when in ("measuring", "2"))  # no oracle is started after Ctrl-C
    if rounds:
        assert sound.status is Status.OK and "crashed" in found["CRASHING/cpu"].reason
    else:
        assert sound.status is Status.FAILED and sound.reason == "interrupted before it was measured"
    assert not children()


def children() -> list[str]:
    """Command lines of this process's workers that are still alive."""
    mine = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid():
                mine.append((path.parent / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return [command for command in mine if "runtime.worker" in command]


@pytest.mark.slow
def test_ctrl_c_before_any_row_is_the_callers_business(fakes, segmenter_export):
    fakes("WELL_BEHAVED")

    def interrupted(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        profile(interrupted, ALL, Silent())


@pytest.mark.slow
def test_a_later_batch_that_fails_or_is_interrupted_does_not_cost_the_first(fakes, segmenter_export, monkeypatch):
    fakes("WELL_BEHAVED")
    progress = Silent()
    exported = preparation(segmenter_export, None, progress)(1, ("keras",))
    make = opening.inputs.make
    for error, reason in [(KeyboardInterrupt(), "interrupted"), (DataError("broken.png cannot be read"), "broken.png")]:

        def fail_at_2(specs, batch, *others, error=error):
            if batch == 2:
                raise error
            return make(specs, batch, *others)

        monkeypatch.setattr(opening.inputs, "make", fail_at_2)
        report = profile(lambda batch, kinds: exported, dataclasses.replace(ALL, batches=(1, 2, 2)), progress)
        first, second = report.rows
        assert first.status is Status.OK and len(first.samples.wall_ns) == 3
        assert (second.batch, second.status) == (2, Status.FAILED) and reason in second.reason
        assert report.plan.rows == (first.id, second.id)


def test_an_artifact_that_could_not_be_made_is_a_failed_row(fakes, segmenter_export):
    fakes(fakes.of("WELL_BEHAVED", artifacts=("onnx",)), fakes.of("GPU", artifacts=("saved_model",)))
    progress = Silent()
    exported = preparation(segmenter_export, None, progress)(1, ("keras",))
    without = dataclasses.replace(
        exported,
        manifest=dataclasses.replace(exported.manifest, artifacts=exported.manifest.artifacts[:1]),
        failed={"onnx": ExportError("layer Odd has no ONNX operator", "replace it")},
    )
    found = rows(profile(lambda *_: without, ALL, progress))
    assert found["WELL_BEHAVED/cpu"].status is Status.FAILED and "layer Odd" in found["WELL_BEHAVED/cpu"].reason
    assert found["GPU/cpu"].status is Status.UNAVAILABLE and "saved_model" in found["GPU/cpu"].reason


# --- wrong answers


def corrupt(export: Path) -> None:
    """Scale one filter of the ONNX file by half, hiding the deed from the manifest."""
    import onnx
    from onnx import numpy_helper

    path = export / "model.onnx"
    model = onnx.load(path)
    largest = max(model.graph.initializer, key=lambda tensor: int(np.prod(tensor.dims)))
    values = numpy_helper.to_array(largest).copy()
    values[0] *= 1.5
    largest.CopyFrom(numpy_helper.from_array(values, largest.name))
    onnx.save(model, path)
    manifest = json.loads((export / "manifest.json").read_text())
    for artifact in manifest["artifacts"]:
        if artifact["kind"] == "onnx":
            raw = path.read_bytes()
            artifact |= {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
    (export / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.slow
def test_a_row_with_wrong_answers_is_timed_but_never_wins(segmenter_copy):
    corrupt(segmenter_copy)
    report = of(segmenter_copy, dataclasses.replace(OPTIONS, max_rounds=8))
    found = rows(report)
    assert found["ort/cpu"].parity.verdict is Verdict.FAIL and found["ort/cpu"].status is Status.OK
    assert [gate.verdict for gate in found["ort/cpu"].parity.gates][:3] == [Verdict.PASS, Verdict.PASS, Verdict.FAIL]
    assert found["litert/cpu"].parity.verdict is Verdict.PASS
    assert [standing.row.runtime for standing in rankings(report)[0].winners] == ["litert"]


@pytest.mark.slow
def test_a_model_of_several_inputs_is_fed_and_checked(two_headed_export):
    report = of(two_headed_export)
    assert report.plan.inputs == "zeta: seeded noise; alpha: seeded noise"
    for one in report.rows:
        assert one.status is Status.OK and [d.name for d in one.parity.outputs] == ["why", "first"]
        assert one.parity.verdict is Verdict.PASS


# --- from outside


@pytest.mark.slow
def test_a_worker_killed_from_outside_mid_run_costs_its_row(segmenter_export):
    class Kill(Silent):
        def rounds(self, done, share):
            if done == 2:
                os.kill(victim["pid"], signal.SIGKILL)

    victim = {}
    started = opening.Worker

    def watched(row, *arguments):
        worker = started(row, *arguments)
        if row.startswith("litert"):
            victim["pid"] = worker.pid
        return worker

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "Worker", watched)
        report = of(segmenter_export, dataclasses.replace(OPTIONS, max_rounds=5), Kill())
    found = rows(report)
    assert found["litert/cpu"].status is Status.FAILED and "SIGKILL" in found["litert/cpu"].reason
    assert found["litert/cpu"].reason.endswith("(in round 3)") and len(found["litert/cpu"].samples.wall_ns) == 2
    assert found["ort/cpu"].status is Status.OK and len(found["ort/cpu"].samples.wall_ns) == 5
    assert found["ort/cpu"].parity.verdict is Verdict.PASS

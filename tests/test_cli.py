"""The commands as a user meets them: exit codes, messages, files, Ctrl-C."""

from __future__ import annotations

import dataclasses
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from keronyx import options, pipeline
from keronyx.cli import app
from keronyx.errors import SourceError, UnwritableError, UsageError
from keronyx.exit_codes import Exit, severity
from keronyx.profiles import store
from keronyx.types import Status

ROOT = Path(__file__).resolve().parents[1]
QUICK = ["--runtimes", "ort", "--rounds", "3", "--quiet", "--threads", "1"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A command in a fresh folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments):
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        return done.exit_code, done.stdout, done.stderr

    return invoke


def stored(folder=Path("runs")):
    (path,) = folder.glob("*.json")
    return store.load(path)


# --- refusals: one or two lines, the right code, no traceback, nothing done


def image_folder(content):
    folder = Path("data")
    folder.mkdir()
    for name, raw in content.items():
        (folder / name).write_bytes(raw)


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("profile unnet", 2, "did you mean unet"),
        ("profile unet:x", 2, "not a width"),
        ("profile unet:16 --runtimes otr", 2, "ort"),
        ("profile unet:16 --providers gpu", 2, "did you mean cuda?"),
        ("profile unet:16 --runtimes ,", 2, "--runtimes is empty"),
        ("profile unet:16 --budget 0s", 2, "above zero"),
        ("profile unet:16 --budget soon", 2, "for example 60s"),
        ("profile unet:16 --batch 0", 2, "--batch must be a whole number above zero"),
        ("profile unet:16 --image-size 320", 2, "HEIGHTxWIDTH"),
        ("profile unet:16 --rounds 0", 2, "Invalid value"),
        ("profile unet:16 --threads -1", 2, "--threads must be a whole number above zero"),
        ("profile unet:16 --frobnicate", 2, "No such option"),
        ("profile unet:16 enet:16 -o x.html", 2, "several models"),
        ("profile unet:16 -o x.pdf", 2, ".html"),
        ("profile unet:16 -o x", 2, "no report format"),
        ("profile unet:16 -o there.html", 1, "there.html exists"),
        ("profile unet:16 -o lonely.html", 1, "lonely.json exists"),
        ("profile unet:16 -o /proc/nothing/x.html", 1, "cannot make /proc/nothing"),
        ("profile unet:16 -o there.html/x.html", 1, "cannot make"),
        ("profile unet:16 -o /proc/x.html", 1, "cannot write to /proc"),
        ("profile unet:16 --seed -1", 2, "Invalid value"),
        ("profile unet:16 --data nowhere", 1, "no such data folder"),
        ("profile unet:16 --data empty", 1, "holds no images"),
        ("profile missing.keras", 1, "no such file"),
        ("profile corrupt.keras", 1, "damaged or cut short"),
        ("profile there.html", 1, "not a model file"),
        ("profile elsewhere", 2, "unknown source"),
        ("profile ./empty", 1, "without saved_model.pb"),
        ("report missing.json", 1, "is not a file"),
        ("report corrupt.keras", 1, "not a keronyx report"),
        ("export unet --batch some", 2, "--batch"),
        ("export missing.keras", 1, "no such file"),
        ("export unet --batch 2 --shape image=3x64x64x3", 2, "--batch 2 and --shape image=3x64x64x3 contradict"),
        ("export unet --batch 1 --shape image=3x64x64x3", 2, "--batch 1 and --shape"),
        ("export unet --shape image=3x64x64x3 --batch dynamic", 2, "--batch dynamic and --shape"),
        ("export unet --batch 2 --shape image=batch,64,64,3", 2, "--batch 2 and --shape image=batchx64x64x3"),
    ],
)
def test_bad_input_is_refused_before_any_work(line, code, said, run):
    Path("there.html").write_text("kept")
    Path("lonely.json").write_text("kept")
    Path("corrupt.keras").write_bytes(b"PK\x03\x04 cut")
    Path("empty").mkdir()
    found, out, err = run(*line.split())
    assert (found, out) == (code, ""), err
    assert said in err and "Traceback" not in err
    if err.startswith("keronyx:"):
        assert len(err.splitlines()) <= 2
    assert Path("there.html").read_text() == Path("lonely.json").read_text() == "kept"
    assert not Path("exports").exists()


def test_debug_shows_the_traceback(run):
    code, _, err = run("profile", "missing.keras", "--debug")
    assert code == 1 and "Traceback" in err and "SourceError" in err


def test_what_nobody_foresaw_is_one_line_too(run, monkeypatch):
    def explode(*_, **__):
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr(pipeline, "resolve", explode)
    code, _, err = run("profile", "unet")
    assert code == 1 and err.startswith("keronyx: unexpected ZeroDivisionError: division\n") and "Traceback" not in err
    assert "Traceback" in run("profile", "unet", "--debug")[2]


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("60s", 60), ("1.5m", 90), ("2 min", 120), ("1h", 3600)])
def test_durations(text, seconds):
    assert options.duration(text, "--budget") == seconds


@pytest.mark.parametrize("text", ["", "0", "0.0s", "-1s", "1d", "1e3", "nan", "s"])
def test_wrong_durations(text):
    with pytest.raises(UsageError):
        options.duration(text, "--budget")


def test_the_gravest_of_several_models_decides():
    assert max([Exit.DONE, Exit.PARITY, Exit.ROW], key=severity) is Exit.PARITY
    assert max([Exit.PARITY, Exit.ERROR], key=severity) is Exit.ERROR
    assert max([Exit.ERROR, Exit.INTERRUPTED], key=severity) is Exit.INTERRUPTED


# --- doctor


def test_doctor_names_every_runtime_and_json_is_json(run):
    code, out, _ = run("doctor")
    assert code == 0 and "tf-eager/cpu" in out and "ort/tensorrt" in out
    code, out, _ = run("doctor", "--json")
    assert code == 0 and len(json.loads(out)["runtimes"]) == 13


# --- profile, for real


@pytest.mark.slow
def test_an_export_folder_is_a_source_and_the_report_renders_again_to_the_same_bytes(segmenter_copy, run, monkeypatch):
    code, out, err = run("profile", segmenter_copy, *QUICK, "-o", "out/r.html", "--hot")
    assert code == 0, err
    assert "ort" in out and "report: out/r.html and out/r.json" in out and err == ""
    report = store.load("out/r.json")
    assert report.plan.threads == 1 and report.plan.rotation == 1 and len(report.rounds) == 3
    for suffix in ("html", "md", "csv", "txt", "json"):
        assert run("report", "out/r.json", "-o", f"again.{suffix}")[0] == 0
    assert Path("again.html").read_bytes() == Path("out/r.html").read_bytes()
    assert Path("again.json").read_bytes() == Path("out/r.json").read_bytes()
    assert run("report", "out/r.json")[1].splitlines()[0] == out.splitlines()[0]
    code, _, err = run("report", "out/r.json", "-o", "again.md")
    assert code == 1 and "again.md exists" in err
    assert run("report", "out/r.json", "-o", "again.md", "--force")[0] == 0
    # the same again: refused for the sake of the old report, and exit codes of --strict
    assert run("profile", segmenter_copy, *QUICK, "-o", "out/r.html")[0] == 1
    monkeypatch.setattr(pipeline, "profile", lambda *_: report)
    code = run("profile", segmenter_copy, *QUICK, "-o", "out/r.html", "--force", "--strict")[0]
    assert code == Exit.UNTRUSTED  # three rounds are too few to trust


@pytest.mark.slow
def test_without_a_source_what_was_exported_here_is_profiled(segmenter_copy, two_headed_export, run, monkeypatch):
    Path("exports").mkdir()
    shutil.move(segmenter_copy, "exports/segmenter")
    shutil.copytree(two_headed_export, "exports/two_headed")
    (Path("exports/two_headed/manifest.json")).write_text("{")
    code, _, err = run("profile", "exports/two_headed", *QUICK)
    assert code == 1 and "manifest.json is damaged" in err
    code, out, _ = run("profile", *QUICK, "--providers", "cpu,cuda")
    assert code == 0 and out.startswith("segmenter")
    cuda = next(row for row in stored().rows if row.provider == "cuda")
    if cuda.status is Status.UNAVAILABLE:
        report = stored()
        shutil.rmtree("runs")
        monkeypatch.setattr(pipeline, "profile", lambda *_: report)
        assert run("profile", *QUICK, "--providers", "cpu,cuda", "--strict")[0] == Exit.ROW


@pytest.mark.slow
def test_several_batches_and_json(segmenter_copy, run):
    shutil.copy(segmenter_copy / "model.keras", "net.keras")
    code, out, _ = run("profile", "net.keras", *QUICK, "--batch", "1,2,2", "--json", "-o", "r.json")
    assert code == 0 and json.loads(out) == json.loads(Path("r.json").read_text())
    report = store.load("r.json")
    assert [row.batch for row in report.rows] == [1, 2] and set(report.control) == {"b1", "b2"}
    assert all(row.status is Status.OK and row.parity.outputs[0].typical < 1e-4 for row in report.rows)


def test_a_model_that_cannot_be_loaded_does_not_cost_the_others_theirs(run, report, monkeypatch):
    def profile(prepare, options, progress):
        if not done:
            done.append(1)
            raise SourceError("broken.keras is damaged", "mend it")
        return report

    done = []
    monkeypatch.setattr(pipeline, "profile", profile)
    code, out, err = run("profile", "unet:16", "enet:16", "--quiet")
    assert code == Exit.ERROR and err == "keronyx: unet:16: broken.keras is damaged\n  -> mend it\n"
    assert "report: runs/enet-16" in out and len(list(Path("runs").glob("enet-16*.json"))) == 1


def test_ctrl_c_ends_the_models_after_it_too(run, report, monkeypatch):
    calls = []
    interrupted = dataclasses.replace(report, stopped="interrupted")
    monkeypatch.setattr(pipeline, "profile", lambda *_: calls.append(1) or interrupted)
    assert run("profile", "unet:16", "enet:16", "--quiet")[0] == Exit.INTERRUPTED and len(calls) == 1


@pytest.mark.parametrize(
    ("status", "strict", "code"),
    [
        (Status.OK, True, Exit.DONE),
        (Status.PARTIAL, False, Exit.DONE),
        (Status.FAILED, False, Exit.ROW),
        (Status.FELL_BACK, False, Exit.ROW),
        (Status.TIMEOUT, False, Exit.ROW),
        (Status.UNAVAILABLE, False, Exit.DONE),
        (Status.UNAVAILABLE, True, Exit.ROW),
    ],
)
def test_the_status_of_the_rows_decides_the_exit_code(status, strict, code, run, report, monkeypatch):
    checked = report.rows[4].parity
    rows = (*report.rows[:3], dataclasses.replace(report.rows[4], status=status))
    rows = tuple(dataclasses.replace(row, parity=checked) for row in rows)
    monkeypatch.setattr(pipeline, "profile", lambda *_: dataclasses.replace(report, rows=rows))
    assert run("profile", "unet:16", "--quiet", *["--strict"][: int(strict)])[0] == code


def test_rows_whose_answers_nobody_checked_exit_with_3(run, report, monkeypatch):
    rows = tuple(dataclasses.replace(row, parity=None) for row in report.rows[:3])
    monkeypatch.setattr(pipeline, "profile", lambda *_: dataclasses.replace(report, rows=rows))
    assert run("profile", "unet:16", "--quiet")[0] == Exit.ROW


def test_a_disk_that_is_full_in_the_end_does_not_cost_the_report(run, report, monkeypatch):
    def full(*_):
        raise UnwritableError("x.json cannot be written: No space left on device")

    monkeypatch.setattr(pipeline, "profile", lambda *_: report)
    monkeypatch.setattr(store, "save", full)
    code, out, err = run("profile", "unet:16", "--quiet")
    assert code == Exit.ERROR and "openvino" in out and "No space left" in err
    code, out, err = run("profile", "unet:16", "--quiet", "--json")
    assert code == Exit.ERROR and json.loads(out)["rows"] and "No space left" in err


@pytest.fixture
def report():
    """30 rounds of four rows, one of them the reference, on a calm machine."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("reports", ROOT / "tests/profiles/conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module._report()


@pytest.mark.slow
def test_wrong_answers_exit_with_4(segmenter_copy, run, monkeypatch):
    from keronyx import accuracy

    monkeypatch.setattr(accuracy, "WRONG", -1.0)  # nothing can be as good as that
    code, out, _ = run("profile", segmenter_copy, *QUICK)
    assert code == Exit.PARITY and "FAIL tensor" in out and "fastest" not in out


@pytest.mark.slow
def test_a_row_that_runs_out_of_its_memory_limit_exits_with_3(segmenter_copy, run):
    code, out, _ = run("profile", segmenter_copy, *QUICK, "--memory-limit", "1")
    assert code == Exit.ROW and "more than its limit of 1 MiB" in out and "Traceback" not in out


def test_unreadable_images_are_named(segmenter_copy, run):
    image_folder({"a.png": b"no image"})
    code, _, err = run("profile", segmenter_copy, *QUICK, "--data", "data")
    assert code == 1 and "a.png cannot be read as an image" in err and len(err.splitlines()) == 2


@pytest.mark.slow
def test_real_images_are_fed(segmenter_copy, run):
    data = ROOT.parent / "shared" / "data" / "lyft" / "native"
    if not data.is_dir():
        pytest.skip("../shared/data/lyft/native is not here")
    code, _, err = run("profile", segmenter_copy, *QUICK, "--data", data)
    assert code == 0, err
    report = stored()
    assert "images of native, resized from 800x600 to 24x16" in report.plan.inputs
    assert report.rows[0].parity.inputs == 4


# --- compare


def slower(report, factor):
    """The same run with every call but the reference's taking `factor` times as long."""

    def scaled(row):
        wall = tuple(tuple(round(call * factor) for call in calls) for calls in row.samples.wall_ns)
        return dataclasses.replace(row, samples=dataclasses.replace(row.samples, wall_ns=wall))

    first, *others = report.rows
    return dataclasses.replace(report, rows=(first, *map(scaled, others)))


def with_another_thread(report):
    return dataclasses.replace(report, plan=dataclasses.replace(report.plan, threads=report.plan.threads + 1))


def test_compare_exits_with_5_only_when_a_row_got_slower_than_allowed(run, report):
    store.save(report, Path("old.json"))
    store.save(slower(report, 1.3), Path("new.json"))
    assert run("compare", "old.json", "old.json")[0] == Exit.DONE
    code, out, err = run("compare", "old.json", "new.json", "-o", "out/changes.xml")
    assert (code, err) == (Exit.UNTRUSTED, "") and "REGRESSION" in out
    assert "<failure" in Path("out/changes.xml").read_text()
    assert run("compare", "old.json", "new.json", "--fail-slower", "90%")[0] == Exit.DONE


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("old.json old.json -o there.md", 1, "there.md exists"),
        ("old.json old.json -o x.html", 2, ".xml"),
        ("old.json old.json --fail-slower much", 2, "for example 5%"),
        ("old.json missing.json", 1, "is not a file"),
        ("old.json threads.json", 2, "--across-machines"),
    ],
)
def test_compare_refuses_before_it_writes_anything(line, code, said, run, report):
    store.save(report, Path("old.json"))
    store.save(with_another_thread(report), Path("threads.json"))
    Path("there.md").write_text("kept")
    found, out, err = run("compare", *line.split())
    assert (found, out) == (code, "") and said in err and len(err.splitlines()) <= 2
    assert Path("there.md").read_text() == "kept" and not Path("x.html").exists()


def test_compare_replaces_with_force_and_goes_across_machines_when_told(run, report):
    store.save(report, Path("old.json"))
    store.save(with_another_thread(report), Path("threads.json"))
    Path("there.md").write_text("lost")
    assert run("compare", "old.json", "threads.json", "--across-machines", "-o", "there.md", "--force")[0] == Exit.DONE
    assert Path("there.md").read_text().startswith("**")


# --- Ctrl-C


def descendants(pid: int) -> list[int]:
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def assert_gone(processes: list[int], limit_s: float = 20) -> None:
    """One that was just starting leaves by itself as soon as it finds nobody to talk to."""
    deadline = time.monotonic() + limit_s
    while left := [pid for pid in processes if running(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(text: str, read, limit_s: float = 60) -> str:
    seen, deadline = "", time.monotonic() + limit_s
    while text not in seen:
        assert time.monotonic() < deadline, seen
        seen += read()
    return seen


def start(arguments, folder, **streams):
    command = [sys.executable, "-m", "keronyx", *map(str, arguments)]
    return subprocess.Popen(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, **streams)


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["starting litert", "measuring", "twice"])
def test_ctrl_c_saves_what_was_measured_and_leaves_nobody_behind(phase, segmenter_copy, tmp_path):
    arguments = ["profile", segmenter_copy, "--runtimes", "ort,litert", "--budget", "5m", "--rounds", 10**6]
    process = start([*arguments, "-o", "r.html"], tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = wait_for("measuring" if phase == "twice" else phase, process.stderr.readline)
    time.sleep(0 if phase.startswith("starting") else 1.5)
    workers = descendants(process.pid)
    assert workers
    process.send_signal(signal.SIGINT)
    if phase == "twice":  # while it winds up
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in said + out + err
    report = store.load(tmp_path / "r.json")
    assert report.stopped == "interrupted" and (tmp_path / "r.html").exists()
    assert len(report.rows) == 2 and "measuring ended: interrupted" in out
    if phase.startswith("starting"):
        assert all("interrupted before" in row.reason for row in report.rows)
    else:
        assert all(row.status is Status.OK and len(row.samples.wall_ns) > 3 for row in report.rows)
    assert_gone(workers)


@pytest.mark.slow
def test_ctrl_c_while_exporting_is_two_lines_at_most(segmenter_copy, tmp_path):
    shutil.copy(segmenter_copy / "model.keras", tmp_path / "net.keras")
    process = start(["profile", "net.keras", "--runtimes", "ort"], tmp_path, stderr=subprocess.PIPE, text=True)
    wait_for("loading", process.stderr.readline)
    workers = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "Traceback" not in err and err.splitlines()[-1].startswith("keronyx: interr")
    assert_gone(workers)


@pytest.mark.slow
def test_ctrl_c_leaves_the_terminal_sane(segmenter_copy, tmp_path):
    """With a spinner on the screen: the cursor is shown again and the colours end."""
    ours, theirs = pty.openpty()
    arguments = ["profile", segmenter_copy, "--runtimes", "ort", "--budget", "5m", "--rounds", 10**6]
    process = start(arguments, tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)

    def read():
        try:
            return os.read(ours, 4096).decode(errors="replace")
        except OSError:  # the other end is closed
            return ""

    seen = wait_for("rounds", read)
    process.send_signal(signal.SIGINT)
    while more := read():
        seen += more
    os.close(ours)
    assert process.wait(60) == 130 and "Traceback" not in seen
    assert "\x1b[?25l" in seen and seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")
    colours = re.findall(r"\x1b\[([\d;]*)m", seen)
    assert not colours or colours[-1] in ("0", "")


# --- resuming and live comparison


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("profile --resume run.json --batch 2", "--batch is settled by the run"),
        ("profile --resume run.json --data photos", "--data is settled by the run"),
        ("profile --resume run.json unet enet", "several sources"),
        ("profile --resume missing.json", "is not a file"),
        ("profile unet --concurrency 0", "--concurrency must be a whole number above zero"),
        ("profile unet --threads 1,x", "--threads must be a whole number above zero"),
        ("profile unet --processes 0", "Invalid value"),
        ("compare run.json run.json --budget 5s", "--budget is for measuring"),
        ("compare --live unnet unet", "did you mean unet"),
        ("compare --live unet unet --runtimes otr", "ort"),
        ("compare --live unet unet --batch 1,2", "--batch must be a whole number"),
    ],
)
def test_resuming_and_live_comparison_refuse_what_contradicts_them(line, said, run, report):
    store.save(report, "run.json")
    before = Path("run.json").read_bytes()
    code, out, err = run(*line.split())
    assert code in (Exit.ERROR, Exit.USAGE) and said in err and not out and "Traceback" not in err
    assert Path("run.json").read_bytes() == before and not Path("runs").exists()


@pytest.mark.slow
def test_a_run_is_resumed_in_its_own_files(segmenter_copy, run):
    shutil.copy(segmenter_copy / "model.keras", "net.keras")
    assert run("profile", "net.keras", *QUICK, "-o", "run.html")[0] == Exit.DONE
    page = Path("run.html").read_bytes()
    more = ["profile", "--resume", "run.json", "--rounds", "2", "--processes", "1", "--quiet"]
    code, out, err = run(*more)
    assert code == Exit.DONE, err
    assert "5 rounds in 2 sets of processes" in out and "resumed 20" in out
    assert len(store.load("run.json").rows[0].samples.wall_ns) == 5
    assert Path("run.html").read_bytes() != page
    code, _, err = run(*more, segmenter_copy, "-o", "other.html")
    assert code == Exit.DONE, err
    assert len(store.load("other.json").rounds) == 7 and len(store.load("run.json").rounds) == 5
    assert run(*more, "-o", "other.html")[0] == Exit.ERROR  # it exists
    Path("net.keras").unlink()
    code, _, err = run(*more)
    assert code == Exit.ERROR and "net.keras" in err and len(store.load("run.json").rounds) == 5


@pytest.mark.slow
def test_live_comparison_measures_both_and_keeps_both_runs(segmenter_copy, run):
    line = ["compare", "--live", segmenter_copy, segmenter_copy, "--runtimes", "ort", "--threads", "1"]
    code, out, err = run(*line, "--budget", "3s", "--processes", "1", "--quiet", "-o", "out/c.md")
    assert code in (Exit.DONE, Exit.UNTRUSTED), err
    assert "ort/cpu/fp32/b1" in out and "Measured interleaved" in out and "| ort/cpu" in Path("out/c.md").read_text()
    first, second = (store.load(path) for path in sorted(Path("runs").glob("live-*.json")))
    assert first.interleaved == second.interleaved != "" and first.rounds == second.rounds
    assert err.count("runs/live-") == 2

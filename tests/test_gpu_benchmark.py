"""benchmarks/gpu.py without a GPU: that it refuses, what it runs and writes, and what becomes of a run out of time."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"

STAND_IN = """
import json, signal, sys, time
name, source, *options = sys.argv[1:]
target = options[options.index("-o") + 1]
if name == "report":
    open(target, "w").write(f"## table of {json.load(open(source))['source']}\\n")
elif "broken" in source:
    sys.exit(1)
else:
    try:
        if "endless" in source:
            print("started", flush=True)
            time.sleep(60)
    except KeyboardInterrupt:
        pass
    json.dump({"source": source, "options": options}, open(target, "w"))
"""
"""Stands in for keronyx: writes what it was asked for; `broken` fails, `endless` is saved when interrupted."""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location("gpu_benchmark", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    stand_in = tmp_path / "stand_in.py"
    stand_in.write_text(STAND_IN)
    monkeypatch.setattr(module, "command", lambda name: [sys.executable, str(stand_in), name])
    return module


def run(script: Any, monkeypatch: pytest.MonkeyPatch, out: Path, *options: str) -> int:
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--providers", "cpu", "--out", str(out), *options])
    code: int = script.main()
    return code


def test_without_a_gpu_it_says_so_and_writes_nothing(tmp_path):
    hidden = {"CUDA_VISIBLE_DEVICES": "-1", "PATH": "", "PYTHONPATH": str(SCRIPT.parents[1])}
    command = [sys.executable, str(SCRIPT), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, env=hidden, capture_output=True, text=True, timeout=120)
    assert done.returncode == 3 and done.stdout == ""
    assert done.stderr.startswith("no GPU rows can be measured here: ") and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_every_network_has_a_report_and_a_place_in_the_one_table(script, monkeypatch, tmp_path):
    assert run(script, monkeypatch, tmp_path, "--networks", "unet:16,enet", "--budget", "5s") == 0
    report = json.loads((tmp_path / "unet-16.json").read_text())
    assert report["source"] == "unet:16"
    assert report["options"][:6] == ["--providers", "cpu", "--runtimes", "ort", "--budget", "5s"]
    assert (tmp_path / "results.md").read_text() == "## table of unet:16\n\n## table of enet\n"


def test_the_five_networks_are_in_the_zoo(script):
    from keronyx.zoo import names

    assert len({str(names.parse(text)) for text in script.NETWORKS.split(",")}) == 5


def test_exports_made_elsewhere_are_taken_from_their_folders(script, monkeypatch, tmp_path, capsys):
    exports, out = tmp_path / "exports", tmp_path / "out"
    (exports / "unet-16").mkdir(parents=True)
    assert run(script, monkeypatch, out, "--networks", "unet:16,enet", "--exports", str(exports)) == 1
    assert json.loads((out / "unet-16.json").read_text())["source"] == str(exports / "unet-16")
    assert f"keronyx export enet -o {exports / 'enet'}" in capsys.readouterr().out


def test_a_network_that_fails_costs_no_other_and_an_old_report_does_not_stand_in_for_it(script, monkeypatch, tmp_path):
    (tmp_path / "broken.json").write_text('{"source": "an earlier run"}')
    assert run(script, monkeypatch, tmp_path, "--networks", "broken,enet") == 1
    assert not (tmp_path / "broken.json").exists()
    assert (tmp_path / "results.md").read_text() == "## table of enet\n"


def test_a_run_out_of_time_is_interrupted_saved_and_leaves_none_for_the_rest(script, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(script, "TO_SAVE_S", 5)
    assert run(script, monkeypatch, tmp_path, "--networks", "endless,enet", "--limit", "8s") == 1
    assert (tmp_path / "endless.json").exists() and not (tmp_path / "enet.json").exists()
    said = capsys.readouterr().out
    assert "interrupted, exit 0" in said and "enet: NO REPORT (no time was left)" in said


@pytest.mark.slow
def test_keronyx_itself_profiles_an_export_folder(segmenter_export, tmp_path):
    shutil.copytree(segmenter_export, tmp_path / "exports" / "enet")
    command = [sys.executable, str(SCRIPT), "--providers", "cpu", "--networks", "enet", "--budget", "1s"]
    done = subprocess.run(
        [*command, "--out", "out", "--exports", "exports"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "enet.json").read_text())
    assert [row["status"] for row in report["rows"]] == ["OK"]
    assert "| ort | cpu | OK |" in (tmp_path / "out" / "results.md").read_text()

"""The benchmarks of export: what they conclude of commands and answers, and the tables they write. Nothing is timed."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports `benchmarks.NAME` as `python -m` does from the checkout's root."""
    monkeypatch.syspath_prepend(str(ROOT))
    yield lambda name: importlib.import_module(f"benchmarks.{name}")
    for name in [name for name in sys.modules if name.partition(".")[0] == "benchmarks"]:
        sys.modules.pop(name)


@pytest.fixture
def outcomes(load: Any) -> Any:
    return load("outcomes")


@pytest.fixture
def figures(load: Any) -> Any:
    return load("figures")


def outcome(outcomes: Any, name: str = "one", result: str = "usable", **facts: Any) -> Any:
    return outcomes.Outcome("hash", facts.pop("family", "tiny"), name, result, facts.pop("note", ""), **facts)


# --- families -------------------------------------------------------------------------------------------------------


def test_the_families_hold_what_users_build(load):
    found = load("families").FAMILIES
    assert len(found) >= 96
    sources = [model.source for model in found.values()]
    assert len(set(sources)) == len(sources)
    assert len([m for m in found.values() if m.family == "applications"]) == 15
    assert {model.source for model in found.values() if model.family == "zoo"} >= {"unet:16", "enet"}


def test_every_model_but_the_zoo_is_named_so_that_the_command_finds_it(load):
    for model in load("families").FAMILIES.values():
        module, _, name = model.source.rpartition(":")
        if model.family != "zoo":
            assert callable(getattr(importlib.import_module(module), name)), model.source
        assert all(isinstance(option, str) for option in model.options)


@pytest.mark.slow
def test_a_builder_gives_the_same_lively_weights_each_time_and_restores_the_dtype_policy(load):
    import keras

    load("families")
    build = load("families.dtypes").mixed_float16
    first, second = build(), build()
    assert keras.config.dtype_policy().name == "float32"
    for one, other in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    variance = next(v.numpy() for v in first.variables if "variance" in v.name)
    assert variance.min() > 0 and np.ptp(variance) > 0
    assert all(np.ptp(v.numpy()) > 0 for v in first.trainable_variables)


# --- what a command's end means -------------------------------------------------------------------------------------

REFUSED = "tf2onnx cannot convert this model: no ONNX operator for TensorFlow's Bitcast (layer encoder/argmax)"


@pytest.mark.parametrize(
    ("code", "said", "names", "result"),
    [
        (0, "", [], "usable"),
        (1, f"keronyx: {REFUSED}\n", ["argmax"], "refused, layer named"),
        (1, f"keronyx: {REFUSED}\n", ["conv1"], "refused, layer not named"),
        (
            2,
            "keronyx: input 'image' leaves height and width open\n -> say --image-size",
            ["image"],
            "refused, layer named",
        ),
        (1, "keronyx: x cannot be done\n", ["x"], "refused, layer not named"),
        (1, "keronyx: 'x' has dtype bfloat16\n", ["x"], "refused, layer named"),
        (4, "keronyx: the parity gate fails from layer dense_2 on\n", ["dense_2"], "refused, layer named"),
        (1, "keronyx: unexpected NameError: x -> this is a defect: --debug shows where\n", ["x"], "crash"),
        (1, "Traceback (most recent call last):\nValueError: layer dense\n", ["dense"], "crash"),
        (1, "", [], "crash"),
        (-11, "", [], "crash"),
        (-9, "keronyx: something\n", [], "crash"),
        (None, "", [], "timeout"),
    ],
)
def test_a_commands_end_is_judged(outcomes, code, said, names, result):
    assert outcomes.of_command(code, said, names)[0] == result


def test_a_refusal_keeps_its_line(outcomes):
    assert outcomes.of_command(1, f"keronyx: {REFUSED}\n", ["argmax"])[1] == REFUSED


class FakeJudge:
    """Says what it was told to."""

    def __init__(self, problem: str = "", names: tuple[str, ...] = ()) -> None:
        self.problem, self.named = problem, names

    def verify(self, model: Any, file: Path) -> dict[str, Any]:
        return {"problem": self.problem, "typical": 2e-7, "nodes": 3, "opset": 18}

    def names(self, model: Any) -> list[str]:
        return list(self.named)


def exported(folder: Path) -> None:
    (folder / "out").mkdir(parents=True)
    manifest = {"artifacts": [{"kind": "onnx", "path": "model.onnx", "peak_mib": 700.0}]}
    (folder / "out" / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("problem", "result", "note"), [("", "usable", "typical error 2e-07 of RMS"), ("off", "silent failure", "off")]
)
def test_a_file_that_the_command_calls_good_is_judged_again(load, outcomes, tmp_path, problem, result, note):
    exported(tmp_path / "work")
    made = load("coverage").judged(None, outcome(outcomes), tmp_path / "work", FakeJudge(problem), False)
    assert (made.result, made.note, made.nodes, made.peak_mib) == (result, note, 3, 700.0)
    assert not (tmp_path / "work").exists()


def test_success_without_a_file_is_a_silent_failure(load, outcomes, tmp_path):
    made = load("coverage").judged(None, outcome(outcomes), tmp_path / "work", FakeJudge(), False)
    assert made.result == "silent failure" and made.note == "no ONNX file was written"


@pytest.mark.parametrize(("name", "result"), [("conv1", "refused, layer named"), ("conv2", "refused, layer not named")])
def test_a_refusal_is_held_against_the_models_own_names(load, outcomes, tmp_path, name, result):
    refused = outcome(outcomes, result=outcomes.UNNAMED, note="cannot convert (layer conv1)")
    made = load("coverage").judged(None, refused, tmp_path / "work", FakeJudge(names=(name,)), False)
    assert made.result == result


# --- answers --------------------------------------------------------------------------------------------------------


@pytest.fixture
def verifying(load: Any) -> Any:
    return load("verifying")


def answers(seed: int = 0, count: int = 5000) -> Any:
    return np.random.default_rng(seed).normal(size=(1, count)).astype(np.float32)


def test_equal_answers_pass_and_the_error_is_told(verifying):
    right = answers()
    assert verifying.compared(["out"], [right], [right + np.float32(1e-6)], 3e-4)[0] == ""
    assert 1e-7 < verifying.compared(["out"], [right], [right + np.float32(1e-6)], 3e-4)[1] < 1e-5


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda a: a * np.float32(1.02), "is off by"),
        (lambda a: a[:, :-1], r"float32\[1, 4999\], Keras' float32\[1, 5000\]"),
        (lambda a: a.astype(np.float64), "Keras' float32"),
        (lambda a: np.where(np.arange(a.size) == 3, np.float32(np.nan), a), "NaN"),
        (lambda a: np.where(np.arange(a.size) < 50, np.float32(0), a), "is off by"),
    ],
)
def test_wrong_answers_are_found(verifying, wrong, said):
    right = answers()
    assert re.search(said, verifying.compared(["out"], [right], [wrong(right)], 3e-4)[0])


def test_zeros_prove_nothing_and_a_missing_output_is_one(verifying):
    zeros = np.zeros((1, 4), np.float32)
    assert "nothing is proved" in verifying.compared(["out"], [zeros], [zeros], 3e-4)[0]
    assert "1 outputs, Keras has 2" in verifying.compared(["a", "b"], [zeros, zeros], [zeros], 3e-4)[0]


def test_integers_and_texts_must_be_the_same(verifying):
    numbers, words = np.arange(6).reshape(2, 3), np.array([[b"a", b"b"]], dtype=object)
    assert verifying.compared(["n"], [numbers], [numbers.copy()], 3e-4)[0] == ""
    assert "differs" in verifying.compared(["n"], [numbers], [numbers[::-1]], 3e-4)[0]
    assert verifying.compared(["w"], [words], [words.copy()], 3e-4)[0] == ""
    assert verifying.compared(["w"], [words], [np.array([["a", "b"]], dtype=object)], 3e-4)[0] == ""


# --- pages ----------------------------------------------------------------------------------------------------------


def test_the_coverage_page_counts_every_result_once(outcomes):
    found = [
        outcome(outcomes, "good", nodes=12, opset=18, seconds=5.25, peak_mib=612.4),
        outcome(outcomes, "bad", "silent failure", note="off | by <3>"),
        outcome(outcomes, "refused", "refused, layer named", family="other"),
    ]
    page = outcomes.page(found, ["a line"])
    assert "| usable | 1 |" in page and "| silent failure | 1 |" in page and "| all | 3 |" in page
    assert "## tiny: 1 of 2" in page and "## other: 0 of 1" in page
    assert "| `good` | usable | 12 | 18 | 5.2 | 612 |  |" in page
    assert "off \\| by &lt;3>" in page and "tf2onnx alone" not in page


def test_what_raw_tf2onnx_does_stands_beside_when_asked(outcomes):
    found = [outcome(outcomes, raw="usable"), outcome(outcomes, "two", raw="silent failure: it cannot run")]
    page = outcomes.page(found, [])
    assert "| silent failure | 0 | 1 |" in page and "silent failure: it cannot run |" in page


def test_a_note_names_no_place_on_the_machine(outcomes):
    assert outcomes.cell("cannot load /root/some-where/x1/model.onnx\nnow") == "cannot load model.onnx now"
    assert len(outcomes.cell("x" * 1000)) == 240


def test_a_page_is_replaced_between_its_markers_alone(load):
    coverage = load("coverage")
    page = f"before\n{coverage.BEGIN}\nold\n{coverage.END}\nafter\n"
    assert coverage.replaced(page, "new\n") == f"before\n{coverage.BEGIN}\nnew\n{coverage.END}\nafter\n"
    with pytest.raises(SystemExit, match="has no"):
        coverage.replaced("no markers", "new")


def test_both_pages_have_their_markers(load):
    coverage = load("coverage")
    for name in ("coverage.md", "export-bench.md"):
        text = (ROOT / "docs" / name).read_text()
        assert text.count(coverage.BEGIN) == text.count(coverage.END) == 1


def test_results_are_kept_under_a_hash_of_the_code(load, outcomes, tmp_path, monkeypatch):
    coverage = load("coverage")
    monkeypatch.setattr(coverage, "KEPT", tmp_path / "build" / "coverage.json")
    assert coverage.read() == {}
    one = outcome(outcomes, nodes=3)
    coverage.write({"tiny:one": one})
    assert coverage.read() == {"tiny:one": one}
    (tmp_path / "build" / "coverage.json").write_text("{")
    assert coverage.read() == {}
    models = load("families").FAMILIES
    assert coverage.code_hash(models["attention:transformer_block"]) != coverage.code_hash(models["recurrent:lstm"])


# --- figures --------------------------------------------------------------------------------------------------------


def test_the_geometric_mean_of_opposite_ratios_is_one(figures, load):
    ratio = load("interleaved").Ratio
    mean = figures.geometric_mean([ratio(2.0, 1.9, 2.1, "slower"), ratio(0.5, 0.475, 0.525, "faster")])
    assert mean.value == pytest.approx(1.0) and mean.low < 1 < mean.high and mean.verdict == "undecided"
    assert np.log(mean.high / mean.low) == pytest.approx(np.log(2.1 / 1.9) / np.sqrt(2), rel=1e-3)
    assert figures.geometric_mean([]) is None


def test_a_figure_is_met_missed_or_not_measured(figures):
    assert figures.Figure("memory unet", 2048.0).verdict == "met"
    assert figures.Figure("memory unet", 2049.0).verdict == "missed"
    assert figures.Figure("named", 99.0).verdict == "missed"
    assert figures.Figure("memory unet", None).verdict == "not measured"
    table = figures.table([figures.Figure("memory unet", 5000.0), figures.Figure("silent", 0)])
    assert "| peak memory, unet | 5,000 MiB | 8.5 GiB | <= 2048 MiB | missed |" in table and "| met |" in table


def test_figures_come_from_the_parts_that_were_kept(load):
    speed = load("export_speed")
    one = {"value": 0.8, "low": 0.7, "high": 0.9, "verdict": "faster", "rounds": 20, "milliseconds": 5.0, "note": ""}
    kept = {
        "coverage": {
            "counts": {"usable": 90, "refused, layer named": 8, "refused, layer not named": 1, "crash": 1},
            "written": 90,
            "broken_names": 0,
        },
        "latency": {"ratios": {"a": one, "b": {**one, "value": 1.2, "verdict": "slower"}}, "problems": {"c": "no"}},
        "rivals": {
            "ratios": {"a, raw": one, "a, raw, onnxslim": one, "a, control": {**one, "verdict": "slower"}},
            "problems": {},
        },
        "export": {"cpu enet": {"seconds": 9.0, "command_s": 14.0}, "nodes unet": 80},
    }
    found = {figure.key: figure for figure in speed.figures_of(json.loads(json.dumps(kept)))}
    assert set(found) == set(load("figures").BOUNDS)
    assert found["usable"].value == 90 and found["named"].value == pytest.approx(100 * 8 / 9)
    assert found["silent"].value == 1 and found["silent"].verdict == "missed"
    assert found["slower"].value == 2 and "b" in found["slower"].said and "not measured: c" in found["slower"].said
    assert found["rivals"].value == 0
    assert found["rivals mean"].value == pytest.approx(0.8) and "over 1 networks" in found["rivals mean"].said
    assert found["cpu enet"].said == "9.0 CPU s (whole command 14.0; raw tf2onnx fails)"
    assert found["memory unet"].verdict == "not measured"


def test_one_model_measured_again_leaves_the_others_and_says_where_each_is_from(load, monkeypatch):
    speed, ratio = load("export_speed"), load("interleaved").Ratio
    new = ratio(0.5, 0.4, 0.6, "faster", 20, 1.0)
    monkeypatch.setattr(speed, "against_tensorflow", lambda source, threads, budget: new)
    old = {"value": 0.9, "low": 0.8, "high": 1.1, "verdict": "undecided", "rounds": 9, "milliseconds": 5.0, "note": ""}
    kept = {
        "machine": "commit a",
        "ratios": {"VGG16": old, "enet": old},
        "problems": {"Xception": "no", "gru": "no"},
    }
    found = speed.latency(False, "60s", ["VGG16", "Xception"], kept)
    assert {name: one["value"] for name, one in found["ratios"].items()} == {"enet": 0.9, "VGG16": 0.5, "Xception": 0.5}
    assert found["problems"] == {"gru": "no"}
    assert found["machine"] == "commit a" and found["again"][0].startswith("VGG16, Xception: commit")
    with pytest.raises(SystemExit, match="no such model: VGG17"):
        speed.latency(False, "60s", ["VGG17"], kept)


def test_a_rivals_ratio_is_turned_round(load):
    rivals, ratio = load("rivals"), load("interleaved").Ratio
    turned = rivals.turned_round(ratio(1.25, 1.2, 1.3, "slower"), {"keronyx": 80, "raw": 168}, "raw")
    assert turned.value == pytest.approx(0.8) and turned.verdict == "faster"
    assert turned.low == pytest.approx(1 / 1.3) and "80 nodes against 168" in turned.note

"""A certificate is stored whole, read strictly, and told in a line a row."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from keronyx.errors import ReportError
from keronyx.profiles import certificate, grid
from keronyx.types import (
    CERTIFICATE_SCHEMA,
    DEPARTS,
    RIGHT,
    Bisection,
    Certificate,
    Gate,
    LayerError,
    OutputDifference,
    Parity,
    Report,
    Row,
    Status,
    TaskScore,
    Verdict,
)

EXACT_OUTPUT = OutputDifference("mask", 1e-6, 1e-7, 1e-7, 0.0, 1.0, 0.0, (0,), 0.5, 0.5, "", 0.8, 1e-7)
GATES = tuple(Gate(name, Verdict.PASS, "") for name in ("structure", "finite", "tensor", "argmax"))


def parity(ratio: float, *gates: Gate, task: tuple[TaskScore, ...] = ()) -> Parity:
    failed = any(gate.verdict is Verdict.FAIL for gate in gates)
    outputs = (dataclasses.replace(EXACT_OUTPUT, ratio=ratio),)
    verdict = Verdict.FAIL if failed else Verdict.PASS
    return Parity(verdict, "float64 oracle", 4, (*GATES, *gates), outputs, "Keras float32's own error", task)


def row(name: str, found: Parity | None, **terms: object) -> Row:
    return Row(f"{name}/cpu/fp32/b1", name, "cpu", "fp32", 1, **{"status": Status.OK, **terms}, parity=found)  # type: ignore[arg-type]


SCORE = TaskScore("official F", 0.9012, 0.9013, -0.0004, 0.0002, 40)
ROWS = (
    row("ort", parity(0.8, Gate("task", Verdict.PASS, "all well"), task=(SCORE,))),
    row("litert", parity(4.0)),
    row("openvino", parity(300.0, Gate("tensor", Verdict.FAIL, "error is 300 times Keras' own"))),
    row("tf-xla", None, status=Status.UNAVAILABLE, reason="no library", remedy="pip install it"),
)


WRONG_LAYER = LayerError("down1/conv", "Conv2D", "t9", 1e-2, 1e-7, 1e5, 2e5, DEPARTS, ("down1/bn",))
FOUND = Bisection(
    (LayerError("stem", "Conv2D", "t1", 1e-7, 1e-7, 1.0, 2.0, RIGHT), WRONG_LAYER),
    "down1/conv",
    ("Pad_Fusion",),
    'disabled_optimizers=["Pad_Fusion"]',
    12.0,
)


@pytest.fixture
def found(report: Report) -> Certificate:
    return Certificate(
        CERTIFICATE_SCHEMA, "1.0", "2026-01-01T00:00:00+00:00", report.model, report.artifacts, report.environment, 2,
        "4 inputs: scenes", "ab12", {"wrong": 5.0, "max_drop": 0.002}, ROWS, Verdict.FAIL, "scenes:40", "cd34",
        "official F", FOUND, 1.5,
        ("careful",),
    )  # fmt: skip


def test_it_is_read_back_as_it_was_written(found: Certificate, tmp_path: Path) -> None:
    certificate.save(found, tmp_path / "c.json")
    assert certificate.load(tmp_path / "c.json") == found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.pop("inputs_sha256"), "no certificate of schema"),
        (lambda data: data.update(schema=9), "no certificate of schema"),
        (lambda data: data.update(threads="two"), "damaged: threads"),
        (lambda data: data["rows"][0].update(verdict="pass"), "damaged: rows.0.verdict"),
    ],
)
def test_what_is_no_sound_certificate_is_refused_in_one_line(
    found: Certificate, tmp_path: Path, change: object, said: str
) -> None:
    data = json.loads(certificate.dumps(found))
    change(data)  # type: ignore[operator]
    (tmp_path / "c.json").write_text(json.dumps(data))
    with pytest.raises(ReportError, match=said) as caught:
        certificate.load(tmp_path / "c.json")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("text", ["", "no json", "[]", "[" * 100_000])
def test_files_of_another_kind_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(ReportError):
        certificate.load(tmp_path / "c.json")
    with pytest.raises(ReportError, match="cannot be read"):
        certificate.load(tmp_path / "absent.json")


def test_every_row_has_a_line_that_says_what_decided(found: Certificate) -> None:
    lines = {line[0]: line for line in certificate.grid(found).rows}
    assert list(lines) == ["ort/cpu", "litert/cpu", "openvino/cpu", "tf-xla/cpu"]
    assert lines["ort/cpu"][2:] == ("pass", "0.80x", "1e-06", "0.0 %", "pass", "as exact as Keras; all well")
    assert lines["litert/cpu"][-1] == "worse than Keras by a factor of 4"
    assert lines["openvino/cpu"][2] == "FAIL tensor" and "300 times" in lines["openvino/cpu"][-1]
    assert lines["tf-xla/cpu"][1:3] == ("UNAVAILABLE", "-") and lines["tf-xla/cpu"][-1] == "no library: pip install it"
    notes = certificate.grid(found).notes
    assert notes[0] == "errors are taken to: float64 oracle; judged by: Keras float32's own error"
    assert "scenes:40" in notes[1] and "note: careful" in notes


def test_scores_stand_beside_those_of_keras(found: Certificate) -> None:
    table = certificate.scores(found)
    assert table.columns == ("score", "official F")
    assert table.rows == (("Keras", "0.9013"), ("ort/cpu", "-1.00"))
    assert certificate.scores(dataclasses.replace(found, rows=ROWS[1:])).rows == ()


def test_the_guilty_layer_and_optimizer_are_told_with_the_way_out(found: Certificate) -> None:
    *_, table = certificate.tables(found)
    assert table.rows == (("down1/conv", "Conv2D", "1e-02", "1e-07", "100,000x", "200,000x", "departs, or down1/bn"),)
    assert table.notes[0] == "bisect: down1/conv is the first layer that goes wrong, of 2 compared"
    assert "Pad_Fusion spoils the file; do without: disabled_optimizers" in table.notes[1]
    sound = dataclasses.replace(FOUND, layers=FOUND.layers[:1], guilty=None, optimizers=())
    assert certificate.layers(sound).notes[0] == "bisect: none of 1 compared layers goes wrong"
    assert len(certificate.tables(dataclasses.replace(found, bisection=None))) == 2


def test_names_cannot_break_out_of_their_cell(found: Certificate) -> None:
    hostile = dataclasses.replace(ROWS[3], reason="a|b\x1b[31m\nc", remedy="")
    text = grid.markdown(certificate.grid(dataclasses.replace(found, rows=(hostile,))))
    assert "\x1b" not in text and "a\\|b" in text and len(text.splitlines()[2].split(" | ")) == 8

"""What the table says: who is fastest, who may not be, what is trusted, and that no absent row has a figure."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from keronyx.profiles import table, wording
from keronyx.profiles.table import Line, Table
from keronyx.types import TIMED, DeviceTimes, GpuReading, Report, Row, Samples, Status, Verdict


def line(built: Table, row_id: str) -> Line:
    return next(one for one in built.lines if one.row.id == row_id)


def cell(built: Table, row_id: str, key: str) -> str:
    place = [column.key for column in built.columns].index(key)
    return line(built, row_id).cells[place].text


def edited(report: Report, row_id: str, **changes: object) -> Report:
    rows = tuple(dataclasses.replace(row, **changes) if row.id == row_id else row for row in report.rows)
    return dataclasses.replace(report, rows=rows)


def first_rounds(report: Report, count: int) -> Report:
    def cut(samples: Samples) -> Samples:
        return Samples(samples.wall_ns[:count], samples.cpu_ns[:count])

    return dataclasses.replace(
        report,
        rows=tuple(dataclasses.replace(row, samples=cut(row.samples)) for row in report.rows),
        control={batch: cut(samples) for batch, samples in report.control.items()},
        rounds=report.rounds[:count],
    )


def scaled(samples: Samples, factor: float) -> Samples:
    return Samples(tuple(tuple(int(factor * call) for call in one) for one in samples.wall_ns), samples.cpu_ns)


# --- rows


def test_title_says_what_was_measured(report: Report) -> None:
    assert table.build(report).title == (
        "unet:16 · 1x320x400x3 float32 · 1,968,931 parameters · 13.7 GFLOP · 2 threads · 30 rounds · 58 s in all"
    )


def test_timed_rows_are_sorted_by_median_and_the_others_follow_in_plan_order(report: Report) -> None:
    order = [one.row.id.removesuffix("/fp32/1") for one in table.build(report).lines]
    assert order == [
        "openvino-lossy/cpu",
        "openvino/cpu",
        "litert/cpu",
        "ort/cpu",
        "ort/cuda",
        "tf-xla/cpu",
        "tf-optimized/cpu",
        "tf-graph/cpu",
        "tf-eager/cpu",
        "ort/tensorrt",
        "tf-graph/cuda",
        "litert/gpu",
        "tf-xla/cuda",
    ]


def test_row_that_did_not_run_as_asked_shows_its_reason_and_no_figure(report: Report) -> None:
    built = table.build(report)
    absent = [one for one in built.lines if one.row.status not in TIMED]
    assert {one.row.status for one in absent} == set(Status) - TIMED
    for one in absent:
        assert one.message.startswith(one.row.reason) and one.message.endswith(one.row.remedy)
        shown = {column.key for column, cell in zip(built.columns, one.cells, strict=True) if cell.text}
        assert shown == {"runtime", "provider", "status", "note"}


def test_timed_status_without_a_single_call_is_absent_too(report: Report) -> None:
    built = table.build(edited(report, "ort/cpu/fp32/1", samples=Samples(((), ()), ((), ()))))
    assert line(built, "ort/cpu/fp32/1").message == "no call was timed"


def test_reference_row_is_marked_and_others_carry_a_speed_up_with_interval(report: Report) -> None:
    built = table.build(report)
    assert cell(built, "tf-graph/cpu/fp32/1", "speedup") == "1 (reference)"
    assert cell(built, "litert/cpu/fp32/1", "speedup").startswith("1.7")
    place = [column.key for column in built.columns].index("speedup")
    found = line(built, "litert/cpu/fp32/1").cells[place]
    assert found.low < found.value < found.high
    assert found.text == f"{found.value:.2f}x [{found.low:.2f}, {found.high:.2f}]"


def test_p95_is_empty_below_59_calls(report: Report) -> None:
    assert cell(table.build(report), "ort/cpu/fp32/1", "p95_ms")
    assert not cell(table.build(first_rounds(report, 29)), "ort/cpu/fp32/1", "p95_ms")


def test_batch_and_precision_are_columns_only_when_there_is_more_than_one(report: Report) -> None:
    assert not {"batch", "precision"} & {column.key for column in table.build(report).columns}
    more = edited(report, "litert/cpu/fp32/1", precision="int8", batch=8)
    assert {"batch", "precision"} <= {column.key for column in table.build(more).columns}


def test_rows_of_another_batch_are_not_compared(report: Report) -> None:
    built = table.build(edited(report, "openvino/cpu/fp32/1", batch=8))
    assert not cell(built, "openvino/cpu/fp32/1", "speedup")
    assert cell(built, "litert/cpu/fp32/1", "note") == "fastest"
    assert [ship.label for ship in built.ships] == ["Ship at batch 1", "Ship at batch 8", "Most items per second"]


def test_missing_reference_leaves_ratios_empty(report: Report) -> None:
    built = table.build(edited(report, "tf-graph/cpu/fp32/1", status=Status.FAILED, reason="killed"))
    assert not cell(built, "litert/cpu/fp32/1", "speedup")
    assert cell(built, "litert/cpu/fp32/1", "median_ms")
    assert not built.trusted


# --- fastest


def test_rows_that_cannot_be_told_apart_are_tied(report: Report) -> None:
    built = table.build(report)
    assert cell(built, "openvino/cpu/fp32/1", "note") == "fastest (tie)"
    assert cell(built, "litert/cpu/fp32/1", "note") == "fastest (tie)"
    assert "fastest" not in cell(built, "ort/cpu/fp32/1", "note")
    assert built.ships[0].choice == "openvino/cpu or litert/cpu"


def test_single_fastest_row_is_named_with_its_speed_up(report: Report) -> None:
    slower = scaled(next(row for row in report.rows if row.runtime == "litert").samples, 1.2)
    built = table.build(edited(report, "litert/cpu/fp32/1", samples=slower))
    assert cell(built, "openvino/cpu/fp32/1", "note") == "fastest"
    assert built.ships[0].choice == "openvino/cpu"
    assert "the speed of tf-graph/cpu" in built.ships[0].reason


def test_undecided_tie_says_how_many_rounds_would_decide(report: Report) -> None:
    rows = {row.id: row for row in report.rows}
    wall = rows["openvino/cpu/fp32/1"].samples.wall_ns
    noisy = tuple((int(one[0] * (1.22 if place % 3 else 0.95)),) for place, one in enumerate(wall[:12]))
    built = table.build(edited(report, "litert/cpu/fp32/1", samples=Samples(noisy)))
    assert "undecided between them: about" in built.ships[0].reason


def test_row_with_wrong_answers_is_never_the_winner_nor_named_to_ship(report: Report) -> None:
    built = table.build(report)
    wrong = built.lines[0]
    assert wrong.row.runtime == "openvino-lossy" and wrong.tone == "wrong"
    assert cell(built, wrong.row.id, "parity") == "FAIL argmax"
    assert "fastest" not in cell(built, wrong.row.id, "note")
    assert "lossy" not in built.ships[0].choice + built.ships[0].reason


def test_nothing_is_shipped_when_every_row_is_wrong(report: Report) -> None:
    failed = next(row.parity for row in report.rows if row.runtime == "openvino-lossy")
    rows = tuple(dataclasses.replace(row, parity=failed) for row in report.rows)
    ship = table.build(dataclasses.replace(report, rows=rows)).ships[0]
    assert ship.choice == "nothing yet" and "right answers" in ship.reason


def test_unchecked_winner_is_shipped_only_with_that_said(report: Report) -> None:
    built = table.build(edited(report, "litert/cpu/fp32/1", parity=None))
    assert "parity not run: litert/cpu" in built.ships[0].reason
    assert cell(built, "litert/cpu/fp32/1", "parity") == "-"


def test_the_reference_of_the_ratios_too_is_shipped_unchecked_only_with_that_said(report: Report) -> None:
    alone = dataclasses.replace(report, rows=(report.rows[0],))
    assert report.plan.reference["b1"] == alone.rows[0].id and alone.rows[0].parity is None
    ship = table.build(alone).ships[0]
    assert ship.choice == "tf-graph/cpu" and "parity not run: tf-graph/cpu" in ship.reason


def test_five_rounds_rank_nobody(report: Report) -> None:
    built = table.build(first_rounds(report, 5))
    assert built.ships[0].choice == "nothing yet"
    assert not any("fastest" in one.cells[-1].text for one in built.lines)


# --- notes


def test_partial_row_says_what_ran_elsewhere(report: Report) -> None:
    note = cell(table.build(report), "ort/cuda/fp32/1", "note")
    expected = "ran elsewhere: Resize_1, Resize_2, Shape_7 and 1 more (CPUExecutionProvider 12.0 % of kernel time)"
    assert note == expected


def test_where_others_wanted_the_cpu_undisturbed_rounds_and_cpu_time_are_said(report: Report) -> None:
    row = next(row for row in report.rows if row.id == "ort/cpu/fp32/1")
    rounds = len(row.samples.wall_ns)
    waited = tuple(50_000_000 if i % 3 == 0 else 0 for i in range(rounds))
    disturbed = dataclasses.replace(row.samples, waited_ns=waited)
    calm = dataclasses.replace(report.rows[0].samples, waited_ns=(0,) * rounds)
    both = edited(edited(report, row.id, samples=disturbed), report.rows[0].id, samples=calm)
    note = cell(table.build(both), row.id, "note")
    assert "over the 20 undisturbed rounds alone" in note and "by CPU time" in note
    assert "undisturbed" not in cell(table.build(report), row.id, "note")


def on_gpu(report: Report, **device: object) -> Report:
    """The report with a CUDA row of 150 ms that was taken apart, and what NVML said in each round."""
    times = DeviceTimes(**{"resident_ns": (90_000_000,) * 3, "h2d_ns": (2_000_000,), "d2h_ns": (3_000_000,), **device})
    row = next(row for row in report.rows if row.id == "ort/cuda/fp32/1")
    reading = GpuReading(1500, 0x4, 300.0, 6000, 2)
    samples = dataclasses.replace(row.samples, gpu=(reading,) * len(row.samples.wall_ns))
    return edited(report, row.id, device=times, samples=samples)


def test_the_parts_of_a_call_on_a_gpu_are_columns_and_words(report: Report) -> None:
    built = table.build(on_gpu(report, submit_ns=(85_000_000,), graph_reason="1 node on the CPU"))
    values = {key: cell(built, "ort/cuda/fp32/1", key) for key in ("device_ms", "h2d_ms", "d2h_ms", "submit_ms")}
    assert values == {"device_ms": "90.00", "h2d_ms": "2.000", "d2h_ms": "3.000", "submit_ms": "85.00"}
    assert cell(built, "ort/cuda/fp32/1", "energy_mj") == "3,000" and not cell(built, "ort/cuda/fp32/1", "graph_ms")
    assert not cell(built, "ort/cpu/fp32/1", "device_ms")
    note = cell(built, "ort/cuda/fp32/1", "note")
    for said in ("launch-bound", "no CUDA graph: 1 node on the CPU", "power cap", "1,500-1,500 MHz", "3.00 J a call"):
        assert said in note
    assert not {"device_ms", "energy_mj"} & {column.key for column in table.build(report).columns}


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (0.9, "compile 12 s: repays after "),
        (1.2, "compile 12 s: never repays"),
    ],
)
def test_long_compile_says_when_it_repays(report: Report, factor: float, expected: str) -> None:
    samples = scaled(report.rows[0].samples, factor)
    assert expected in cell(
        table.build(edited(report, "tf-xla/cpu/fp32/1", samples=samples)), "tf-xla/cpu/fp32/1", "note"
    )


def test_evidence_is_in_the_note(report: Report) -> None:
    assert "733 -> 104 ops" in cell(table.build(report), "tf-optimized/cpu/fp32/1", "note")


def test_how_a_file_was_made_is_not_repeated_in_its_rows(report: Report) -> None:
    evidence = ("52 ONNX nodes", "graph passes 1.1x faster than without [1.0, 1.2]", "SoftmaxLast 53 -> 52 nodes")
    evidence += ("structure, contract and numeric gates passed on 3 inputs", "conversion 5.7 s of CPU", "gates 9.1 s")
    note = cell(table.build(edited(report, "tf-xla/cpu/fp32/1", evidence=evidence)), "tf-xla/cpu/fp32/1", "note")
    assert note.endswith("52 ONNX nodes")


def test_every_warning_is_in_the_report(report: Report) -> None:
    notes = table.build(report).notes
    assert "the CPU frequency governor could not be read" in notes
    assert "tf-xla/cpu: the first compile used 1 core" in notes


def test_exports_say_time_and_peak_memory(report: Report) -> None:
    assert table.build(report).exports[0] == (
        "onnx unet-16.onnx: 7.75 MiB, made in 9.4 s, peak memory 1,830 MiB (168 -> 88 nodes)"
    )


# --- trust


def test_sound_run_is_trusted(report: Report) -> None:
    assert table.trusted(report) == (True, ())
    assert table.build(report).vital_signs.startswith("A/A' 1.0")


def readings(report: Report, **changes: float) -> Report:
    return dataclasses.replace(report, rounds=tuple(dataclasses.replace(one, **changes) for one in report.rounds))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda r: dataclasses.replace(r, control={"b1": scaled(r.control["b1"], 1.1)}), "differs from itself"),
        (lambda r: dataclasses.replace(r, control={"b1": scaled(r.control["b1"], 0.9)}), "differs from itself"),
        (lambda r: dataclasses.replace(r, control={}), "no A/A' control"),
        (lambda r: readings(r, steal=0.06), "hypervisor"),
        (lambda r: readings(r, other=0.11), "other processes"),
        (lambda r: first_rounds(r, 5), "too few rounds to say"),
        (lambda r: dataclasses.replace(r, rows=()), "no rows"),
    ],
)
def test_spoiled_run_is_not_trusted_and_says_why(
    report: Report, spoil: Callable[[Report], Report], reason: str
) -> None:
    spoiled = spoil(report)
    verdict, reasons = table.trusted(spoiled)
    assert not verdict and len(reasons) == 1 and reason in reasons[0]
    assert table.build(spoiled).trust.startswith("NOT TRUSTED: ")


def test_limits_of_trust_themselves_are_trusted(report: Report) -> None:
    assert table.trusted(readings(first_rounds(report, 6), steal=0.05, other=0.10)) == (True, ())


def test_untrusted_recommendation_is_provisional(report: Report) -> None:
    assert "provisional" in table.build(readings(report, steal=0.5)).ships[0].reason


def test_noisy_control_widens_what_counts_as_equal(report: Report) -> None:
    spoiled = dataclasses.replace(report, control={"b1": scaled(report.control["b1"], 1.1)})
    assert table.build(spoiled).rankings[0].margin == pytest.approx(0.1, abs=0.01)
    assert "equivalent to tf-graph/cpu" in cell(table.build(spoiled), "tf-optimized/cpu/fp32/1", "note")


# --- words


@pytest.mark.parametrize(
    ("value", "text"), [(110.34, "110.3"), (0.031239, "0.03124"), (1234.5, "1,234"), (0.0, "0"), (None, "")]
)
def test_figures_have_four_digits(value: float | None, text: str) -> None:
    assert wording.number(value) == text


def test_clean_text_is_one_printable_line_of_bounded_length() -> None:
    assert wording.clean("a\x1b[31mb\r\n\u202ec\u200bd") == "a [31mb c d"
    assert len(wording.clean("x" * 10_000)) == wording.LONGEST


def test_parity_not_run_is_a_dash(report: Report) -> None:
    def not_run(row: Row) -> Row:
        return dataclasses.replace(row, parity=row.parity and dataclasses.replace(row.parity, verdict=Verdict.NOT_RUN))

    built = table.build(dataclasses.replace(report, rows=tuple(map(not_run, report.rows))))
    assert cell(built, "litert/cpu/fp32/1", "parity") == "-"


def test_a_run_that_cannot_tell_ten_percent_apart_is_not_trusted(report: Report) -> None:
    rounds = report.control["b1"].wall_ns
    wild = np.random.default_rng(1).lognormal(0, 0.5, len(rounds))
    wall = tuple(tuple(int(call * w) for call in one) for one, w in zip(rounds, wild, strict=True))
    wide = dataclasses.replace(report, control={"b1": dataclasses.replace(report.control["b1"], wall_ns=wall)})
    verdict, reasons = table.trusted(wide)
    assert not verdict and "cannot be told apart" in reasons[0]

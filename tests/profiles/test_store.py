"""Reports as files: exact round trips, atomic writes, and one line of reason for whatever is not a report."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keronyx.errors import ReportError, UnwritableError
from keronyx.profiles import render, store, table
from keronyx.types import SCHEMA, Report, Samples

RECORDED = Path(__file__).parent / "fixtures"

shares = st.floats(allow_nan=False)
rounds = st.lists(st.lists(st.integers(0, 2**63 - 1), max_size=3).map(tuple), max_size=4).map(tuple)
st.register_type_strategy(Samples, st.builds(Samples, wall_ns=rounds, cpu_ns=rounds))
# Without NaN, so that equality can be asked of whole reports; NaN has a test of its own.
st.register_type_strategy(float, shares)
any_report = st.from_type(Report).map(lambda report: dataclasses.replace(report, schema=SCHEMA))


def test_round_trip_is_exact(report: Report, tmp_path: Path) -> None:
    store.save(report, tmp_path / "run.json")
    assert store.load(tmp_path / "run.json") == report


@given(any_report)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_report_survives_the_round_trip_and_renders_in_every_format(report: Report) -> None:
    assert store.loads(store.dumps(report).encode()) == report
    built = table.build(report)
    for renderer in render.RENDERERS.values():
        assert renderer(built) == renderer(built)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_json_cannot_hold_come_back_in_standard_json(report: Report, value: float) -> None:
    text = store.dumps(dataclasses.replace(report, wall_s=value))

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    json.loads(text, parse_constant=refuse)
    assert repr(store.loads(text.encode()).wall_s) == repr(value)


@pytest.mark.parametrize("schema", range(1, SCHEMA + 1))
def test_recorded_files_of_every_schema_load_as_the_same_report(report: Report, schema: int) -> None:
    assert store.load(RECORDED / f"schema{schema}.json") == report


def test_this_schema_has_a_recorded_file(report: Report) -> None:
    """When this fails: record the new schema, leave the old file alone and add its upgrade to store.UPGRADES."""
    assert store.dumps(report) == (RECORDED / f"schema{SCHEMA}.json").read_text(encoding="utf-8")


def test_rounds_of_schema_1_are_given_to_the_batch_whose_rows_ran_in_them() -> None:
    data = json.loads((RECORDED / "schema1.json").read_text(encoding="utf-8"))
    for row in data["rows"]:
        row["batch"] = 8
    data["plan"]["reference"] = {"8": data["plan"]["reference"]["1"]}
    data["control"] = {"8": data["control"]["1"]}
    upgraded = store.loads(json.dumps(data).encode())
    assert {one.setting for one in upgraded.rounds} == {"b8"} == set(upgraded.control) == set(upgraded.plan.reference)


def test_one_changed_sample_is_one_changed_line(report: Report) -> None:
    first, *others = report.rows
    slower = Samples(((1, 2), *first.samples.wall_ns[1:]), first.samples.cpu_ns)
    changed = dataclasses.replace(report, rows=(dataclasses.replace(first, samples=slower), *others))
    before, after = store.dumps(report).splitlines(), store.dumps(changed).splitlines()
    different = [line for line, old in zip(after, before, strict=True) if line != old]
    assert [line.strip() for line in different] == ["[1, 2],"]


# --- what is not a report


def refusal(raw: bytes) -> str:
    with pytest.raises(ReportError) as caught:
        store.loads(raw, "run.json")
    assert "\n" not in caught.value.message and caught.value.remedy
    return caught.value.message


@pytest.mark.parametrize("raw", [b"", b"\x00\xff", b"<html>", b"{", b"[" * 100_000, b"9" * 5000])
def test_file_that_is_not_json_is_refused(raw: bytes) -> None:
    assert "not a keronyx report" in refusal(raw)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99, 0.999])
def test_truncated_report_is_refused(report: Report, share: float) -> None:
    raw = store.dumps(report).encode()
    assert "cut off" in refusal(raw[: int(share * len(raw))])


@pytest.mark.parametrize("raw", [b"[]", b"3", b"{}", b'{"schema": "1"}', b'{"schema": true}', b'{"schema": 0}'])
def test_json_without_a_schema_number_is_refused(raw: bytes) -> None:
    assert "schema" in refusal(raw)


def test_newer_schema_names_what_wrote_it_and_what_this_reads() -> None:
    message = refusal(b'{"schema": 7, "keronyx": "9.9"}')
    assert message == f"run.json was written by keronyx 9.9 (schema 7); this one reads up to {SCHEMA}"


def damaged(report: Report, **fields: object) -> bytes:
    return json.dumps({**json.loads(store.dumps(report)), **fields}).encode()


def test_unknown_field_is_refused_by_name(report: Report) -> None:
    message = refusal(damaged(report, favourite="colour"))
    assert "favourite" in message and "written by keronyx 0.1.0" in message


def test_unknown_field_deep_inside_is_refused(report: Report) -> None:
    data = json.loads(store.dumps(report))
    data["rows"][2]["samples"]["mean_ns"] = 1
    assert "rows.2.samples.mean_ns" in refusal(json.dumps(data).encode())


def test_missing_field_is_refused_by_name(report: Report) -> None:
    data = json.loads(store.dumps(report))
    del data["plan"]["seed"]
    assert "plan.seed" in refusal(json.dumps(data).encode())


@pytest.mark.parametrize("value", ["58.3", None, True, [58.3], {"float": "many"}])
def test_ill_typed_field_is_refused(report: Report, value: object) -> None:
    assert "wall_s" in refusal(damaged(report, wall_s=value))


def test_unknown_status_is_refused(report: Report) -> None:
    data = json.loads(store.dumps(report))
    data["rows"][0]["status"] = "FINE"
    assert "rows.0.status" in refusal(json.dumps(data).encode())


@pytest.mark.parametrize("field", ["waited_ns", "switches", "window_ns", "window_calls"])
def test_impossible_readings_of_turns_are_refused(report: Report, field: str) -> None:
    data = json.loads(store.dumps(report))
    data["rows"][0]["samples"][field] = [-1]
    assert "damaged" in refusal(json.dumps(data).encode())


@pytest.mark.parametrize("call", [-1, 2**63, 10**400])
def test_impossible_samples_are_refused(report: Report, call: int) -> None:
    data = json.loads(store.dumps(report))
    data["rows"][0]["samples"]["wall_ns"][0] = [call]
    assert "damaged" in refusal(json.dumps(data).encode())


def test_refusal_does_not_repeat_escape_sequences(report: Report) -> None:
    assert "\x1b" not in refusal(damaged(report, **{"\x1b[31m\nred": 1}))


def test_older_schema_is_upgraded_step_by_step(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "SCHEMA", SCHEMA + 2)
    monkeypatch.setitem(store.UPGRADES, SCHEMA, lambda data: {**data, "warnings": ["first"]})
    monkeypatch.setitem(store.UPGRADES, SCHEMA + 1, lambda data: {**data, "warnings": [*data["warnings"], "second"]})
    assert store.loads(store.dumps(report).encode()).warnings == ("first", "second")


def test_schema_without_an_upgrade_is_refused(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "SCHEMA", SCHEMA + 1)
    assert "no longer reads" in refusal(store.dumps(report).encode())


# --- files


def test_missing_file_folder_and_device_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path, Path("/dev/zero")):
        with pytest.raises(ReportError):
            store.load(path)


def test_file_above_the_limit_is_refused(tmp_path: Path, report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    store.save(report, tmp_path / "run.json")
    monkeypatch.setattr(store, "LARGEST", 1000)
    with pytest.raises(ReportError, match="larger than"):
        store.load(tmp_path / "run.json")


def test_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.json"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "replace", full)
    with pytest.raises(UnwritableError, match="No space left"):
        store.save(report, path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_save_makes_the_folders_on_the_way(tmp_path: Path, report: Report) -> None:
    store.save(report, tmp_path / "runs" / "a" / "run.json")
    assert (tmp_path / "runs" / "a" / "run.json").is_file()


def test_path_that_cannot_be_made_is_unwritable(tmp_path: Path, report: Report) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableError):
        store.save(report, tmp_path / "file" / "run.json")


def test_text_that_is_not_unicode_can_still_be_saved(tmp_path: Path, report: Report) -> None:
    store.save(dataclasses.replace(report, warnings=("\udc80.png",)), tmp_path / "run.json")
    assert store.load(tmp_path / "run.json").warnings == ("?.png",)

"""Which rows a run has."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from keronyx.errors import UsageError
from keronyx.profiles import plan
from keronyx.profiles.plan import choose, reference_row, row_id
from keronyx.runtime import RUNTIMES, find


def ids(chosen):
    return [f"{runtime.name}/{runtime.provider}" for runtime in chosen]


def test_providers_come_in_the_order_given_and_once():
    chosen = ids(choose(RUNTIMES, ["cuda", "cpu", "cuda"], ["ort", "litert"]))
    assert chosen == ["ort/cuda", "ort/cpu", "litert/cpu"]


def test_all_runtimes_of_a_provider_unless_named():
    assert ids(choose(RUNTIMES, ["tensorrt"])) == ["ort/tensorrt"]
    assert len(choose(RUNTIMES, ["cpu"])) == 7


@pytest.mark.parametrize(
    ("providers", "names", "message", "remedy"),
    [
        (["cudo"], None, "unknown provider 'cudo'", "cuda"),
        (["gpu"], None, "unknown provider 'gpu'", "did you mean cuda?"),
        (["cpu"], ["tf-grpah"], "unknown runtime 'tf-grpah'", "tf-graph"),
        (["cpu"], ["TFLite"], "unknown runtime 'TFLite'", "did you mean litert?"),
        (["cpu"], ["zzzzzz"], "unknown runtime 'zzzzzz'", "one of litert, openvino, ort"),
        (["tensorrt"], ["litert"], "no runtime of litert runs on tensorrt", "doctor"),
    ],
)
def test_a_wrong_name_is_answered_with_the_closest(providers, names, message, remedy):
    with pytest.raises(UsageError) as raised:
        choose(RUNTIMES, providers, names)
    assert message in raised.value.message and remedy in raised.value.remedy and raised.value.exit_code == 2


def test_row_ids_hold_runtime_provider_precision_and_batch():
    assert row_id(SimpleNamespace(name="ort", provider="cuda"), 8) == "ort/cuda/fp32/b8"


@pytest.mark.parametrize(
    ("rows", "reference"),
    [
        (["ort/cpu/fp32/b1", "tf-eager/cpu/fp32/b1", "tf-graph/cpu/fp32/b1"], "tf-graph/cpu/fp32/b1"),
        (["ort/cpu/fp32/b1", "tf-eager/cpu/fp32/b1"], "tf-eager/cpu/fp32/b1"),
        (["tf-graph/cuda/fp32/b1", "litert/cpu/fp32/b1"], "tf-graph/cuda/fp32/b1"),
        ([], None),
    ],
)
def test_ratios_are_taken_to_what_a_tensorflow_user_runs_today(rows, reference):
    assert reference_row(rows) == reference


@pytest.mark.parametrize(
    ("budget_s", "startup_s", "rounds", "sets"),
    [
        (60, 45, 400, 1),  # seven runtimes of a large network
        (60, 11, 400, 1),  # two sets would tell nothing
        (60, 10, 400, 3),
        (60, 2, 400, 5),
        (60, 0, 400, 5),
        (600, 45, 400, 5),
        (60, 2, 17, 1),
        (60, 2, 18, 3),
        (1e-9, 2, 400, 1),
    ],
)
def test_fresh_processes_are_started_as_often_as_a_third_of_the_budget_pays_for(budget_s, startup_s, rounds, sets):
    assert plan.process_sets(budget_s, startup_s, rounds) == sets


def test_ids_name_threads_and_callers_only_where_they_differ():
    assert plan.row_id(find("ort", "cpu"), 8, threads=2, concurrency=4) == "ort/cpu/fp32/b8/t2/c4"
    assert plan.row_id(find("ort", "cpu"), 1, concurrency=1) == "ort/cpu/fp32/b1"

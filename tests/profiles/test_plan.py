"""Which rows a run has."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from keronyx.errors import UsageError
from keronyx.profiles.plan import choose, reference_row, row_id
from keronyx.runtime import RUNTIMES


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

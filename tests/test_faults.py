"""Parity's gates against faults that were put in on purpose: each is seen by the gate that is there for it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keronyx import accuracy
from keronyx.accuracy import Truth
from keronyx.parity import Answers
from keronyx.types import ModelSpec, TensorSpec, Verdict

ROOT = Path(__file__).parents[1]
HEIGHT, WIDTH = 32, 40

SEEN_BY = {
    "epsilon": "tensor",
    "filter": "tensor",
    "bias": "tensor",
    "small-bias": "tensor",
    "padding": "tensor",
    "dilation": "tensor",
    "bilinear": "tensor",
    "shifted": "tensor",
    "relu": "tensor",
    "prelu": "tensor",
    "classes": "argmax",
    "permuted": "tensor",
    "transposed": "structure",
    "square": "argmax",
    "stale": "argmax",
    "nan": "finite",
    "epoch": "tensor",
}
"""Fault -> the gate that must see it by itself."""


@pytest.fixture(scope="module")
def load() -> Iterator[Any]:
    """Imports `benchmarks.NAME` as `python -m` does from the checkout's root."""
    sys.path.insert(0, str(ROOT))
    yield lambda name: importlib.import_module(f"benchmarks.{name}")
    sys.path.remove(str(ROOT))
    for name in [name for name in sys.modules if name.partition(".")[0] == "benchmarks"]:
        sys.modules.pop(name)


@pytest.fixture(scope="module")
def trials(load: Any) -> Any:
    return load("faulting.trials")


@pytest.fixture(scope="module")
def catalogue(load: Any) -> Any:
    return load("faulting.catalogue")


@pytest.fixture(scope="module")
def table(load: Any) -> Any:
    return load("faulting.table")


# --- a network that is right everywhere, in numpy -------------------------------------------------------------------

SPEC = ModelSpec(
    "right",
    "numpy",
    (TensorSpec("image", (1, HEIGHT, WIDTH, 3), "float32"),),
    (TensorSpec("probabilities", (1, HEIGHT, WIDTH, 3), "float32"),),
    0,
    "",
)


def softmax(logits: Any) -> Any:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


@pytest.fixture(scope="module")
def truth(trials: Any) -> Truth:
    """Probabilities whose class is the label everywhere; Keras is off by float32's rounding."""
    random = np.random.default_rng(3)
    labels = trials.labels(HEIGHT, WIDTH)
    logits = [
        4.0 * (label[None, ..., None] == np.arange(3)) + random.uniform(0, 1, (1, HEIGHT, WIDTH, 3)) for label in labels
    ]

    def rounded(units: float) -> list[list[Any]]:
        return [[softmax(x * (1 + units * random.uniform(-1, 1, x.shape) * 2**-24)).astype(np.float32)] for x in logits]

    keras = Answers(SPEC.outputs, rounded(1))
    return Truth([[softmax(x)] for x in logits], keras, [rounded(1), rounded(1)], "oracle", "Keras", rounded(8))


@pytest.fixture
def judged(trials: Any, truth: Truth) -> Any:
    """(answers to all inputs) -> the outcome over the first four."""
    return lambda given, specs=SPEC.outputs: trials.judged(specs, given, truth, SPEC, range(4))


def right(truth: Truth) -> list[list[Any]]:
    return [[array.astype(np.float32) for array in row] for row in truth.oracle]


def failed(outcome: Any) -> set[str]:
    return {name for name, verdict in outcome.gates.items() if verdict == "fail"}


def test_right_answers_pass_every_gate(judged, truth):
    outcome = judged(right(truth))
    assert failed(outcome) == set() and not outcome.caught and outcome.ratio <= accuracy.EXACT
    assert set(outcome.gates.values()) == {"pass"} and not outcome.allclose and not outcome.cosine


def test_two_classes_swapped_fail_tensor_argmax_and_task_each_by_itself(judged, truth):
    outcome = judged([[row[0][..., [1, 0, 2]]] for row in right(truth)])
    assert failed(outcome) == {"tensor", "argmax", "task"} and outcome.cosine and outcome.task < -0.5


def test_one_class_too_strong_by_a_thousandth_fails_tensor_alone_and_neither_allclose_nor_cosine(judged, truth):
    factors = np.array([1.001, 1, 1])
    outcome = judged([[(x[0] * factors / (x[0] * factors).sum(-1, keepdims=True)).astype("f4")] for x in truth.oracle])
    assert failed(outcome) == {"tensor"} and outcome.ratio > accuracy.WRONG
    assert not outcome.allclose and not outcome.cosine


def test_a_nan_fails_finite_and_others_still_run(judged, truth, catalogue):
    outcome = judged(catalogue.one_nan(right(truth), np.random.default_rng(0)))
    assert "finite" in failed(outcome) and outcome.gates["tensor"] == "pass" and outcome.cosine and outcome.allclose


def test_another_name_or_exchanged_sides_fail_structure_and_nothing_else_runs(judged, truth):
    turned = [[row[0].transpose(0, 2, 1, 3)] for row in right(truth)]
    for given, specs in ((turned, SPEC.outputs), (right(truth), (replace(SPEC.outputs[0], name="other"),))):
        outcome = judged(given, specs)
        assert failed(outcome) == {"structure"} and set(outcome.gates.values()) == {"fail", "not run"}


def test_stale_answers_begin_with_the_right_one(judged, truth, catalogue):
    given = catalogue.stale(right(truth), np.random.default_rng(0))
    np.testing.assert_array_equal(given[0][0], given[1][0])
    assert {"tensor", "argmax"} <= failed(judged(given))


def test_gates_after_a_failed_one_run_only_when_all_are_asked_for(truth):
    given = right(truth)
    given[0][0][0, 0, 0] = np.nan
    answers = Answers(SPEC.outputs, [[row[0][..., ::-1]] for row in given])
    alone = {gate.name: gate.verdict for gate in accuracy.judge(answers, truth, SPEC.outputs, every=True).gates}
    usual = {gate.name: gate.verdict for gate in accuracy.judge(answers, truth, SPEC.outputs).gates}
    assert [alone[name] for name in ("finite", "tensor", "argmax")] == [Verdict.FAIL] * 3
    assert [usual[name] for name in ("finite", "tensor", "argmax")] == [Verdict.FAIL, Verdict.NOT_RUN, Verdict.NOT_RUN]


def test_a_stored_truth_is_read_as_it_was(trials, truth, tmp_path):
    first, second = truth.first(4), replace(truth, moved=truth.moved[:1]).first(2)
    trials.store([first, second], tmp_path / "truth.npz")
    read = trials.load(tmp_path / "truth.npz", SPEC)
    assert len(read.oracle) == 6 and len(read.moved) == 1 and read.yardstick == "Keras"
    np.testing.assert_array_equal(read.oracle[5][0], truth.oracle[1][0])
    np.testing.assert_array_equal(read.shaken[3][0], truth.shaken[3][0])


# --- counting -------------------------------------------------------------------------------------------------------


def outcome_of(trials: Any, ratio: float = 50.0, **facts: Any) -> Any:
    gates = {"structure": "pass", "finite": "pass", "tensor": "pass", "argmax": "pass", "task": "undecided"}
    return trials.Outcome(ratio=ratio, gates={**gates, **facts.pop("gates", {})}, **facts)


def test_the_table_counts_by_gate_and_lists_what_none_saw(trials, table):
    seen = outcome_of(trials, gates={"tensor": "fail"}, allclose=True)
    missed = outcome_of(trials, ratio=4.0, layer="down1_conv1", max_abs=2e-6)
    fine = outcome_of(trials, ratio=0.9, gates={"task": "pass"})
    found = [table.Trial("net", "filter", 0, seen), table.Trial("net", "filter", 1, missed)]
    page = table.page([*found, table.Trial("net", "none", 0, fine)], [], {"net": "seeded"}, ["said"])
    assert (
        "| one filter x 1.02 | 2 | 50.0 % | 0 % | 0 % | 50.0 % | 0 % | 0 % (100 % undecided) | 50.0 % | 0 % | 4 |"
        in page
    )
    assert "| **no fault** | 1 | 0 % |" in page
    assert "1 of 2 faulty files were found" in page
    assert f"1 lay between {accuracy.EXACT:g} and {accuracy.WRONG:g}" in page
    assert "would find: 0 with 7, 0 with 5, 0 with 4, 1 with 3." in page
    assert "| net | one filter x 1.02 | down1_conv1 | 1 | 4 | 2.0e-06 |" in page


def test_a_file_that_does_not_load_is_found(trials, table):
    refused = trials.Outcome("layer", "shapes do not fit")
    page = table.page([table.Trial("net", "padding", 0, refused)], [], {"net": "seeded"}, [])
    assert "| padding shifted by one row | 1 | 100 % |" in page and "1 of 1 faulty files" in page


def test_rows_without_a_fault_are_read_from_a_certificate_and_alarms_counted(load, table):
    correct = load("faulting.correct")
    output = {"ratio": 1.5, "argmax_flips": 0.0, "view": ""}
    parity = {"verdict": "pass", "outputs": [output], "gates": []}
    bad = {**parity, "verdict": "fail", "gates": [{"name": "tensor", "verdict": "fail", "detail": "too far"}]}
    rows = [
        correct.read("net", seed, {"id": "ort/cpu/fp32/b1", "status": "OK", "parity": one})
        for seed, one in enumerate((parity, bad))
    ]
    rows.append(correct.read("net", 0, {"id": "litert/cpu/fp32/b1", "status": "FAILED", "parity": None}))
    page = table.page([], rows, {"net": "seeded"}, [])
    assert "1 of 2 rows failed" in page and "| net | ort/cpu/fp32/b1 | 2 | 1: tensor: too far | 1.5 | 0 |" in page
    assert "| net | litert/cpu/fp32/b1 | FAILED | 0 |" in page


def test_results_outlive_a_changed_comment_but_no_changed_code(load, tmp_path, monkeypatch):
    faults = load("faults")
    monkeypatch.setattr(faults, "ROOT", tmp_path)
    texts = ['"""One."""\nX = 1\n', '"""Two."""\nX = 1  # why\n', "X = 2\n"]
    found = []
    for text in texts:
        (tmp_path / "code.py").write_text(text)
        found.append(faults.digest(["code.py"], b""))
    assert found[0] == found[1] != found[2]


def test_half_a_line_that_a_kill_left_is_not_read(load, tmp_path):
    faults = load("faults")
    faults.append(tmp_path / "log", {"a": 1})
    with (tmp_path / "log").open("a") as stream:
        stream.write('{"a": ')
    assert faults.read(tmp_path / "log") == [{"a": 1}]


def test_the_page_has_room_for_the_figures(load):
    faults = load("faults")
    assert "MADE" in faults.replaced(faults.PAGE.read_text(), "MADE\n")


def test_the_page_names_the_limits_that_the_gates_have(load, trials):
    page = load("faults").PAGE.read_text()
    for words in (
        f"the ratio is above **{accuracy.WRONG:g}**",
        f"off by over **{accuracy.TAIL:g}** times",
        f"over **{accuracy.FURTHEST:g}** times Keras' largest",
        f"Up to a ratio of {accuracy.EXACT:g} a row is *as exact as Keras*. Between {accuracy.EXACT:g} and",
        f"more than {accuracy.TAIL_SHARE:g} of the values",
        f"more than {accuracy.FLIPS:g} of the positions",
        f"by {accuracy.SHAKEN} units in the last place",
        f"which {trials.COMPARED} of {trials.INPUTS} scenes are compared",
    ):
        assert words.replace("1e-04", "1e-4").replace("0.0001", "1e-4") in page, words


def test_every_fault_says_which_gate_is_to_see_it(catalogue):
    assert set(SEEN_BY) == {fault.name for fault in catalogue.FAULTS}


# --- a real network -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network(load: Any, trials: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """enet:16 at 64x80, exported, with its oracle: every fault has a place in it."""
    folder = tmp_path_factory.mktemp("faults") / "enet-16"
    load("faults").prepare("enet:16", (64, 80), folder)
    return trials.Network(folder)


@pytest.mark.slow
@pytest.mark.parametrize("fault", SEEN_BY)
def test_a_fault_is_seen_by_the_gate_that_is_there_for_it(network, trials, catalogue, fault):
    for seed in range(3):
        outcome = trials.trial(network, catalogue.BY_NAME[fault], seed)
        assert outcome is not None and not outcome.refused and SEEN_BY[fault] in failed(outcome), (seed, outcome)


@pytest.mark.slow
def test_the_same_network_without_a_fault_passes(network, trials, catalogue):
    for seed in range(5):
        outcome = trials.trial(network, catalogue.NONE, seed)
        assert set(outcome.gates.values()) == {"pass"} and not outcome.allclose and not outcome.cosine


@pytest.mark.slow
def test_every_correct_variant_passes_against_its_own_oracle(network, trials):
    for name in ("both", "square"):
        specs, given = network.right(name)
        outcome = trials.judged(specs, given, network.truth(name), network.specs[name], range(4))
        assert not outcome.caught, outcome

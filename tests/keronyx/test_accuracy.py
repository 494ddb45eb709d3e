"""Rows are judged by Keras' own rounding error: honest rounding passes whatever the network, faults do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from keronyx.accuracy import EXACT, GROWTH, WRONG, Fixed, Truth, exactness, judge, logits
from keronyx.parity import Answers
from keronyx.task_gate import with_task
from keronyx.types import TaskScore, TensorSpec, Verdict

SHAPE = (1, 24, 30, 3)
MASK = (TensorSpec("mask", SHAPE, "float32"),)
ROUNDING = 1e-6
INPUTS = 3


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class Network:
    """Answers of an imagined segmentation network: exact, and as any correct runtime rounds them."""

    def __init__(self, seed: int = 0, scale: float = 3.0, flips: float = 0.0) -> None:
        self.random = np.random.default_rng(seed)
        self.logits = [self.random.normal(0, scale, SHAPE) for _ in range(INPUTS)]
        self.flips = flips

    def rounded(self, noise: float = ROUNDING, shaken: float = 1.0) -> list[list[Any]]:
        """One correct evaluation; with `flips`, a share of windows answers quite otherwise, as in un-pooling."""
        answers = []
        for exact in self.logits:
            x = exact + self.random.normal(0, noise * shaken, SHAPE) * np.abs(exact)
            if self.flips:
                other = self.random.random(SHAPE[:3]) < self.flips * shaken
                x[other] += self.random.normal(0, 1, (int(other.sum()), SHAPE[3]))
            answers.append([softmax(x).astype(np.float32)])
        return answers

    def truth(self, sets: int = 3) -> Truth:
        oracle = [[softmax(x)] for x in self.logits]
        moved = [self.rounded() for _ in range(sets)]
        return Truth(
            oracle,
            Answers(MASK, self.rounded()),
            moved,
            "float64 oracle",
            "Keras float32's own error",
            self.rounded(shaken=GROWTH),
        )


def of(network: Network, arrays: Any = None, specs: Any = MASK, **terms: Any) -> Any:
    return judge(Answers(specs, arrays or network.rounded()), network.truth(), MASK, **terms)


def failing(parity: Any) -> str | None:
    verdicts = [gate.verdict for gate in parity.gates]
    assert [gate.name for gate in parity.gates] == ["structure", "finite", "tensor", "argmax"]
    assert (parity.verdict is Verdict.FAIL) is (Verdict.FAIL in verdicts)
    if Verdict.FAIL not in verdicts:
        return None
    place = verdicts.index(Verdict.FAIL)
    assert verdicts[place + 1 :] == [Verdict.NOT_RUN] * (3 - place)
    assert parity.gates[place].detail
    return parity.gates[place].name


# --- honest rounding


@pytest.mark.parametrize("flips", [0.0, 3e-4, 3e-3])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_another_correct_evaluation_is_as_exact_as_keras(scale: float, flips: float) -> None:
    for seed in range(20):
        parity = of(Network(seed, scale, flips))
        assert failing(parity) is None, (seed, parity.gates)
        assert parity.ratio is not None and parity.ratio < EXACT


def test_the_ratio_of_a_correct_row_is_about_one() -> None:
    ratios = [of(Network(seed)).ratio for seed in range(20)]
    assert 0.7 < float(np.median(ratios)) < 1.3


def test_a_row_worse_by_a_factor_passes_and_says_so() -> None:
    network = Network()
    parity = of(network, network.rounded(4 * ROUNDING))
    assert failing(parity) is None and EXACT < parity.ratio < WRONG
    assert "worse than Keras by a factor of" in parity.gates[2].detail


def test_a_row_far_worse_than_keras_is_wrong() -> None:
    network = Network()
    assert failing(of(network, network.rounded(100 * ROUNDING))) == "tensor"


def test_where_keras_makes_no_error_rounding_to_float32_is_none_either() -> None:
    """A network that only moves values about: the yardstick is what float32 itself can hold."""
    spec = (TensorSpec("y", (1, 50), "float32"),)
    random = np.random.default_rng(0)
    exact = [[random.normal(0, 1, (1, 50)).astype(np.float32)] for _ in range(2)]
    truth = Truth([[x[0].astype(np.float64)] for x in exact], Answers(spec, exact), [], "oracle", "Keras")
    one_ulp = [[np.nextafter(x[0], np.float32(9))] for x in exact]
    assert judge(Answers(spec, one_ulp), truth, spec).verdict is Verdict.PASS
    off = [[x[0] * np.float32(1 + 1e-5)] for x in exact]
    assert judge(Answers(spec, off), truth, spec).verdict is Verdict.FAIL


def test_a_network_of_zeros_is_compared_too() -> None:
    spec = (TensorSpec("y", (1, 5), "float32"),)
    zeros = [[np.zeros((1, 5), np.float32)]] * 2
    truth = Truth([[np.zeros((1, 5))]] * 2, Answers(spec, zeros), [zeros], "oracle", "Keras")
    assert judge(Answers(spec, zeros), truth, spec).verdict is Verdict.PASS
    assert judge(Answers(spec, [[x[0] + np.float32(1e-6)] for x in zeros]), truth, spec).verdict is Verdict.FAIL


# --- faults


def faulty(network: Network, change: Any) -> list[list[Any]]:
    return [[change(x[0].copy())] for x in network.rounded()]


def one_pixel(value: float) -> Any:
    def change(x: Any) -> Any:
        x[0, 5, 7, 1] = value
        return x

    return change


FAULTS = {
    "two classes swapped": lambda x: x[..., [1, 0, 2]],
    "one pixel wrong": one_pixel(0.9999),
    "shifted by one pixel": lambda x: np.roll(x, 1, axis=2),
    "mirrored": lambda x: x[:, :, ::-1],
    "a border wrong": lambda x: np.concatenate([x[:, :1] * 0 + np.float32(1 / 3), x[:, 1:]], 1),
    "1 % too confident": lambda x: softmax(np.log(np.maximum(x, 1e-30)) * 1.01).astype(np.float32),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_wrong(fault: str) -> None:
    for seed in range(5):
        network = Network(seed)
        assert failing(of(network, faulty(network, FAULTS[fault]))) == "tensor"


@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "one pixel wrong"])
def test_faults_are_found_in_networks_that_choose_by_comparison(fault: str) -> None:
    """Keras itself flips some pixels there, so one alone proves nothing; what is wrong everywhere still does."""
    network = Network(1, flips=1e-3)
    assert failing(of(network, faulty(network, FAULTS[fault]))) == "tensor"


def test_a_stale_answer_is_wrong() -> None:
    network = Network()
    arrays = network.rounded()
    assert failing(of(network, [arrays[0], arrays[0], arrays[1]])) == "tensor"


def test_nan_in_one_pixel_is_found_before_any_error_is_computed() -> None:
    network = Network()
    assert failing(of(network, faulty(network, one_pixel(float("nan"))))) == "finite"


def test_another_name_dtype_or_layout_is_another_structure() -> None:
    network = Network()
    assert failing(of(network, specs=(TensorSpec("other", SHAPE, "float32"),))) == "structure"
    assert failing(of(network, faulty(network, lambda x: x.astype(np.float64)))) == "structure"
    assert failing(of(network, faulty(network, lambda x: x.transpose(0, 2, 1, 3)))) == "structure"


def test_outputs_in_another_order_are_compared_by_name_and_wrong() -> None:
    specs = (TensorSpec("a", (1, 40), "float32"), TensorSpec("b", (1, 40), "float32"))
    random = np.random.default_rng(0)
    oracle = [[random.normal(0, 1, (1, 40)) for _ in specs] for _ in range(2)]
    right = [[x.astype(np.float32) for x in one] for one in oracle]
    truth = Truth(oracle, Answers(specs, right), [], "oracle", "Keras")
    assert judge(Answers(specs, right), truth, specs).verdict is Verdict.PASS
    assert failing(judge(Answers(specs, [one[::-1] for one in right]), truth, specs)) == "tensor"
    assert failing(judge(Answers(specs[::-1], [one[::-1] for one in right]), truth, specs)) == "structure"


def test_errors_that_a_saturated_softmax_hides_are_seen_in_its_logits() -> None:
    """Probabilities of 1 - 1e-9: the small classes can be off by a third without the large one moving in float32."""
    logs = np.tile(np.array([25.0, 0.0, 3.0]), (1, 24, 30, 1))
    random = np.random.default_rng(0)
    exact = [[softmax(logs + random.normal(0, 1, SHAPE))] for _ in range(2)]
    keras = [[(x[0] * (1 + random.normal(0, 1e-7, SHAPE))).astype(np.float32)] for x in exact]
    truth = Truth(exact, Answers(MASK, keras), [], "oracle", "Keras")
    assert judge(Answers(MASK, keras), truth, MASK).verdict is Verdict.PASS
    off = [[(x[0] * np.array([1, 1.3, 1])).astype(np.float32)] for x in exact]
    parity = judge(Answers(MASK, off), truth, MASK)
    assert failing(parity) == "tensor" and "mask (logits)" in parity.gates[2].detail
    values = next(one for one in parity.outputs if not one.view)
    assert values.ratio is not None and values.ratio < EXACT


def test_logits_are_what_the_softmax_was_made_of_but_for_a_constant() -> None:
    x = np.random.default_rng(0).normal(0, 3, SHAPE)
    np.testing.assert_allclose(logits(softmax(x)), x - x.mean(-1, keepdims=True), atol=1e-9)


# --- outputs that are no floats


def test_a_mask_may_differ_where_keras_itself_does_and_not_elsewhere() -> None:
    spec = (TensorSpec("mask", (1, 100, 100), "int64"),)
    random = np.random.default_rng(0)
    oracle = random.integers(0, 3, (1, 100, 100))

    def flipped(count: int) -> Any:
        other = oracle.copy()
        other.reshape(-1)[random.choice(other.size, count, replace=False)] += 1
        return other

    truth = Truth([[oracle]] * 2, Answers(spec, [[flipped(2)], [flipped(2)]]), [], "oracle", "Keras")
    assert judge(Answers(spec, [[flipped(4)], [flipped(5)]]), truth, spec).verdict is Verdict.PASS
    assert failing(judge(Answers(spec, [[flipped(60)], [flipped(60)]]), truth, spec)) == "tensor"
    exact = Truth([[oracle]] * 2, Answers(spec, [[oracle]] * 2), [], "oracle", "Keras")
    assert judge(Answers(spec, [[flipped(0)]] * 2), exact, spec).verdict is Verdict.PASS
    assert failing(judge(Answers(spec, [[flipped(4)]] * 2), exact, spec)) == "tensor"


def test_text_is_compared_by_equality() -> None:
    spec = (TensorSpec("word", (1, 2), "string"),)
    words = [[np.array([["a", "b"]])], [np.array([["c", "d"]])]]
    truth = Truth(words, Answers(spec, words), [], "oracle", "Keras")
    assert judge(Answers(spec, words), truth, spec).verdict is Verdict.PASS
    assert failing(judge(Answers(spec, words[::-1]), truth, spec)) == "tensor"


# --- what the user may say


def test_tolerances_of_the_users_own_stand_in_for_the_yardstick() -> None:
    network = Network()
    loose = of(network, network.rounded(100 * ROUNDING), fixed=Fixed(1e-2, 0.0))
    assert failing(loose) is None and loose.ratio is None and loose.yardstick == ""
    parity = of(network, network.rounded(), fixed=Fixed(0.0, 1e-12))
    assert failing(parity) == "tensor" and "more than atol 0" in parity.gates[2].detail


def test_a_coarser_precision_is_judged_by_the_rounding_of_that_precision() -> None:
    network = Network()
    moved = [network.rounded(1e-3) for _ in range(3)]
    oracle = [[softmax(x)] for x in network.logits]
    truth = Truth(oracle, Answers(MASK, network.rounded()), moved, "float64 oracle", "tf32 rounding")
    row = Answers(MASK, network.rounded(1e-3))
    assert judge(row, truth, MASK, "tf32").verdict is Verdict.PASS
    assert judge(row, network.truth(), MASK).verdict is Verdict.FAIL


# --- the task


def score(difference: float, width: float, name: str = "official F") -> TaskScore:
    return TaskScore(name, 0.9 + difference, 0.9, difference - width, difference + width, 50)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (score(0, 0.0005), Verdict.PASS),
        (score(0.01, 0.001), Verdict.PASS),
        (score(-0.01, 0.001), Verdict.FAIL),
        (score(-0.001, 0.01), Verdict.NOT_RUN),
        (TaskScore("IoU", 0.9, 0.9, float("nan"), float("nan"), 3), Verdict.NOT_RUN),
        (score(float("nan"), 0.01), Verdict.FAIL),  # NaN among the answers that only the task sees
    ],
)
def test_the_task_gate_decides_by_the_whole_interval(found: TaskScore, verdict: Verdict) -> None:
    network = Network()
    parity = with_task(of(network), [found], 0.002, decides=False)
    assert parity.gates[-1].name == "task" and parity.gates[-1].verdict is verdict
    assert parity.verdict is (Verdict.FAIL if verdict is Verdict.FAIL else Verdict.PASS)
    assert parity.task[0] == found


def test_the_worst_score_decides_and_one_without_an_interval_does_not() -> None:
    parity = of(Network())
    unknown = TaskScore("soft F", 0.4, 0.9, float("nan"), float("nan"), 50)
    fallen = score(-0.01, 0.001, "IoU")
    assert with_task(parity, [score(0, 0), unknown], 0.002, decides=False).gates[-1].verdict is Verdict.PASS
    gate = with_task(parity, [score(0, 0), unknown, fallen], 0.002, decides=False).gates[-1]
    assert gate.verdict is Verdict.FAIL and gate.detail.startswith("IoU -0.0100")


def test_a_coarse_precision_is_decided_by_the_task_and_a_fine_one_is_not() -> None:
    network = Network()
    off = of(network, network.rounded(100 * ROUNDING))
    assert with_task(off, [score(0, 0.0005)], 0.002, decides=True).verdict is Verdict.PASS
    assert with_task(off, [score(0, 0.0005)], 0.002, decides=False).verdict is Verdict.FAIL
    undecided = with_task(off, [score(-0.001, 0.01)], 0.002, decides=True)
    assert undecided.verdict is Verdict.FAIL
    few = TaskScore("official F", 0.9, 0.9, 0.0, 0.0, 4)
    assert with_task(off, [few], 0.002, decides=True).verdict is Verdict.FAIL
    assert with_task(of(network), [], 0.002, decides=True).gates[-1].name == "argmax"


def test_ratios_have_words() -> None:
    assert [exactness(r) for r in (1.0, EXACT, 4.0, 99.0)] == [
        "as exact as Keras", "as exact as Keras", "worse than Keras by a factor of 4", "wrong"
    ]  # fmt: skip

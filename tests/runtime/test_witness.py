"""What a witness calls wrong, and what it must never."""

from __future__ import annotations

import numpy as np
import pytest

from keronyx.runtime.witness import VALUES, Witness, fingerprint
from keronyx.types import Verdict


def answers(count=4, size=300, seed=0, kind="float32"):
    """For each input: a large output, and a small one that is the same for all."""
    random = np.random.default_rng(seed)
    return [[(100 * random.normal(size=(1, size))).astype(kind), np.full(2, 1e6, kind)] for _ in range(count)]


def witness(learned):
    one = Witness()
    for index, outputs in enumerate(learned):
        one.learn(index, outputs)
    return one


def test_a_fingerprint_has_64_evenly_spaced_values_of_each_output():
    prints = fingerprint([np.arange(127.0).reshape(1, 127), np.array(True), np.zeros((0, 3))])
    assert prints.dtype == np.float64 and len(prints) == VALUES + 1
    assert prints.tolist() == [*range(0, 127, 2), 1]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (lambda right: right[1], "the answer to another input"),
        (lambda right: [right[0][0] * np.nan, right[0][1]], "NaN or Inf, unlike"),
        (lambda right: [np.where(np.arange(300) == 7, np.inf, right[0][0]), right[0][1]], "NaN or Inf, unlike"),
        (lambda right: [np.zeros((1, 300)), right[0][1]], "an answer to no input"),
        (lambda right: [0.4 * right[0][0] + 0.6 * right[1][0], right[0][1]], "an answer to no input"),
        (lambda right: [right[0][0][:, :40], right[0][1]], "another size"),
    ],
    ids=["another's", "nan", "one inf where no value is sampled", "zeros", "mixture", "short"],
)
def test_a_wrong_answer_is_called_what_it_is(fault, said):
    right = answers()
    one = witness(right)
    assert one.follows(1, right[1]) == "" and said in one.follows(0, fault(right))
    one.follows(2, fault([right[2], right[1]]))
    gate = one.gate()
    assert gate.name == "follows" and gate.verdict is Verdict.FAIL and said in gate.detail


def test_another_inputs_answer_is_certain_at_one_look_and_noise_on_it_hides_nothing():
    right = answers()
    one = witness(right)
    one.follows(0, [right[1][0] * np.float32(1 + 1e-6), right[1][1]])
    for index in (0, 1, 2):
        one.follows(index, right[index])
    assert one.gate().verdict is Verdict.FAIL and "1 of 4 answers" in one.gate().detail


def test_an_old_answer_stands_out_where_inputs_hardly_differ():
    """A network that has learned nothing answers nearly the same to everything."""
    same = answers(1)[0][0]
    right = [[same + 5 * change[0] / 100] for change in answers(4, seed=1)]
    one = witness(right)
    assert one.follows(0, right[3]) == "the answer to another input"


@pytest.mark.parametrize("seed", range(200))
def test_rounding_that_differs_between_calls_is_never_an_alarm(seed):
    random = np.random.default_rng(seed)
    size = int(random.choice([1, 2, 10, 300]))
    spread = 10.0 ** random.integers(-8, 2)  # from inputs that nobody could tell apart to quite different ones
    same = random.normal(size=size)
    right = [[same + spread * random.normal(size=size)] for _ in range(4)]

    def noisy(index):
        values = right[index][0]
        return [values + 1e-6 * np.sqrt(np.mean(values**2)) * random.normal(size=size)]

    one = witness([noisy(index) for index in range(4)])
    for turn in range(100):
        assert one.follows(turn % 4, noisy(turn % 4)) == ""
    assert one.gate().verdict is not Verdict.FAIL


def test_values_that_are_always_the_same_hide_nothing():
    """Nine tenths of a mask may be background, whatever the image."""
    right = [[np.where(np.arange(300) % 10 == 0, outputs[0], 50)] for outputs in answers()]
    one = witness(right)
    assert one.follows(0, right[0]) == ""
    assert one.follows(0, [np.where(np.arange(300) % 10 == 0, 0, right[0][0])]) == "an answer to no input"


def test_a_doubtful_answer_to_the_only_input_is_a_fault():
    one = witness(answers(2))
    one.follows(0, [np.zeros((1, 300)), np.zeros(2)])
    assert one.gate().verdict is Verdict.FAIL


def test_the_first_answer_stays_the_right_one():
    right = answers()
    one = witness(right)
    one.learn(0, right[1])
    assert one.follows(0, right[0]) == "" and one.follows(0, right[1]) != ""


def test_inputs_whose_answers_coincide_cannot_be_told_apart():
    same = answers(1)[0]
    one = witness([same, same, same])
    assert one.follows(0, same) == ""
    assert one.gate().verdict is Verdict.NOT_RUN and "alike" in one.gate().detail


def test_two_images_repeated_are_no_stale_answers():
    a, b = answers(2)
    one = witness([a, b, a, b])
    assert [one.follows(index, [a, b][index % 2]) for index in range(4)] == [""] * 4
    assert one.gate().verdict is Verdict.PASS


def test_a_tied_label_that_tips_is_doubtful_and_on_two_inputs_a_fault():
    one = witness([[np.array([label])] for label in (3, 5, 8)])
    assert one.follows(1, [np.array([5])]) == ""
    assert one.follows(0, [np.array([5])]) == "the answer to another input"
    assert one.gate().verdict is Verdict.PASS
    assert one.follows(2, [np.array([5])]) == "the answer to another input"
    assert one.gate().verdict is Verdict.FAIL and "2 of 3 inputs" in one.gate().detail


def test_a_few_values_that_jump_are_no_alarm():
    """An un-pooling window or the order of two boxes may tip with the last bit."""
    right = answers()
    one = witness(right)
    tipped = [right[0][0].copy(), right[0][1]]
    tipped[0][:, :60] = right[1][0][:, :60]
    assert one.follows(0, tipped) == ""


def test_nan_that_was_there_from_the_start_is_parity_s_affair():
    right = [[np.where(np.arange(300) % 2 == 0, np.nan, outputs[0])] for outputs in answers()]
    one = witness(right)
    assert one.follows(0, right[0]) == "" and one.follows(1, right[0]) == "the answer to another input"
    assert "no NaN or Inf" in one.follows(2, [np.nan_to_num(right[2][0])])


def test_an_input_not_met_in_the_warm_up_is_learned_when_it_is():
    right = answers()
    one = witness(right[:2])
    assert one.inputs == (0, 1) and one.follows(3, right[3]) == "" and one.inputs == (0, 1, 3)
    assert one.follows(3, right[0]) == "the answer to another input"


def test_nothing_seen_twice_proves_nothing():
    one = witness(answers())
    one.follows(9, answers(5)[4])
    assert one.gate().verdict is Verdict.NOT_RUN

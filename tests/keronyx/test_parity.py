"""The gates, each against the fault it is there for, and in their order."""

from __future__ import annotations

import numpy as np
import pytest

from keronyx.parity import TOLERANCES, Answers, check
from keronyx.types import TensorSpec, Verdict

SPECS = (TensorSpec("mask", (1, 8, 10, 3), "float32"), TensorSpec("score", (1, 4), "float32"))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return (e / e.sum(-1, keepdims=True)).astype("float32")


def right(inputs=3):
    random = np.random.default_rng(0)
    masks = [softmax(random.normal(0, 3, (1, 8, 10, 3))) for _ in range(inputs)]
    return [[mask, random.normal(0, 1, (1, 4)).astype("float32")] for mask in masks]


def copy(arrays):
    return [[array.copy() for array in one] for one in arrays]


def judge(arrays, specs=SPECS, reference=None, expected=SPECS):
    return check(
        Answers(tuple(specs), arrays), Answers(tuple(expected), reference or right()), tuple(expected), "Keras"
    )


def failing(parity):
    """The gate that failed; those after it must not have run, those before must have passed."""
    verdicts = [gate.verdict for gate in parity.gates]
    assert [gate.name for gate in parity.gates] == ["structure", "finite", "tensor", "argmax"]
    assert parity.verdict is (Verdict.FAIL if Verdict.FAIL in verdicts else Verdict.PASS)
    if Verdict.FAIL not in verdicts:
        return None
    place = verdicts.index(Verdict.FAIL)
    assert verdicts[:place] == [Verdict.PASS] * place
    assert verdicts[place + 1 :] == [Verdict.NOT_RUN] * (3 - place)
    assert parity.gates[place].detail and "\n" not in parity.gates[place].detail
    return parity.gates[place].name


def test_the_same_answers_pass_with_error_zero():
    parity = judge(right())
    assert failing(parity) is None and parity.inputs == 3 and parity.reference == "Keras"
    assert [(d.max_abs, d.typical, d.outliers, d.argmax_flips) for d in parity.outputs] == [(0, 0, 0, 0)] * 2
    assert all(d.cosine == pytest.approx(1) for d in parity.outputs)


# --- structure


def renamed(specs):
    return (TensorSpec("Identity:0", specs[0].shape, "float32"), specs[1])


def permuted(specs):
    return tuple(reversed(specs))


@pytest.mark.parametrize("change", [renamed, permuted, lambda specs: specs[:1]])
def test_other_names_or_another_order_fail_on_structure(change):
    assert failing(judge(right(), specs=change(SPECS))) == "structure"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x.astype("float16"), "mask is float16"),
        (lambda x: x.astype("float64"), "mask is float64"),
        (lambda x: x.transpose(0, 3, 1, 2), r"mask is float32\[1, 3, 8, 10\], not float32\[1, 8, 10, 3\]"),
        (lambda x: x[0], "mask is float32"),
        (lambda x: x[:, :-1], "mask is float32"),
    ],
)
def test_another_dtype_or_shape_fails_on_structure(change, said):
    import re

    arrays = right()
    arrays[2][0] = change(arrays[2][0])  # in the last input only
    parity = judge(arrays)
    assert failing(parity) == "structure" and re.search(said, parity.gates[0].detail)


def test_a_missing_output_or_input_fails_on_structure():
    assert failing(judge([one[:1] for one in right()])) == "structure"
    assert failing(judge(right(2))) == "structure"


def test_an_open_dimension_must_be_as_long_as_the_references():
    """numpy would broadcast (1, 1) against (1, 5) and compare what is not there."""
    spec = (TensorSpec("y", (None, None), "float32"),)
    ones = [[np.ones((1, 5), "float32")]]
    parity = judge([[np.ones((1, 1), "float32")]], spec, ones, spec)
    assert failing(parity) == "structure" and "[1, 1]" in parity.gates[0].detail
    assert failing(judge(ones, spec, ones, spec)) is None


# --- finite


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_pixel_that_is_no_number_fails_before_any_error_is_computed(value):
    arrays = right()
    arrays[1][0][0, 3, 4, 1] = value
    parity = judge(arrays)
    assert failing(parity) == "finite" and "1 of 240 values of mask (input 1)" in parity.gates[1].detail
    assert parity.outputs == ()


def test_nan_is_found_even_where_every_other_value_is_wrong_too():
    arrays = [[-mask, score * 100] for mask, score in right()]
    arrays[0][1][0, 0] = np.nan
    assert failing(judge(arrays)) == "finite"


@pytest.mark.parametrize(("mine", "theirs"), [(0.0, np.nan), (np.inf, -np.inf), (np.nan, np.inf)])
def test_a_number_where_keras_has_none_or_another_infinity_fails(mine, theirs):
    arrays, reference = right(), right()
    arrays[0][1][0, 0], reference[0][1][0, 0] = mine, theirs
    assert failing(judge(arrays, reference=reference)) == "finite"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_same_non_number_as_keras_passes(value):
    arrays = right()
    arrays[0][1][0, 0] = value
    assert failing(judge(arrays, reference=copy(arrays))) is None


def test_a_model_that_answers_nothing_but_nan_proves_nothing():
    arrays = [[mask, np.full_like(score, np.nan)] for mask, score in right()]
    parity = judge(arrays, reference=copy(arrays))
    assert failing(parity) == "finite" and "nothing to compare" in parity.gates[1].detail


# --- tensor


def swapped_classes(mask):
    return mask[..., [1, 0, 2]]


def scaled_filter(mask):
    mask[..., 1] *= 1.02
    return mask


def shifted_by_one(mask):
    return np.roll(mask, 1, axis=2)


@pytest.mark.parametrize("fault", [swapped_classes, scaled_filter, shifted_by_one, np.zeros_like, lambda x: x * 1.001])
def test_conversion_faults_fail_on_the_tensor(fault):
    assert failing(judge([[fault(mask), score] for mask, score in right()])) == "tensor"


def test_a_fault_in_one_input_of_four_is_found():
    arrays = right(4)
    arrays[2][0] = shifted_by_one(arrays[2][0])
    assert failing(judge(arrays, reference=right(4))) == "tensor"


def test_the_same_answer_for_every_input_is_stale_and_fails():
    first = right()[0]
    assert failing(judge([first, first, first])) == "tensor"


def test_answers_to_the_wrong_inputs_fail():
    arrays = right()
    assert failing(judge([arrays[1], arrays[2], arrays[0]])) == "tensor"


def test_outputs_of_one_shape_that_trade_places_fail():
    specs = (TensorSpec("a", (1, 50), "float32"), TensorSpec("b", (1, 50), "float32"))
    random = np.random.default_rng(2)
    reference = [[random.normal(size=(1, 50)).astype("float32") for _ in range(2)]]
    assert failing(judge([reference[0][::-1]], specs, reference, specs)) == "tensor"


def test_rounding_passes_and_its_figures_are_kept():
    noise = np.random.default_rng(3)
    arrays = [[a * (1 + noise.normal(0, 1e-6, a.shape)).astype("float32") for a in one] for one in right()]
    parity = judge(arrays)
    assert failing(parity) is None and 0 < parity.outputs[0].typical < 1e-5
    assert "typical error" in parity.gates[2].detail


BIG = (TensorSpec("y", (1, 100, 100), "float32"),)


@pytest.mark.parametrize(("moved", "verdict"), [(9, None), (11, "tensor")])
def test_a_few_outliers_pass_and_more_than_one_in_a_thousand_fail(moved, verdict):
    reference = [[np.random.default_rng(4).uniform(0.5, 1, (1, 100, 100)).astype("float32")]]
    arrays = copy(reference)
    arrays[0][0].reshape(-1)[:moved] *= 0.9  # by less than any argmax needs
    parity = judge(arrays, BIG, reference, BIG)
    if verdict is None:
        assert parity.gates[2].verdict is Verdict.PASS and parity.outputs[0].outliers == pytest.approx(moved / 10_000)
    else:
        assert failing(parity) == verdict and "is off by over" in parity.gates[2].detail


def test_the_worst_value_is_located():
    arrays = right()
    arrays[2][0][0, 7, 9, 2] += 0.5
    worst = judge(arrays).outputs[0]
    assert worst.worst_index == (2, 0, 7, 9, 2) and worst.max_abs == pytest.approx(0.5)
    assert worst.worst_actual - worst.worst_reference == pytest.approx(0.5)


def test_a_reference_of_zeros_is_met_by_zeros_alone():
    zeros = [[np.zeros((1, 100, 100), "float32")]]
    assert failing(judge(copy(zeros), BIG, zeros, BIG)) is None
    arrays = copy(zeros)
    for wrong in (1e-3, 2e-38):
        arrays[0][0][0, 0, 0] = wrong
        assert failing(judge(arrays, BIG, zeros, BIG)) == "tensor"


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_what_a_processor_may_take_for_zero_is_as_good_as_zero(dtype):
    spec = (TensorSpec("y", (1, 100), dtype),)
    zeros = [[np.zeros((1, 100), dtype)]]
    tiny = [[np.full((1, 100), np.finfo(dtype).smallest_subnormal)]]
    parity = judge(tiny, spec, zeros, spec)
    assert failing(parity) is None and parity.outputs[0].typical == 0 and parity.outputs[0].outliers == 0


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool"])
def test_integer_outputs_are_compared_too(dtype):
    spec = (TensorSpec("ids", (1, 2000), dtype),)
    reference = [[np.random.default_rng(1).integers(0, 2, (1, 2000)).astype(dtype)]]
    assert failing(judge(copy(reference), spec, reference, spec)) is None
    assert failing(judge([[1 - reference[0][0].astype("int8")]], spec, reference, spec)) == "structure"
    wrong = [[(1 - reference[0][0].astype("int8")).astype(dtype)]]
    assert failing(judge(wrong, spec, reference, spec)) == "tensor"


@pytest.mark.parametrize("shape", [(1, 0), (1, 0, 5), (0,)])
def test_an_empty_output_is_no_fault(shape):
    spec = (TensorSpec("none", shape, "float32"),)
    empty = [[np.zeros(shape, "float32")]]
    parity = judge(empty, spec, empty, spec)
    assert failing(parity) is None and parity.outputs[0].argmax_flips is None and parity.outputs[0].typical == 0


def test_a_scalar_output_is_compared():
    spec = (TensorSpec("loss", (), "float32"),)
    reference = [[np.float32(2.0)]]
    reference = [[np.asarray(value) for value in one] for one in reference]
    assert failing(judge(copy(reference), spec, reference, spec)) is None
    assert failing(judge([[np.asarray(np.float32(2.1))]], spec, reference, spec)) == "tensor"


# --- argmax


LOGITS = (TensorSpec("logits", (1, 1000, 2), "float32"),)


def test_classes_that_change_fail_even_where_values_hardly_do():
    reference = [[np.full((1, 1000, 2), 1, "float32")]]
    reference[0][0][..., 0] += 4e-4
    arrays = copy(reference)
    arrays[0][0][0, :15, 0] -= 8e-4  # 1.5 % of positions, under 1 % of the values
    parity = judge(arrays, LOGITS, reference, LOGITS)
    assert failing(parity) == "argmax" and parity.outputs[0].argmax_flips == pytest.approx(0.015)


def test_near_ties_may_fall_either_way():
    """A network that has learned nothing: its classes are closer to each other than rounding."""
    reference = [[np.full((1, 1000, 2), 0.5, "float32")]]
    reference[0][0][..., 0] += 1e-5
    arrays = [[reference[0][0][..., ::-1].copy()]]
    parity = judge(arrays, LOGITS, reference, LOGITS)
    assert failing(parity) is None and parity.outputs[0].argmax_flips == 0


def test_without_classes_there_is_nothing_to_flip():
    spec = (TensorSpec("y", (1, 30, 1), "float32"),)
    one = [[np.ones((1, 30, 1), "float32")]]
    parity = judge(one, spec, one, spec)
    assert parity.gates[3].detail == "no output has classes" and parity.outputs[0].argmax_flips is None


# --- other precisions, and networks that multiply rounding


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_a_coarser_precision_is_allowed_its_own_rounding_and_no_more(precision):
    reference = [[np.random.default_rng(3).uniform(0.5, 1, (1, 50, 50)).astype("float32")]]
    spec = (TensorSpec("y", (1, 50, 50), "float32"),)
    limit = 0.7 * TOLERANCES[precision].typical
    answers, expected = Answers(spec, [[reference[0][0] * (1 + limit)]]), Answers(spec, reference)
    assert check(answers, expected, spec, "Keras").verdict is Verdict.FAIL
    assert check(answers, expected, spec, "Keras", TOLERANCES[precision]).verdict is Verdict.PASS
    worse = Answers(spec, [[reference[0][0] * (1 + 2 * limit)]])
    assert check(worse, expected, spec, "Keras", TOLERANCES[precision]).verdict is Verdict.FAIL


def test_a_network_that_multiplies_rounding_may_be_as_far_from_itself():
    reference = [[np.random.default_rng(3).uniform(0.5, 1, (1, 50, 50)).astype("float32")]]
    spec = (TensorSpec("y", (1, 50, 50), "float32"),)
    expected, moved = Answers(spec, reference), Answers(spec, [[reference[0][0] * 1.001]])
    for off, verdict in ((1.005, Verdict.PASS), (1.02, Verdict.FAIL)):
        found = check(Answers(spec, [[reference[0][0] * off]]), expected, spec, "Keras", rounding=moved)
        assert found.verdict is verdict
        assert check(Answers(spec, [[reference[0][0] * off]]), expected, spec, "Keras").verdict is Verdict.FAIL
    chaos = Answers(spec, [[reference[0][0] * 2]])
    assert check(Answers(spec, [[reference[0][0] * 1.5]]), expected, spec, "Keras", rounding=chaos).verdict is (
        Verdict.FAIL
    )


def test_indices_are_judged_by_the_share_that_differs_and_ties_by_rounding():
    spec = (TensorSpec("classes", (1, 100, 100), "int64"),)
    reference = [[np.random.default_rng(1).integers(1000, 1020, (1, 100, 100))]]
    for changed, verdict in ((10, None), (11, "tensor")):  # by one, of some thousand
        arrays = copy(reference)
        arrays[0][0].reshape(-1)[:changed] += 1
        parity = judge(arrays, spec, reference, spec)
        assert failing(parity) == verdict and parity.outputs[0].outliers == pytest.approx(changed / 10_000)
    moved = copy(reference)
    moved[0][0].reshape(-1)[-5:] += 1
    found = check(Answers(spec, arrays), Answers(spec, reference), spec, "Keras", rounding=Answers(spec, moved))
    assert found.verdict is Verdict.PASS


def test_text_is_the_same_or_it_is_not():
    spec = (TensorSpec("word", (1, 3), "string"),)
    reference = [[np.array([["one", "two", "many"]], "U4")], [np.array([["one", "two", "many"]], "U4")]]
    assert failing(judge(copy(reference), spec, reference, spec)) is None
    other = copy(reference)
    other[1][0][0, 1] = "x"
    assert failing(judge(other, spec, reference, spec)) == "tensor"

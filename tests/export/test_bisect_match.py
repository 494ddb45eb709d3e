"""When a tensor of the file is a value of Keras'."""

from __future__ import annotations

import numpy as np
import pytest

from keronyx.export.bisection.match import Layout, compare, layouts
from keronyx.types import Array

RANDOM = np.random.default_rng(0)
EXACT = RANDOM.normal(size=(1, 16, 24, 200))


def _rounded(exact: Array, ulps: float) -> Array:
    """What an evaluation in float32 gives that is off by so many rounding errors."""
    noise = np.random.default_rng(1).normal(size=exact.shape) * ulps * 2.0**-24
    return np.asarray(exact + noise, np.float32)


OWN = _rounded(EXACT, 2)


def test_another_evaluation_in_the_same_precision_is_the_value() -> None:
    found = compare(_rounded(EXACT, 6), EXACT, OWN, "float32")
    assert found.right and 1 < found.ratio < 4 and found.outliers == 0


def test_one_filter_of_two_hundred_that_is_off_by_two_percent_is_not() -> None:
    faulty = OWN.copy()
    faulty[..., 7] *= 1.02
    found = compare(faulty, EXACT, OWN, "float32")
    assert not found.right and 0.004 < found.outliers <= 0.005 and found.ratio > 1000


def test_a_row_of_pixels_at_the_border_is_not_overlooked() -> None:
    faulty = OWN.copy()
    faulty[:, 0] = 0
    assert not compare(faulty, EXACT, OWN, "float32").right


def test_few_values_that_flipped_are_no_departure_and_more_are() -> None:
    few, many = OWN.copy().reshape(-1), OWN.copy().reshape(-1)
    few[:5], many[:50] = 9.0, 9.0
    assert compare(few.reshape(OWN.shape), EXACT, OWN, "float32").right
    assert not compare(many.reshape(OWN.shape), EXACT, OWN, "float32").right


def test_what_flips_as_often_in_keras_itself_is_no_departure() -> None:
    own = OWN.copy().reshape(-1)
    own[100:150] = 9.0
    many = OWN.copy().reshape(-1)
    many[:50] = 9.0
    assert compare(many.reshape(OWN.shape), EXACT, own.reshape(OWN.shape), "float32").right


def test_nan_counts_as_off_unless_both_have_it() -> None:
    exact, own = EXACT.copy(), OWN.copy()
    exact[0, 0, 0], own[0, 0, 0] = np.nan, np.nan
    assert compare(own, exact, own, "float32").right
    assert not compare(OWN, exact, own, "float32").right
    assert not compare(own, EXACT, OWN, "float32").right


def test_whole_numbers_must_be_the_same() -> None:
    exact = np.arange(10_000)
    other = exact.copy()
    other[:2] += 1
    assert compare(exact.astype(np.int32), exact, exact, "int32").right
    assert not compare(other, exact, exact, "int32").right


@pytest.mark.parametrize("shape", [(2, 5, 3, 4), (2, 3, 4, 5), (60, 2)])
def test_a_layout_puts_the_value_where_the_file_has_it(shape: tuple[int, ...]) -> None:
    value = RANDOM.normal(size=(2, 3, 4, 5))
    wanted = {(2, 5, 3, 4): value.transpose(0, 3, 1, 2), (2, 3, 4, 5): value}.get(shape, value.reshape(60, 2))
    assert any(np.array_equal(layout.of(value), wanted) for layout in layouts(value.shape, shape))


def test_tensors_of_another_size_have_no_layout() -> None:
    assert list(layouts((2, 3), (2, 4))) == []
    assert next(layouts((2, 3), (3, 2))) == Layout((1, 0), (3, 2))

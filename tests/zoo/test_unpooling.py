"""Un-pooling against an oracle that walks the windows one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

Array = Any


def _oracle(x: Array, values: Array) -> tuple[Array, Array]:
    """Max-pool `x` 2x2 and put `values` where the maxima were; on a tie the first in reading order wins."""
    pooled, placed = np.zeros_like(values), np.zeros_like(x)
    for n, i, j, c in np.ndindex(values.shape):
        window = x[n, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c]
        row, column = divmod(int(window.argmax()), 2)
        pooled[n, i, j, c] = window[row, column]
        placed[n, 2 * i + row, 2 * j + column, c] = values[n, i, j, c]
    return pooled, placed


@pytest.fixture(scope="module")
def unpool() -> Any:
    """A model from the pooled tensor (6, 8, 5) and the values (3, 4, 5) to the maxima and the un-pooled values."""
    import keras

    from keronyx.zoo.unpooling import max_pool_2x2, max_unpool_2x2

    x, values = keras.Input((6, 8, 5)), keras.Input((3, 4, 5))
    maxima, mask = max_pool_2x2(x, "down")
    return keras.Model([x, values], [maxima, max_unpool_2x2(values, mask, "up")])


@pytest.mark.slow
@pytest.mark.parametrize("levels", [1, 2, 3, 1000])
def test_values_go_back_to_where_the_first_maximum_was(unpool: Any, levels: int) -> None:
    # Few levels mean many ties: with one level, every window is a tie of four.
    rng = np.random.default_rng(levels)
    x = rng.integers(-levels, 0, (2, 6, 8, 5)).astype(np.float32)
    values = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    maxima, placed = (np.asarray(output) for output in unpool([x, values]))
    expected_maxima, expected = _oracle(x, values)
    assert np.array_equal(maxima, expected_maxima)
    assert np.array_equal(placed, expected)


@pytest.mark.slow
def test_a_tie_gives_each_value_one_place_only(unpool: Any) -> None:
    # What an equality mask with the upsampled maxima gets wrong: it would fill all four places.
    _, placed = unpool([np.zeros((1, 6, 8, 5), np.float32), np.ones((1, 3, 4, 5), np.float32)])
    assert float(np.asarray(placed).sum()) == 3 * 4 * 5

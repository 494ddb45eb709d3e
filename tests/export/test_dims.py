"""Undefined dimensions: sizes as asked, names where they stay open."""

from __future__ import annotations

import pytest

from keronyx.errors import ExportError, UsageError
from keronyx.export.dims import Shape, batch_of, decided, input_dims, output_dims, parse, refuse_unknown
from keronyx.types import TensorSpec

IMAGE = TensorSpec("image", (None, None, None, 3), "float32")


def test_a_shape_is_sizes_and_names_with_x_or_commas_between() -> None:
    assert parse(["image=1x320x400x3"]) == {"image": Shape((1, 320, 400, 3))}
    assert parse(["a=b=batch,max_length:int32"]) == {"a=b": Shape(("batch", "max_length"), "int32")}
    assert parse(["x=1xheightx8"]) == {"x": Shape((1, "height", 8))}


@pytest.mark.parametrize("text", ["", "image", "=1x2", "image=", "image=0x3", "image=-1x3", "image=1x2:int33", "i=1xé"])
def test_a_shape_that_says_nothing_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse([text])
    assert "image=1x320x400x3" in str(refusal.value.remedy)


def test_what_is_asked_by_name_comes_before_the_batch() -> None:
    asked = {"image": Shape((4, 64, "width", 3))}
    assert decided("image", IMAGE.shape, 1, None, asked, False) == (4, 64, None, 3)


@pytest.mark.parametrize("dims", [(1, 64, 64, 4), (1, 64, 3), (1, 2, 3, 3, 3)])
def test_a_shape_the_model_does_not_take_is_refused(dims: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="takes \\?x\\?x\\?x3, not 1x"):
        decided("image", IMAGE.shape, 1, None, {"image": Shape(dims)}, True)


def test_open_sizes_stay_open_only_where_they_may() -> None:
    assert decided("image", IMAGE.shape, 2, None, {}, True) == (2, None, None, 3)
    with pytest.raises(UsageError, match="height and width open"):
        decided("image", IMAGE.shape, 1, None, {}, False)
    with pytest.raises(ExportError, match="undefined dimensions"):
        decided("signal", (None, None, 8), 1, None, {}, False)


def test_a_shape_for_an_input_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(UsageError) as refusal:
        refuse_unknown({"imgae": Shape((1,))}, ["image", "mask"])
    assert "'imgae'" in str(refusal.value) and "image, mask" in str(refusal.value.remedy)


@pytest.mark.parametrize("batch", [2, None])
def test_a_batch_and_a_shape_that_say_otherwise_are_refused(batch: int | None) -> None:
    with pytest.raises(UsageError, match=f"--batch {batch or 'dynamic'} and --shape y=3x8 contradict each other"):
        batch_of({"x": Shape((batch or "rows", 4)), "y": Shape((3, 8))}, batch, said=True)


@pytest.mark.parametrize(("first", "batch"), [(3, 3), ("rows", None)])
def test_a_batch_that_agrees_with_the_shapes_is_taken(first: int | str, batch: int | None) -> None:
    assert batch_of({"x": Shape((first, 4))}, batch, said=True) == batch
    assert batch_of({}, batch, said=True) == batch


def test_without_a_batch_the_other_inputs_have_that_of_the_shapes_unless_these_differ() -> None:
    assert batch_of({"x": Shape((3, 4))}, 1, said=False) == 3
    assert batch_of({"x": Shape(("rows", 4)), "y": Shape(("rows",))}, 1, said=False) is None
    assert batch_of({"x": Shape((3, 4)), "y": Shape((2, 4))}, 1, said=False) == 1
    assert batch_of({}, 1, said=False) == 1


def test_open_dimensions_are_called_by_their_axis() -> None:
    signal, words = TensorSpec("signal", (None, None, 8), "float32"), TensorSpec("words", (None, None), "int32")
    assert input_dims([IMAGE], {}) == [("batch", "height", "width", 3)]
    assert input_dims([signal, words], {}) == [("batch", "signal_length", 8), ("batch", "words_length")]
    assert input_dims([IMAGE], {"image": Shape((1, "h", "w", 3))})[0][1:3] == ("h", "w")


def test_an_output_that_is_as_large_as_an_input_says_so_and_another_has_names_of_its_own() -> None:
    same = TensorSpec("mask", (None, None, None, 2), "float32")
    halved = TensorSpec("small", (None, None, None, 2), "float32")

    def shapes_at(inputs: list[TensorSpec]) -> list[tuple[int | None, ...]]:
        batch, height, width, _ = inputs[0].shape
        assert height != width and height and width
        return [(batch, height, width, 2), (batch, height // 2, width // 2, 2)]

    assert output_dims([IMAGE], [same, halved], {}, shapes_at) == [  # type: ignore[arg-type]
        ("batch", "height", "width", 2),
        ("batch", "small_height", "small_width", 2),
    ]


def test_a_model_that_refuses_the_probed_sizes_still_gets_names() -> None:
    def shapes_at(_: object) -> list[tuple[int | None, ...]]:
        raise ValueError("not divisible by 7")

    mask = TensorSpec("mask", (None, None, None, 2), "float32")
    assert output_dims([IMAGE], [mask], {}, shapes_at) == [("batch", "mask_height", "mask_width", 2)]

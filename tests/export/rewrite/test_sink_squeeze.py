"""A Squeeze moves down through what follows, until an Unsqueeze ends it."""

import pytest

from keronyx.export.rewrite.sink_squeeze import SinkSqueeze

HEAD = "g (float[N,4,1,9] x) => (float[{out}] y) <int64[1] a = {{2}}, {constants}> {{\n s = Squeeze(x, a)\n"


def graph(body: str, out: str, constants: str = "int64[1] unused = {0}") -> str:
    return HEAD.format(out=out, constants=constants) + body + "\n}"


@pytest.mark.parametrize(
    ("body", "constants", "left"),
    [
        ("r = Relu(s)\n y = Unsqueeze(r, a)", "float zero = {0}", ["Relu"]),
        ("b = Add(s, c)\n r = Sigmoid(b)\n y = Unsqueeze(r, a)", "float[1,4,1] c = {1, 2, 3, 4}", ["Add", "Sigmoid"]),
        ("b = Mul(c, s)\n y = Unsqueeze(b, a)", "float[4,1] c = {1, 2, 3, 4}", ["Mul"]),
        ("b = Sub(c, s)\n y = Unsqueeze(b, a)", "float[9] c = {1, 2, 3, 4, 5, 6, 7, 8, 9}", ["Sub"]),
        ("b = Clip(s, low, high)\n y = Unsqueeze(b, a)", "float low = {-0.5}, float high = {0.5}", ["Clip"]),
        ("b = Softmax(s)\n y = Unsqueeze(b, a)", "float zero = {0}", ["Softmax"]),
        ("b = Softmax <axis = 1> (s)\n y = Unsqueeze(b, a)", "float zero = {0}", ["Softmax"]),
        ("b = Pad(s, p, z)\n y = Unsqueeze(b, a)", "int64[6] p = {0,1,2,0,0,3}, float z = {7}", ["Pad"]),
        ("t = Add(s, s)\n u = Concat <axis = 1> (t, s)\n y = Unsqueeze(u, a)", "float zero = {0}", ["Add", "Concat"]),
    ],
)
def test_nothing_is_left_of_the_squeeze_before_an_unsqueeze(passed, body, constants, left):
    assert passed(graph(body, "N,C,H,W", constants), SinkSqueeze()) == left


def test_the_other_input_gets_an_unsqueeze(passed):
    body = "t = Relu(s)\n m = ReduceMean <keepdims = 1> (s, l)\n e = Exp(m)\n b = Mul(e, t)\n y = Unsqueeze(b, a)"
    left = passed(graph(body, "N,4,1,9", "int64[1] l = {2}"), SinkSqueeze())
    assert sorted(left) == ["Exp", "Mul", "ReduceMean", "Relu"]


def test_an_input_without_the_batch_is_unsqueezed_where_its_axes_are(passed):
    text = "g (float[N,4,1,9] x, float[4,9] z) => (float[N,4,1,9] y) <int64[1] a = {2}> {\n"
    left = passed(text + "s = Squeeze(x, a)\n b = Add(s, z)\n y = Unsqueeze(b, a)\n}", SinkSqueeze())
    assert sorted(left) == ["Add", "Unsqueeze"]


@pytest.mark.parametrize(("axis", "keep", "out"), [(1, 0, "N,9"), (2, 0, "N,4"), (-1, 1, "N,4,1"), (1, 1, "N,1,9")])
def test_reductions_take_the_axis_that_was_theirs(passed, axis, keep, out):
    body = f"y = ReduceMax <keepdims = {keep}> (s, l)"
    assert passed(graph(body, out, f"int64[1] l = {{{axis}}}"), SinkSqueeze()) == ["ReduceMax", "Squeeze"]


def test_to_channels_last_and_back_is_two_transposes_of_four_axes(passed):
    body = "t = Transpose <perm = [0, 2, 1]> (s)\n u = Unsqueeze(t, one)\n y = Transpose <perm = [0, 3, 1, 2]> (u)"
    assert passed(graph(body, "N,4,1,9", "int64[1] one = {1}"), SinkSqueeze()) == ["Transpose", "Transpose"]


def test_another_transpose_keeps_the_axis_in_its_place(passed):
    body = "t = Transpose <perm = [2, 0, 1]> (s)\n y = Relu(t)"
    assert passed(graph(body, "9,N,4"), SinkSqueeze()) == ["Transpose", "Relu", "Squeeze"]


def test_a_reshape_reads_what_was_squeezed(passed):
    assert passed(graph("y = Reshape(s, t)", "N,36", "int64[2] t = {0, -1}"), SinkSqueeze()) == ["Reshape"]


def test_a_reshape_that_copies_a_size_from_behind_the_axis_stays(passed):
    left = passed(graph("y = Reshape(s, t)", "N,4,9,1", "int64[4] t = {0, 0, 0, 1}"), SinkSqueeze())
    assert left == ["Squeeze", "Reshape"]


def test_a_squeeze_with_another_reader_stays_for_that_one(passed):
    body = "r = Relu(s)\n u = Unsqueeze(r, a)\n f = Flatten(s)\n g = Flatten(u)\n y = Concat <axis = 1> (f, g)"
    left = passed(graph(body, "N,72"), SinkSqueeze())
    assert sorted(left) == ["Concat", "Flatten", "Flatten", "Relu", "Squeeze"]


def test_an_unsqueeze_of_another_axis_stays(passed):
    left = passed(graph("r = Relu(s)\n y = Unsqueeze(r, one)", "N,1,4,9", "int64[1] one = {1}"), SinkSqueeze())
    assert left == ["Relu", "Squeeze", "Unsqueeze"]


def test_an_output_keeps_its_name_and_its_three_axes(passed):
    assert passed(graph("y = Relu(s)", "N,4,9"), SinkSqueeze()) == ["Relu", "Squeeze"]


def test_axes_that_are_computed_are_left_alone(passed):
    body = "two = Add(one, one)\n q = Squeeze(x, two)\n r = Relu(q)\n y = Add(r, q)"
    text = f"g (float[N,4,1,9] x) => (float[N,4,9] y) <int64[1] one = {{1}}> {{ {body} }}"
    assert passed(text, SinkSqueeze()) == ["Add", "Squeeze", "Relu", "Add"]

"""What hands on what it gets is dropped."""

import pytest

from keronyx.export.rewrite.drop_no_ops import DropNoOps

GRAPH = """g (float[{shape}] x) => (float[{shape}] y)
    <int64[3] t = {{{target}}}, int64[6] p = {{{pads}}}> {{ r = Relu(x)\n {middle}\n y = Abs(n)\n }}"""


def graph(middle: str, shape: str = "2,4,5", target: str = "2, 4, 5", pads: str = "0, 0, 0, 0, 0, 0") -> str:
    return GRAPH.format(shape=shape, target=target, pads=pads, middle=middle)


@pytest.mark.parametrize(
    "text",
    [
        graph("n = Reshape(r, t)"),
        graph("n = Reshape(r, t)", target="0, -1, 5"),
        graph("n = Reshape(r, t)", shape="N,4,5", target="-1, 4, 5"),
        graph("n = Cast<to=1>(r)"),
        graph("n = Pad(r, p)"),
        graph("n = Concat<axis=1>(r)"),
        graph("n = Identity(r)"),
        graph("n = Mul(r, r)\n u = Relu(r)\n v = Mul(u, r)").replace("Mul(r, r)", "Identity(r)"),
    ],
)
def test_what_does_nothing_goes(passed, text):
    assert passed(text, DropNoOps()) == ["Relu", "Abs"]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (graph("m = Transpose<perm=[0,2,1]>(r)\n n = Reshape(m, t)"), ["Transpose", "Reshape"]),
        (graph("d = Cast<to=11>(r)\n n = Cast<to=1>(d)"), ["Cast", "Cast"]),
        (
            graph("q = Pad(r, p)\n n = ReduceMax(q, one)", pads="0, 0, 0, 0, 0, 1")
            .replace("int64[3] t", "int64[1] one = {2}, int64[3] t")
            .replace("[2,4,5] y", "[2,4,1] y"),
            ["Pad", "ReduceMax"],
        ),
    ],
)
def test_what_does_something_stays(passed, text, kept):
    assert passed(text, DropNoOps()) == ["Relu", *kept, "Abs"]


def test_a_size_that_varies_is_not_taken_for_the_one_asked_for(passed):
    text = (
        "g (float[N,4] x) => (float[3,4] y) <int64[2] t = {3, -1}> { r = Relu(x)\n n = Reshape(r, t)\n y = Abs(n)\n }"
    )
    assert passed(text, DropNoOps()) == ["Relu", "Reshape", "Abs"]


def test_the_same_twice_is_computed_once(passed):
    text = (
        "g (float[2,3] x) => (float[2,3] y) { a = Relu(x)\n b = Relu(x)\n c = Abs(a)\n d = Exp(b)\n y = Add(c, d)\n }"
    )
    assert passed(text, DropNoOps()) == ["Relu", "Abs", "Exp", "Add"]


def test_a_no_op_that_makes_an_output_keeps_its_name(passed):
    text = "g (float[2,3] x) => (float[2,3] y) { y = Cast<to=1>(x)\n }"
    assert passed(text, DropNoOps()) == ["Cast"]


@pytest.mark.parametrize("middle", ["y = Identity(a)", "y = Cast<to=1>(a)"])
def test_the_tensor_before_takes_the_name_of_an_output(passed, middle):
    text = f"g (float[2,3] x) => (float[2,3] y, float[2,3] z) {{ a = Relu(x)\n {middle}\n z = Abs(a)\n }}"
    assert passed(text, DropNoOps()) == ["Relu", "Abs"]


def test_an_output_returned_twice_keeps_both_names(passed):
    text = "g (float[2,3] x) => (float[2,3] y, float[2,3] z) { y = Relu(x)\n z = Identity(y)\n }"
    assert passed(text, DropNoOps()) == ["Relu", "Identity"]

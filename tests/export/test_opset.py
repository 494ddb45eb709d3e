"""Operator sets 15 to 24 from a model written in 18. ONNX Runtime gives the answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import parser, version_converter

from keronyx.errors import ExportError, UsageError
from keronyx.export.layers import LAYER
from keronyx.export.opset import NEWEST, OLDEST, at_opset, bodies

X = np.random.default_rng(0).normal(size=(2, 4, 6)).astype(np.float32)

USUAL = """
usual (float[2, 4, 6] x, bool[1] choice)
   => (float[4, 1, 6] pads, float[2, 2, 6] half, float[2, 4, 6] same, float[2, 4, 12] big, float[2, 4, 1] branch) <
   int64[1] last = {2}, int64[6] ends = {1, 0, 0, 1, 0, 0}, int64[2, 1] rows = {1, 0}, float[1] slope = {0.25},
   float[6] scale = {1, 2, 3, 4, 5, 6}, float[6] bias = {0.5, 0, 0, 0, 0, 1}, float[3] sizes = {1, 1, 2},
   float zero = {0}
> {
   padded = Pad <mode = "constant"> (x, ends, zero)
   middle = Constant <value = int64[1] {1}> ()
   pads = ReduceMax <keepdims = 1> (padded, middle)
   half, other = Split <axis = 1, num_outputs = 2> (x)
   low = ReduceMin <keepdims = 1, noop_with_empty_axes = 0> (x)
   mean = ReduceMean <keepdims = 1> (x, last)
   centred = Sub (x, mean)
   norm = LayerNormalization <axis = -1, epsilon = 0.001> (centred, scale, bias)
   turned = ScatterND <reduction = "none"> (norm, rows, norm)
   positive = Greater (turned, low)
   sloped = PRelu (turned, slope)
   smooth = Mish (sloped)
   same = Where (positive, smooth, x)
   big = Resize <mode = "nearest", antialias = 0, keep_aspect_ratio_policy = "stretch"> (x, , sizes)
   branch = If (choice) <
      then_branch = yes () => (float[2, 4, 1] chosen) { chosen = ReduceMean <keepdims = 1> (x, last) },
      else_branch = no () => (float[2, 4, 1] chosen) { chosen = ReduceSum <keepdims = 1> (x, last) }
   >
}"""


def model(text: str, opset: int = 18) -> onnx.ModelProto:
    """A model from its text, every node labelled with the layer `at/<operator>`."""
    graph = parser.parse_graph(text)
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)
    made.producer_name = "keronyx"
    onnx.helper.set_model_props(made, {"keronyx.content_hash": "4711"})
    for index, node in enumerate(nodes(made.graph)):
        node.name = f"node_{index}"
        node.metadata_props.add(key=LAYER, value=f"at/{node.op_type}")
    return made


def nodes(graph: Any) -> list[Any]:
    found = list(graph.node)
    for node in graph.node:
        for inner in bodies(node):
            found += nodes(inner)
    return found


def answers(proto: onnx.ModelProto, **feeds: Any) -> list[Any]:
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def opset_of(proto: onnx.ModelProto) -> int:
    return int(proto.opset_import[0].version)


@pytest.mark.parametrize("opset", range(OLDEST, NEWEST + 1))
def test_every_operator_set_gives_the_answers_of_18(opset: int) -> None:
    expected = [answers(model(USUAL), x=X, choice=np.array([choice])) for choice in (True, False)]
    changed = at_opset(model(USUAL), opset)
    assert opset_of(changed) == opset
    for choice, wanted in zip((True, False), expected, strict=True):
        for one, other in zip(wanted, answers(changed, x=X, choice=np.array([choice])), strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-5)
    assert all(node.name and node.metadata_props[0].value.startswith("at/") for node in nodes(changed.graph))
    assert changed.producer_name == "keronyx" and changed.metadata_props[0].value == "4711"
    assert changed.ir_version == {15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11, 24: 12}[opset]


@pytest.mark.parametrize("opset", range(19, NEWEST + 1))
def test_upwards_nodes_are_those_of_the_standards_own_converter(opset: int) -> None:
    def said(proto: onnx.ModelProto) -> list[Any]:
        return [
            (n.op_type, list(n.input), list(n.output), sorted(a.name for a in n.attribute)) for n in proto.graph.node
        ]

    theirs = version_converter.convert_version(model(USUAL), opset)
    assert said(at_opset(model(USUAL), opset)) == said(theirs)


def test_older_sets_are_told_in_their_own_words() -> None:
    changed = at_opset(model(USUAL), 16)
    kinds = {node.op_type for node in nodes(changed.graph)}
    assert not kinds & {"LayerNormalization", "Mish"}
    reduced = {node.output[0]: node for node in changed.graph.node}["pads"]
    assert len(reduced.input) == 1
    assert [list(a.ints) for a in reduced.attribute if a.name == "axes"] == [[1]]
    written_out = [n for n in changed.graph.node if n.metadata_props[0].value == "at/LayerNormalization"]
    assert len(written_out) > 5, "its parts carry its layer"
    assert len({node.name for node in nodes(changed.graph)}) == len(nodes(changed.graph))


def test_axes_only_reductions_read_are_dropped_and_others_kept() -> None:
    changed = at_opset(model(USUAL), 17)
    constants = {tensor.name for tensor in changed.graph.initializer}
    assert "last" in constants, "ReduceSum takes its axes as a tensor since 13"
    assert not [node for node in changed.graph.node if node.op_type == "Constant"]


def test_weights_are_neither_read_nor_copied() -> None:
    """A matrix of 4 TiB that is nowhere: anything that serialises the model or touches its weights fails."""
    made = model("big (float[1, 1048576] x) => (float[1, 1048576] y) { y = MatMul (x, w) }")
    weight = made.graph.initializer.add(name="w", data_type=onnx.TensorProto.FLOAT, dims=[1048576, 1048576])
    weight.data_location = onnx.TensorProto.EXTERNAL
    before = weight.SerializeToString()
    for opset in (15, 24):
        assert opset_of(at_opset(made, opset)) == opset
        assert made.graph.initializer[0].SerializeToString() == before


@pytest.mark.parametrize(
    ("body", "opset", "said"),
    [
        ("y = Pad (x, ends, , last)", 17, "operator set 17 has no Pad with axes (layer at/Pad)"),
        ("axes = Cast <to = 7> (size) y = ReduceMean (x, axes)", 17, "no ReduceMean over axes that are computed"),
        ("y = ReduceProd <noop_with_empty_axes = 1> (x)", 15, "no ReduceProd over axes"),
        ('y = ScatterND <reduction = "max"> (x, rows, x)', 17, "no ScatterND with reduction max or min"),
        ("i = Cast <to = 6> (x) j = BitwiseNot (i) y = Cast <to = 1> (j)", 15, "no BitwiseNot (layer at/BitwiseNot)"),
        ('y = Resize <antialias = 1, mode = "linear"> (x, , sizes)', 17, "no Resize with antialias"),
        ("y = GridSample (x, x)", 20, "no GridSample as it was defined before"),
        ("y = RoiAlign (x, x, rows)", 15, "no RoiAlign as it is defined since"),
    ],
)
def test_what_a_set_cannot_say_is_refused_by_operator_and_layer(body: str, opset: int, said: str) -> None:
    constants = "int64[2] ends = {1, 1}, int64[1] last = {2}, int64[2, 1] rows = {1, 0}, float[3] sizes = {1, 1, 2}"
    made = model(f"one (float[2, 4, 6] x, float[1] size) => (float[2, 4, 6] y) <{constants}> {{ {body} }}")
    before = made.SerializeToString(deterministic=True)
    with pytest.raises(ExportError) as refused:
        at_opset(made, opset)
    assert said in refused.value.message and refused.value.remedy == "leave --opset at 18"
    assert made.SerializeToString(deterministic=True) == before


def test_a_refusal_inside_a_branch_is_named_and_changes_nothing() -> None:
    made = model(
        USUAL.replace(
            "chosen = ReduceSum <keepdims = 1> (x, last)",
            "a = Bernoulli (x) chosen = ReduceSum <keepdims = 1> (a, last)",
        )
    )
    inner = bodies(next(node for node in made.graph.node if node.op_type == "If"))[1].node[0]
    inner.op_type, inner.metadata_props[0].value = "Col2Im", "encoder/unfold"
    before = made.SerializeToString(deterministic=True)
    with pytest.raises(ExportError, match=r"has no Col2Im \(layer encoder/unfold\)"):
        at_opset(made, 17)
    assert made.SerializeToString(deterministic=True) == before


def test_an_input_that_is_left_out_needs_no_place() -> None:
    made = model("one (float[2] x) => (float[4] y) <int64[2] ends = {1, 1}> { y = Pad (x, ends) }")
    made.graph.node[0].input.extend(["", ""])
    changed = at_opset(made, 17)
    assert list(changed.graph.node[0].input) == ["x", "ends"]
    assert answers(changed, x=np.ones(2, np.float32))[0].tolist() == [0, 1, 1, 0]


def test_an_operator_is_written_out_each_time_it_occurs() -> None:
    text = "two (float[3] x) => (float[3] y) { a = Mish (x) y = Mish (a) }"
    x = np.linspace(-1, 1, 3, dtype=np.float32)
    expected = answers(model(text), x=x)[0]
    np.testing.assert_allclose(answers(at_opset(model(text), 15), x=x)[0], expected, rtol=1e-5)


def test_operators_of_other_domains_stay() -> None:
    made = model('other (float[2] x) => (float[2] y) { y = com.example.Own <kind = "a"> (x) }')
    node = made.graph.node[0]
    node.op_type, node.domain = "Own", "com.example"
    made.opset_import.append(onnx.helper.make_opsetid("com.example", 3))
    changed = at_opset(made, 15)
    assert changed.graph.node[0].domain == "com.example"
    assert [(entry.domain, entry.version) for entry in changed.opset_import] == [("", 15), ("com.example", 3)]


@pytest.mark.parametrize("opset", [14, 25])
def test_other_sets_cannot_be_asked_for(opset: int) -> None:
    with pytest.raises(UsageError, match=f"--opset must be between 15 and 24, not {opset}"):
        at_opset(model(USUAL), opset)


@pytest.mark.slow
def test_a_converted_keras_model_answers_as_keras_in_the_oldest_and_newest_set(
    to_onnx: Callable[..., Any], comparison: Any, tmp_path: Path
) -> None:
    import keras

    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(image)
    x = keras.layers.UpSampling2D(2)(keras.layers.LayerNormalization()(x))
    x = keras.layers.Dense(3, activation="softmax")(keras.layers.GlobalMaxPooling2D()(keras.layers.PReLU()(x)))
    network = keras.Model(image, x)
    path, spec, _ = to_onnx(network)
    inputs = comparison.feeds(spec.inputs, 1)
    for opset in (OLDEST, NEWEST):
        changed = tmp_path / f"at_{opset}.onnx"
        onnx.save(at_opset(onnx.load(path), opset), changed)
        comparison.assert_same(comparison.keras_answers(network, inputs), comparison.run_onnx(changed, spec, inputs))

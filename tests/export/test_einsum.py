"""Einsum and attention: one MatMul a product, no shapes computed while the model runs, Keras' answers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SIZES = {"b": 2, "h": 3, "i": 4, "j": 5, "k": 6, "l": 7}


def _einsum(equation: str) -> Any:
    """A model of two inputs, whose first dimension is the batch."""
    import keras
    import tensorflow as tf

    class Einsum(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any, y: Any) -> Any:
            return tf.einsum(equation, x, y)

    sides = equation.split("->")[0].replace("...", "bh").split(",")
    inputs = [keras.Input([SIZES[c] for c in side[1:]], name=f"x{n}") for n, side in enumerate(sides)]
    return keras.Model(inputs, Einsum()(*inputs))


def _operators(path: Path) -> Counter[str]:
    import onnx

    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.parametrize("batch", [1, None])
@pytest.mark.parametrize(
    "equation",
    [
        "bij,bkj->bik",
        "bij,bjk->bki",
        "bihj,bkhj->bhik",
        "bhik,bkhj->bihj",
        "...ij,...kj->...ik",
        "bhij,bjk->bhik",
        "bhij,bkj->bhik",
        "bij,bj->bi",
        "bij,bij->b",
        "bij,bhij->bh",
        "bhij,bijk->bhk",
    ],
)
def test_a_product_of_two_is_one_matmul(equation: str, batch: int | None, to_onnx: Any) -> None:
    path, *_ = to_onnx(_einsum(equation), batch)
    made = _operators(path)
    assert made["MatMul"] == 1 and set(made) <= {"MatMul", "Transpose", "Reshape"}


@pytest.mark.parametrize("equation", ["bij,bij->bij", "bij,bik->bijk", "bij,bjk->bi"])
def test_other_equations_are_converted_as_before(equation: str, to_onnx: Any) -> None:
    path, *_ = to_onnx(_einsum(equation), None)
    assert sum(_operators(path).values()) > 0


@pytest.mark.parametrize(
    ("equation", "shape", "output"),
    [("abc,cd->abd", (4, 5), (None, 6)), ("abc,cde->abde", (4, 5), (None, 2, 3)), ("...x,xy->...y", (4, 5), (4, 6))],
)
def test_einsum_dense_is_a_matmul(equation: str, shape: Any, output: Any, to_onnx: Any) -> None:
    import keras

    x = keras.Input(shape, name="x")
    model = keras.Model(x, keras.layers.EinsumDense(equation, output)(x))
    made = _operators(to_onnx(model, None)[0])
    assert made["MatMul"] == 1 and set(made) <= {"MatMul", "Reshape"}


@pytest.mark.parametrize("batch", [1, None])
def test_attention_is_six_matmuls_and_a_softmax(batch: int | None, to_onnx: Any) -> None:
    import keras

    x = keras.Input((7, 8), name="x")
    path, *_ = to_onnx(keras.Model(x, keras.layers.MultiHeadAttention(2, 3)(x, x)), batch)
    assert _operators(path) == {"MatMul": 6, "Reshape": 4, "Transpose": 4, "Add": 4, "Mul": 1, "Softmax": 1}


@pytest.mark.parametrize("mask", ["causal", "given", "padding"])
def test_masked_attention_is_converted(mask: str, to_onnx: Any) -> None:
    import keras

    attention = keras.layers.MultiHeadAttention(2, 3)
    x = keras.Input((7, 8) if mask != "padding" else (7,), name="x", dtype="int32" if mask == "padding" else None)
    if mask == "given":
        m = keras.Input((7, 7), name="m", dtype="bool")
        model = keras.Model([x, m], attention(x, x, attention_mask=m))
    else:
        values = keras.layers.Embedding(4, 8, mask_zero=True)(x) if mask == "padding" else x
        model = keras.Model(x, attention(values, values, use_causal_mask=mask == "causal"))
    path, *_ = to_onnx(model, None)
    assert _operators(path)["MatMul"] == 6


@pytest.mark.parametrize("kind", ["GroupQueryAttention", "Attention", "AdditiveAttention"])
def test_other_attentions_are_converted(kind: str, to_onnx: Any) -> None:
    import keras

    x, y = keras.Input((7, 8), name="x"), keras.Input((5, 8), name="y")
    if kind == "GroupQueryAttention":
        model = keras.Model([x, y], keras.layers.GroupQueryAttention(3, 4, 2)(x, y))
    else:
        model = keras.Model([x, y], getattr(keras.layers, kind)()([x, y]))
    path, *_ = to_onnx(model, None)
    assert _operators(path)["Softmax"] == 1

"""Attention, embeddings and whole transformer blocks."""

from __future__ import annotations

from typing import Any

from benchmarks.families.building import network


def _block(x: Any, heads: int = 2, width: int = 16) -> Any:
    from keras import layers

    y = layers.LayerNormalization(epsilon=1e-6)(x)
    x = layers.Add()([x, layers.MultiHeadAttention(heads, width // heads)(y, y)])
    y = layers.Dense(2 * width, activation="gelu")(layers.LayerNormalization(epsilon=1e-6)(x))
    return layers.Add()([x, layers.Dropout(0.1)(layers.Dense(width)(y))])


@network()
def transformer_block() -> Any:
    from keras import Input, Model

    x = Input((10, 16), name="tokens")
    return Model(x, _block(_block(x)))


@network()
def vision_transformer() -> Any:
    from keras import Input, Model, layers, ops

    x = Input((16, 16, 3), name="image")
    y = layers.Reshape((16, 16))(layers.Conv2D(16, 4, strides=4)(x))
    y = y + layers.Embedding(16, 16, name="positions")(ops.arange(16))
    y = layers.LayerNormalization()(_block(_block(y)))
    return Model(x, layers.Dense(5, activation="softmax")(layers.GlobalAveragePooling1D()(y)))


@network()
def text_classifier() -> Any:
    """Embedded ids, masked attention."""
    from keras import Input, Model, layers

    ids = Input((12,), dtype="int32", name="ids")
    y = layers.Embedding(50, 16, mask_zero=True)(ids)
    return Model(ids, layers.Dense(3)(layers.GlobalAveragePooling1D()(_block(y))))


@network()
def causal_decoder() -> Any:
    from keras import Input, Model, layers

    ids = Input((9,), dtype="int64", name="ids")
    x = layers.Embedding(30, 16)(ids)
    y = layers.RMSNormalization()(x)
    x = layers.Add()([x, layers.MultiHeadAttention(4, 4)(y, y, use_causal_mask=True)])
    return Model(ids, layers.Dense(30, activation="log_softmax")(x))


@network()
def cross_attention() -> Any:
    from keras import Input, Model, layers

    query, memory, mask = Input((5, 8), name="query"), Input((9, 8), name="memory"), Input((5, 9), dtype="bool")
    attended, scores = layers.MultiHeadAttention(2, 4, value_dim=6)(
        query, memory, attention_mask=mask, return_attention_scores=True
    )
    return Model([query, memory, mask], [attended, scores])


@network()
def grouped_query_attention() -> Any:
    from keras import Input, Model, layers

    x = Input((7, 16), name="x")
    return Model(x, layers.GroupQueryAttention(head_dim=4, num_query_heads=4, num_key_value_heads=2)(x, x))


@network()
def dot_product_attention() -> Any:
    from keras import Input, Model, layers

    a, b = Input((6, 8), name="a"), Input((9, 8), name="b")
    return Model([a, b], [layers.Attention(use_scale=True)([a, b]), layers.AdditiveAttention()([a, b])])


@network("--batch", "dynamic")
def dynamic_batch_transformer() -> Any:
    from keras import Input, Model

    x = Input((10, 16), name="tokens")
    return Model(x, _block(x))


@network()
def open_length_transformer() -> Any:
    from keras import Input, Model

    x = Input((None, 16), name="tokens")
    return Model(x, _block(x))


@network()
def embedding_of_integers() -> Any:
    from keras import Input, Model, layers

    small, large = Input((4,), dtype="uint8", name="small"), Input((4,), dtype="int64", name="large")
    joined = layers.Concatenate()([layers.Embedding(256, 3)(small), layers.Embedding(40, 5)(large)])
    return Model([small, large], layers.Dense(2)(layers.Flatten()(joined)))


@network()
def tied_embedding() -> Any:
    from keras import Input, Model, layers

    ids = Input((6,), dtype="int32", name="ids")
    embedding = layers.ReversibleEmbedding(20, 8)
    return Model(ids, embedding(layers.Dense(8)(embedding(ids)), reverse=True))


@network()
def einsum_dense() -> Any:
    from keras import Input, Model, layers

    x = Input((5, 4, 6), name="x")
    return Model(x, layers.EinsumDense("abcd,cde->abce", output_shape=(5, 4, 7), bias_axes="ce")(x))

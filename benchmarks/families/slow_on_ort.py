"""Networks whose raw export is, or was, slower on ONNX Runtime's CPU than in TensorFlow's graph.

Each function returns a Keras model with random weights and all input dimensions but the batch fixed, unless its name
says otherwise. Keras is imported when they are called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def audio_conv1d(samples: int = 16000, width: int = 16) -> Any:
    """Convolutions, BatchNormalization, ReLU and pooling over a raw waveform; a dense head."""
    from keras import Input, Model, layers

    x = waveform = Input((samples, 1), name="waveform")
    for filters, kernel, strides in ((width, 64, 2), (width, 32, 2), (2 * width, 16, 2), (4 * width, 8, 2)):
        x = layers.Conv1D(filters, kernel, strides=strides, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
        x = layers.MaxPooling1D(2 if filters == width else 4)(x)
    x = layers.Conv1D(4 * width, 3, padding="same", activation="relu")(x)
    x = layers.GlobalAveragePooling1D()(x)
    return Model(waveform, layers.Dense(10, name="logits")(x), name="audio_conv1d")


def wide_conv1d(samples: int = 1024, width: int = 256) -> Any:
    """Pitch tracking: large kernels and many filters over a short frame."""
    from keras import Input, Model, layers

    x = frame = Input((samples, 1), name="frame")
    for filters, kernel, strides in ((width, 512, 4), (width // 4, 64, 1), (width // 4, 64, 1), (width // 2, 64, 1)):
        x = layers.Conv1D(filters, kernel, strides=strides, padding="same", activation="relu")(x)
        x = layers.BatchNormalization()(x)
        x = layers.MaxPooling1D(2)(x)
    x = layers.Flatten()(x)
    return Model(frame, layers.Dense(360, activation="sigmoid", name="pitch")(x), name="wide_conv1d")


def dilated_genomics(length: int | None = 5000, width: int = 32) -> Any:
    """Residual pre-activation blocks with dilations 1 to 512 over one-hot DNA; class of every base (splice sites)."""
    from keras import Input, Model, layers

    bases = Input((length, 4), name="bases")
    x = skip = layers.Conv1D(width, 1)(bases)
    skip = layers.Conv1D(width, 1)(skip)
    for dilation in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512):
        y = x
        for _ in range(2):
            y = layers.ReLU()(layers.BatchNormalization()(y))
            y = layers.Conv1D(width, 11, dilation_rate=dilation, padding="same")(y)
        x = layers.Add()([x, y])
    skip = layers.Add()([skip, layers.Conv1D(width, 1)(x)])
    return Model(bases, layers.Conv1D(3, 1, activation="softmax", name="classes")(skip), name="dilated_genomics")


def causal_dilated(length: int = 2048, width: int = 32) -> Any:
    """WaveNet: gated causal dilated convolutions with skip connections."""
    from keras import Input, Model, layers

    inputs = Input((length, 1), name="waveform")
    x = layers.Conv1D(width, 2, padding="causal")(inputs)
    skips = []
    for dilation in (1, 2, 4, 8, 16, 32, 64, 128):
        gate = layers.Conv1D(width, 2, dilation_rate=dilation, padding="causal", activation="sigmoid")(x)
        y = layers.Conv1D(width, 2, dilation_rate=dilation, padding="causal", activation="tanh")(x)
        y = layers.Multiply()([y, gate])
        skips.append(layers.Conv1D(width, 1)(y))
        x = layers.Add()([x, layers.Conv1D(width, 1)(y)])
    x = layers.ReLU()(layers.Add()(skips))
    return Model(inputs, layers.Conv1D(64, 1, activation="softmax", name="next")(x), name="causal_dilated")


def time_distributed_dense(steps: int = 188, features: int = 64) -> Any:
    """Dense layers applied step by step, then over time."""
    from keras import Input, Model, layers

    x = frames = Input((steps, features), name="frames")
    for width in (128, 128, 64):
        x = layers.TimeDistributed(layers.Dense(width, activation="relu"))(x)
    x = layers.Conv1D(32, 3, padding="same", activation="relu")(x)
    x = layers.TimeDistributed(layers.Dense(88, activation="sigmoid"), name="notes")(x)
    return Model(frames, x, name="time_distributed_dense")


def time_distributed_conv(steps: int = 16, size: int = 32) -> Any:
    """A small image network applied to every frame of a video, then an average over time."""
    from keras import Input, Model, Sequential, layers

    frames = Input((steps, size, size, 3), name="frames")
    encoder = Sequential(
        [
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
        ],
        name="encoder",
    )
    x = layers.TimeDistributed(encoder)(frames)
    x = layers.GlobalAveragePooling1D()(x)
    return Model(frames, layers.Dense(10, name="logits")(x), name="time_distributed_conv")


def lstm(steps: int = 100, features: int = 32) -> Any:
    """Bidirectional LSTM over a sequence, then an LSTM."""
    from keras import Input, Model, layers

    x = sequence = Input((steps, features), name="sequence")
    x = layers.Bidirectional(layers.LSTM(64, return_sequences=True))(x)
    x = layers.LSTM(64)(x)
    return Model(sequence, layers.Dense(10, name="logits")(x), name="lstm")


def gru(steps: int = 100, features: int = 32) -> Any:
    """Two GRUs; convolution before them."""
    from keras import Input, Model, layers

    x = sequence = Input((steps, features), name="sequence")
    x = layers.Conv1D(64, 5, padding="same", activation="relu")(x)
    x = layers.GRU(64, return_sequences=True)(x)
    x = layers.GRU(64)(x)
    return Model(sequence, layers.Dense(10, name="logits")(x), name="gru")


def transformer(length: int = 128, width: int = 128, blocks: int = 3) -> Any:
    """Token and position embeddings, pre-norm blocks with GELU."""
    import keras
    from keras import Input, Model, layers

    tokens = Input((length,), dtype="int32", name="tokens")
    x = layers.Embedding(1000, width)(tokens)
    x = x + layers.Embedding(length, width)(keras.ops.arange(length))
    for _ in range(blocks):
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        x = x + layers.MultiHeadAttention(4, width // 4)(y, y)
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        y = layers.Dense(4 * width, activation="gelu")(y)
        x = x + layers.Dense(width)(y)
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization(epsilon=1e-6)(x))
    return Model(tokens, layers.Dense(10, name="logits")(x), name="transformer")


def separable_conv1d(samples: int = 4000, width: int = 64) -> Any:
    """Separable 1-D convolutions with squeeze-and-excitation and average pooling."""
    from keras import Input, Model, layers

    x = signal = Input((samples, 4), name="signal")
    for _ in range(3):
        x = layers.SeparableConv1D(width, 9, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.Activation("swish")(x)
        squeezed = layers.GlobalAveragePooling1D(keepdims=True)(x)
        squeezed = layers.Conv1D(width // 4, 1, activation="relu")(squeezed)
        x = layers.Multiply()([x, layers.Conv1D(width, 1, activation="sigmoid")(squeezed)])
        x = layers.AveragePooling1D(2)(x)
    x = layers.GlobalMaxPooling1D()(x)
    return Model(signal, layers.Dense(10, name="logits")(x), name="separable_conv1d")


def unet_1d(samples: int = 4096, width: int = 16) -> Any:
    """Encoder and decoder over a signal, with skip connections."""
    from keras import Input, Model, layers

    x = signal = Input((samples, 2), name="signal")
    skips = []
    for level in range(4):
        x = layers.Conv1D(width << level, 9, padding="same", activation="relu")(x)
        skips.append(x)
        x = layers.MaxPooling1D(2)(x)
    x = layers.Conv1D(width << 4, 9, padding="same", activation="relu")(x)
    for level in (3, 2, 1, 0):
        x = layers.Concatenate()([layers.UpSampling1D(2)(x), skips[level]])
        x = layers.Conv1D(width << level, 9, padding="same", activation="relu")(x)
    return Model(signal, layers.Conv1D(1, 1, activation="sigmoid", name="mask")(x), name="unet_1d")


def application(name: str, size: int | None = None) -> Any:
    """A network of keras.applications with random weights, at its own image size unless told."""
    import keras

    build = getattr(keras.applications, name)
    small = name.startswith("MobileNetV3")  # leaves its image size open unless told
    size = size or (224 if small else None)
    return build(weights=None, **({"input_shape": (size, size, 3)} if size else {}))


APPLICATIONS = (
    *("MobileNetV2", "MobileNetV3Small", "MobileNetV3Large", "EfficientNetB0", "EfficientNetV2B0", "DenseNet121"),
    *("ResNet50", "ResNet50V2", "InceptionV3", "Xception", "NASNetMobile", "ConvNeXtTiny", "VGG16"),
)

SMALL: tuple[Callable[[], Any], ...] = (
    audio_conv1d,
    wide_conv1d,
    dilated_genomics,
    causal_dilated,
    time_distributed_dense,
    time_distributed_conv,
    lstm,
    gru,
    transformer,
    separable_conv1d,
    unet_1d,
)
"""Those that convert and run in seconds."""

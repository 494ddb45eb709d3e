"""Convolutions without the XLA function Keras wraps grouped and channels-first 3D ones in.

Their kernels are missing from TensorFlow on CPU, so Keras compiles them; tf2onnx converts the operator itself, but no
compiled function (onnx/tensorflow-onnx #2099). Nothing is computed while tracing. It knows no groups in 3D: there each
group is a convolution of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from keronyx.export.substitutions import Substitution
from keronyx.recast import replaced


@contextmanager
def _scope() -> Iterator[None]:
    import tensorflow as tf
    from keras.src import backend
    from keras.src.backend.tensorflow import nn

    def conv(
        inputs: Any,
        kernel: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
    ) -> Any:
        layout = nn._convert_data_format(backend.standardize_data_format(data_format), len(inputs.shape))
        channels = 1 if layout.startswith("NC") else -1
        groups = inputs.shape[channels] // kernel.shape[-2]

        def convolve(x: Any, k: Any) -> Any:
            return tf.nn.convolution(x, k, strides, padding.upper(), data_format=layout, dilations=dilation_rate)

        if groups == 1 or len(inputs.shape) < 5:
            return convolve(inputs, kernel)
        parts = zip(tf.split(inputs, groups, channels), tf.split(kernel, groups, -1), strict=True)
        return tf.concat([convolve(x, k) for x, k in parts], channels)

    with replaced(nn, "conv", conv):
        yield


SUBSTITUTION = Substitution("grouped convolution", "onnx/tensorflow-onnx #2099", _scope)

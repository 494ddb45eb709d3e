"""Transposed convolutions that are longer than their input and kernel make them: the rest is padded with zeros.

tf2onnx writes the missing length as negative pads, which the ONNX standard forbids (`output_padding` of a valid
convolution, or a kernel shorter than its stride). One over sequences is one over images of one row, whose output shape
stays a constant when the batch is open.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from keronyx.export.substitutions import Substitution, replaced


@contextmanager
def _scope() -> Iterator[None]:
    import tensorflow as tf

    original = tf.nn.conv_transpose

    def conv_transpose(
        input: Any,
        filters: Any,
        output_shape: Any,
        strides: Any,
        padding: str = "SAME",
        data_format: str | None = None,
        dilations: Any = None,
        name: str | None = None,
    ) -> Any:
        def made(shape: Any) -> Any:
            if data_format == "NWC" and isinstance(shape, list):
                rows = original(
                    tf.expand_dims(input, 1),
                    tf.expand_dims(filters, 0),
                    [shape[0], 1, *shape[1:]],
                    [1, *_each(strides, 1)],
                    padding,
                    "NHWC",
                    [1, *_each(dilations or 1, 1)],
                    name,
                )
                return tf.squeeze(rows, [1])
            return original(input, filters, shape, strides, padding, data_format, dilations, name)

        if not isinstance(output_shape, (list, tuple)):
            return made(output_shape)
        first = 2 if (data_format or "").startswith("NC") else 1
        spatial = slice(first, first + len(filters.shape) - 2)
        wanted, given = list(output_shape)[spatial], list(input.shape)[spatial]
        if not all(isinstance(size, int) for size in [*wanted, *given]):
            return made(output_shape)
        steps, rates = (_each(v, len(given)) for v in (strides, dilations or 1))
        natural = [
            (size - 1) * step + (kernel - 1) * rate + 1
            for size, step, kernel, rate in zip(given, steps, list(filters.shape)[:-2], rates, strict=True)
        ]
        missing = [max(0, size - reached) for size, reached in zip(wanted, natural, strict=True)]
        if not any(missing):
            return made(output_shape)
        shorter = list(output_shape)
        shorter[spatial] = [size - rest for size, rest in zip(wanted, missing, strict=True)]
        pads = [[0, 0] for _ in shorter]
        pads[spatial] = [[0, rest] for rest in missing]
        return tf.pad(made(shorter), pads)

    with replaced(tf.nn, "conv_transpose", conv_transpose):
        yield


def _each(value: Any, count: int) -> list[int]:
    return [int(v) for v in value] if isinstance(value, Sequence) else [int(value)] * count


SUBSTITUTION = Substitution("conv transpose", "pads below zero where output_padding makes an output longer", _scope)

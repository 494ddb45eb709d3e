"""Transposed convolutions tell how much longer their full output is than the wanted one, whatever their input's size.

Where that is open, the traced graph only has the arithmetic that gives the output's size when the model runs; from
Keras' options it is a constant (`operators/conv_transpose.py` makes pads of it).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from keronyx.export.operators.conv_transpose import HANDLERS, SURPLUS
from keronyx.export.substitutions import Substitution
from keronyx.recast import replaced


@contextmanager
def _scope() -> Iterator[None]:
    from keras.src.backend.common.backend_utils import compute_conv_transpose_output_shape
    from keras.src.backend.tensorflow import nn
    from tensorflow.core.framework.attr_value_pb2 import AttrValue

    original = nn.conv_transpose

    def conv_transpose(
        inputs: Any,
        kernel: Any,
        strides: Any = 1,
        padding: str = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = 1,
    ) -> Any:
        made = original(inputs, kernel, strides, padding, output_padding, data_format, dilation_rate)
        sizes = list(kernel.shape)[:-2]
        rates = [dilation_rate] * len(sizes) if isinstance(dilation_rate, int) else list(dilation_rate)
        of_one = compute_conv_transpose_output_shape(
            [1] * (len(sizes) + 2), sizes, 1, strides, padding, output_padding, "channels_last", tuple(rates)
        )
        surplus = [(k - 1) * rate + 1 - one for k, rate, one in zip(sizes, rates, of_one[1:-1], strict=True)]
        op = made.op
        while op.type not in HANDLERS and op.inputs:  # one over sequences is one over images of one row
            op = op.inputs[0].op
        if op.type in HANDLERS:
            surplus = [0] * (op.inputs[1].shape.rank - 2 - len(surplus)) + surplus
            op._set_attr(SURPLUS, AttrValue(list=AttrValue.ListValue(i=surplus)))
        return made

    with replaced(nn, "conv_transpose", conv_transpose):
        yield


SUBSTITUTION = Substitution("conv transpose", "the size of an output is arithmetic where the input's is open", _scope)

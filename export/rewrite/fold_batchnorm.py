"""BatchNormalization in the convolution before it, where Keras' own layers could not be folded: a layer that is called
more than once, or a SavedModel."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from keronyx.export.rewrite.edit import constant, initializer
from keronyx.types import Array

FOLDED = {np.dtype(np.float32), np.dtype(np.float64)}
"""In half precision the product would be rounded anew."""


class FoldBatchNormalization(ir.passes.InPlacePass):
    """Conv or ConvTranspose -> BatchNormalization, constants all, becomes the convolution with other weights."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        changed = False
        made: dict[tuple[object, ...], tuple[ir.Value, ir.Value]] = {}  # one for all calls of a shared layer
        for node in list(model.graph):
            changed = _fold(model.graph, node, made) or changed
        return ir.passes.PassResult(model, changed)


def _fold(graph: ir.Graph, bn: ir.Node, made: dict[tuple[object, ...], tuple[ir.Value, ir.Value]]) -> bool:
    if bn.op_type != "BatchNormalization" or bn.domain or "training_mode" in bn.attributes:
        return False
    conv = None if bn.inputs[0] is None else bn.inputs[0].producer()
    if conv is None or conv.op_type not in ("Conv", "ConvTranspose") or conv.domain or conv.graph is not graph:
        return False
    if len(conv.outputs[0].uses()) != 1 or conv.outputs[0].is_graph_output() or len(bn.outputs) != 1:
        return False
    values = [value for value in (*conv.inputs[1:], *bn.inputs[1:]) if value is not None]
    arrays = [array for value in values if (array := constant(value)) is not None]
    if len(arrays) < len(values) or {array.dtype for array in arrays} - FOLDED:
        return False
    group, transposed = conv.attributes.get_int("group", 1), conv.op_type == "ConvTranspose"
    epsilon = bn.attributes.get_float("epsilon", 1e-5)
    contents = tuple((a.shape, a.tobytes()) for a in arrays[1:])
    key = (id(conv.inputs[1]), group, transposed, epsilon, len(arrays), contents)
    if key not in made:
        scale, shift, mean, variance = (a.astype(np.float64) for a in arrays[-4:])
        with np.errstate(all="ignore"):
            factor = scale / np.sqrt(variance + epsilon)
            bias = (arrays[1].astype(np.float64) if len(arrays) == 6 else 0.0) * factor + shift - mean * factor
        weight = _scaled(arrays[0].astype(np.float64), factor, group, transposed)
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            return False
        dtype, name = arrays[0].dtype, bn.outputs[0].name
        made[key] = (
            initializer(graph, weight.astype(dtype), f"{name}__weight"),
            initializer(graph, np.asarray(bias, dtype), f"{name}__bias"),
        )
    folded = ir.node(
        conv.op_type, [conv.inputs[0], *made[key]], dict(conv.attributes), metadata_props=dict(conv.metadata_props)
    )
    ir.convenience.replace_nodes_and_values(graph, bn, [bn, conv], [folded], bn.outputs, folded.outputs)
    return True


def _scaled(weight: Array, factor: Array, group: int, transposed: bool) -> Array:
    """Each filter times its factor. ConvTranspose has (channels, filters of a group, ...)."""
    spatial = (1,) * (weight.ndim - 2)
    if not transposed:
        return np.asarray(weight * factor.reshape(-1, 1, *spatial))
    channels, filters = weight.shape[:2]
    each = factor.reshape(group, 1, filters, *spatial)
    return np.asarray((weight.reshape(group, channels // group, *weight.shape[1:]) * each).reshape(weight.shape))

"""Softmax over the last axis, where ONNX Runtime computes it in place; over any other it transposes, there and back."""

from __future__ import annotations

import onnx_ir as ir

from keronyx.export.rewrite.edit import dimensions, like, rank, replace

SOFTMAX = frozenset({"Softmax", "LogSoftmax"})


class SoftmaxLast(ir.passes.InPlacePass):
    """Softmax -> Transpose that makes its axis the last one becomes Transpose -> Softmax over the last axis."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        changed = False
        for node in model.graph:
            changed = _turn(node) or changed
        return ir.passes.PassResult(model, changed)


def _turn(softmax: ir.Node) -> bool:
    if softmax.op_type not in SOFTMAX or softmax.domain or softmax.outputs[0].is_graph_output():
        return False
    users = [use.node for use in softmax.outputs[0].uses()]
    if len(users) != 1 or users[0].op_type != "Transpose" or users[0].domain:
        return False
    transpose = users[0]
    order = transpose.attributes.get_ints("perm", ())
    axis = softmax.attributes.get_int("axis", -1)
    if not order or order[-1] != axis % len(order) or rank(softmax.inputs[0]) not in (None, len(order)):
        return False
    shape = dimensions(transpose.outputs[0])
    first = like(transpose, "Transpose", softmax.inputs, transpose.attributes, shape)
    first.outputs[0].type = softmax.inputs[0].type if softmax.inputs[0] is not None else None
    last = like(softmax, softmax.op_type, [first.outputs[0]], {"axis": -1}, shape)
    last.outputs[0].type = transpose.outputs[0].type
    replace(transpose, [first, last])
    assert softmax.graph is not None
    softmax.graph.remove(softmax, safe=True)
    return True

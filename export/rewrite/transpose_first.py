"""Scale an image by channel after it is transposed, not before.

Rescaling and Normalization at a model's input work on channels last, before the transpose to the layout of
convolutions. There the constants of three channels repeat along the innermost axis, which ONNX Runtime computes five
times slower than one constant for a whole channel.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from keronyx.export.rewrite.edit import constant, dimensions, infer_shapes, initializer, like, replace
from keronyx.types import Array

NARROW = 8
"""Constants of fewer values along the innermost axis than this are slow there."""

BINARY = frozenset({"Add", "Sub", "Mul", "Div"})


class TransposeFirst(ir.passes.InPlacePass):
    """Transpose(x by constants) becomes (transposed x) by (transposed constants), if nothing else reads the former."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        infer_shapes(model)
        changed = False
        for node in list(model.graph):
            if node.op_type == "Transpose" and not node.domain:
                changed = _moved_up(model.graph, node) or changed
        return ir.passes.PassResult(model, changed)


def _moved_up(graph: ir.Graph, transpose: ir.Node) -> bool:
    """Move the transpose above the chain of operators it ends, from the last that has constants by channel."""
    chain = _chain(graph, transpose)
    while chain and not _by_channel(chain[-1]):
        chain.pop()
    if not chain:
        return False
    source = _computed(chain[-1])
    order = list(transpose.attributes["perm"].as_ints()) if "perm" in transpose.attributes else []
    shape = dimensions(source)
    if source is None or shape is None or len(order) != len(shape):
        return False
    turned = [shape[axis] for axis in order]
    first = like(chain[-1], "Transpose", [source], {"perm": order}, turned)
    first.outputs[0].type = source.type
    made, value = [first], first.outputs[0]
    for node in reversed(chain):
        inputs: list[ir.Value | None] = []
        for given in node.inputs:
            array = constant(given)
            if array is None or given is None:
                inputs.append(value)
            else:
                inputs.append(initializer(graph, _turned(array, order), f"{given.name}__turned"))
        made.append(like(node, node.op_type, inputs, node.attributes, turned))
        value = made[-1].outputs[0]
    replace(transpose, made)
    for node in chain:
        graph.remove(node, safe=True)
    return True


def _chain(graph: ir.Graph, transpose: ir.Node) -> list[ir.Node]:
    """What is computed element by element above a transpose and read by it alone, from below."""
    found: list[ir.Node] = []
    value = transpose.inputs[0]
    while value is not None and len(value.uses()) == 1 and not value.is_graph_output():
        node = value.producer()
        if node is None or node.graph is not graph or node.domain or dimensions(value) is None:
            break
        source = _computed(node)
        if source is None or dimensions(source) is None or dimensions(source) != dimensions(value):
            break
        found.append(node)
        value = source
    return found


def _computed(node: ir.Node) -> ir.Value | None:
    """The input of a Cast, or the one of a binary operator that is no constant."""
    if node.op_type == "Cast":
        return node.inputs[0]
    if node.op_type not in BINARY:
        return None
    computed = [value for value in node.inputs if constant(value) is None]
    return computed[0] if len(computed) == 1 else None


def _by_channel(node: ir.Node) -> bool:
    """Whether the node has a constant with several values, but few, along the last axis."""
    arrays = [constant(value) for value in node.inputs]
    return any(array is not None and array.ndim and 1 < array.shape[-1] < NARROW for array in arrays)


def _turned(array: Array, order: list[int]) -> Array:
    """A constant for the transposed tensor; one of a single element needs no axes."""
    if array.size == 1:
        return array.reshape(())
    full = array.reshape((1,) * (len(order) - array.ndim) + array.shape)
    return np.ascontiguousarray(full.transpose(order))

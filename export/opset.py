"""A model in another operator set of ONNX.

A node stays as it is where both sets define its operator alike: so it is for nearly all between 15 and 24. Operators an
older set lacks are written out as the standard itself defines them; what is left is refused, by operator and layer.
Works on the nodes alone, so that weights are neither copied nor serialised, and labels, names and metadata stay.
"""

from __future__ import annotations

from typing import Any

from keronyx.errors import ExportError, UsageError
from keronyx.export.layers import LAYER

OLDEST, NEWEST = 15, 24
"""What can be asked for. Graph passes are written for the set tf2onnx converts to (`onnx.OPSET`), and run before."""

MEANS_ANOTHER = {"DFT": 20, "GridSample": 20, "GroupNormalization": 21, "RoiAlign": 16}
"""Operator -> the set from which the same node means something else."""

SCATTERS = {"ScatterElements", "ScatterND"}
"""Operators that know the reductions max and min since 18."""

KINDS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
REDUCTIONS = {f"Reduce{kind}" for kind in KINDS}
"""Operators whose axes are an attribute before 18 (ReduceSum's: before 13)."""

WRITTEN_OUT = {"LayerNormalization", "Mish"}
"""Operators of 17 and 18 that are written out for older sets. All tensors they take have one element type."""

Nodes = list[Any]


def check(opset: int) -> None:
    """Raise UsageError unless `opset` can be asked for."""
    if not OLDEST <= opset <= NEWEST:
        raise UsageError(f"--opset must be between {OLDEST} and {NEWEST}, not {opset}")


def at_opset(proto: Any, opset: int) -> Any:
    """The model in operator set `opset`: changed in place, and returned.

    Args:
        proto: an `onnx.ModelProto` as the graph passes leave it.

    Raises:
        UsageError: as `check`.
        ExportError: the set has no way to say one of the operators; names it and its layers. The model is then as it
            was.
    """
    from onnx.helper import find_min_ir_version_for

    check(opset)
    default = next(entry for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))
    if default.version == opset:
        return proto
    move = _Move(default.version, opset, proto.graph)
    nodes = move.nodes(proto.graph)
    move.refuse()
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    _drop_unused(proto.graph, move.taken)
    default.version = opset
    proto.ir_version = find_min_ir_version_for(list(proto.opset_import), ignore_unknown=True)
    return proto


class _Move:
    """From one operator set to another. Collects what cannot be said; `taken` are constants that became attributes."""

    def __init__(self, old: int, new: int, graph: Any) -> None:
        self.old, self.new = old, new
        self.types: dict[str, int] = {}
        self.constants: dict[str, Any] = {}
        self.taken: set[str] = set()
        self.refused: list[tuple[str, str]] = []
        self.enter(graph)

    def enter(self, graph: Any) -> None:
        """Note the constants of a graph and the element types of its tensors, as far as they are written down."""
        for value in [*graph.input, *graph.output, *graph.value_info]:
            self.types[value.name] = value.type.tensor_type.elem_type
        for tensor in graph.initializer:
            self.types[tensor.name] = tensor.data_type
            self.constants[tensor.name] = tensor

    def nodes(self, graph: Any) -> Nodes:
        """The graph's nodes in the new set, as copies."""
        return [made for node in graph.node for made in self.node(_copy(node))]

    def node(self, node: Any) -> Nodes:
        from onnx import defs

        if node.op_type == "Constant" and (tensor := _value(node, "value", None)) is not None:
            self.constants[node.output[0]] = tensor
        for inner in bodies(node):
            self.enter(inner)
            nodes = self.nodes(inner)
            del inner.node[:]
            inner.node.extend(nodes)
        if node.domain not in ("", "ai.onnx"):
            return [node]
        if not defs.has(node.op_type, max_inclusive_version=self.new):
            return self.write_out(node)
        before, after = defs.get_schema(node.op_type, self.old), defs.get_schema(node.op_type, self.new)
        if before.since_version != after.since_version and (why := self.change(node, before, after)):
            self.refuse_node(node, why)
        return [node]

    def change(self, node: Any, before: Any, after: Any) -> str:
        """Change the node to its operator's other definition. Returns what that one lacks, or nothing."""
        from onnx.helper import get_attribute_value

        operator = node.op_type
        if operator in MEANS_ANOTHER and before.since_version < MEANS_ANOTHER[operator] <= after.since_version:
            return "as it was defined before"
        if operator in MEANS_ANOTHER and after.since_version < MEANS_ANOTHER[operator] <= before.since_version:
            return "as it is defined since"
        if operator in REDUCTIONS and self.new < 18 <= self.old and not self.reduce(node):
            return "over axes that are computed"
        if operator == "Split" and self.new < 18 <= self.old:
            _drop(node, "num_outputs")  # older sets split evenly when no sizes are given, or fail
        if operator in SCATTERS and self.new < 18 and _value(node, "reduction", b"none") in (b"max", b"min"):
            return "with reduction max or min"
        for name in [a.name for a in node.attribute if a.name not in after.attributes]:
            default = before.attributes[name].default_value
            if not default.type or _value(node, name, None) != get_attribute_value(default):
                return f"with {name}"
            _drop(node, name)
        while node.input and not node.input[-1]:
            node.input.pop()
        if len(node.input) > after.max_input:
            return f"with {before.inputs[after.max_input].name}"
        return ""

    def reduce(self, node: Any) -> bool:
        """Axes become an attribute; false when they are not constant, or none leaves the tensor as it is."""
        from onnx import helper, numpy_helper

        if len(node.input) > 1 and node.input[1]:
            if node.input[1] not in self.constants:
                return False
            axes = numpy_helper.to_array(self.constants[node.input[1]]).tolist()
            if not axes:
                return False
            node.attribute.append(helper.make_attribute("axes", axes))
            self.taken.add(node.input[1])
        elif _value(node, "noop_with_empty_axes", 0):
            return False
        del node.input[1:]
        _drop(node, "noop_with_empty_axes")
        return True

    def write_out(self, node: Any) -> Nodes:
        """The nodes by which the standard defines an operator the new set lacks."""
        import onnx
        from onnx import defs, helper

        schema: Any = defs.get_schema(node.op_type, self.old)
        kind = next((self.types[name] for name in [*node.input, *node.output] if self.types.get(name)), 0)
        if node.op_type not in WRITTEN_OUT or not (schema.has_function or kind):
            self.refuse_node(node, "")
            return [node]
        if schema.has_function:
            body = schema.function_body
        else:
            types = [helper.make_tensor_type_proto(kind, None).SerializeToString()] * len(node.input)
            version = max(v for v in schema.context_dependent_function_opset_versions if v <= self.old)
            said = schema.get_context_dependent_function_with_opset_version(version, node.SerializeToString(), types)
            body = onnx.FunctionProto.FromString(said)
        given = dict(zip([*body.input, *body.output], [*node.input, *node.output], strict=False))
        made = []
        for part in body.node:
            part.name = f"{node.name or node.output[0]}/{part.output[0]}"
            part.input[:] = [given.get(name, f"{node.output[0]}/{name}") if name else "" for name in part.input]
            part.output[:] = [given.get(name) or f"{node.output[0]}/{name}" for name in part.output]
            part.metadata_props.extend(node.metadata_props)
            made += self.node(part)
        return made

    def refuse_node(self, node: Any, why: str) -> None:
        layer = next((entry.value for entry in node.metadata_props if entry.key == LAYER), "")
        self.refused.append((f"{node.op_type} {why}".strip(), layer))

    def refuse(self) -> None:
        """Raise ExportError when something cannot be said."""
        if not self.refused:
            return
        what = ", ".join(sorted({operator for operator, _ in self.refused}))
        layers = sorted({layer for _, layer in self.refused if layer})
        where = f" (layer {', '.join(layers[:3])}{' and others' if len(layers) > 3 else ''})" if layers else ""
        raise ExportError(f"operator set {self.new} has no {what}{where}", f"leave --opset at {self.old}")


def bodies(node: Any) -> list[Any]:
    """Graphs inside a node: the body of a loop, the branches of an If."""
    return [g for a in node.attribute for g in [*([a.g] if a.HasField("g") else []), *a.graphs]]


def nodes_of(graph: Any) -> list[Any]:
    """Every node, those of the graphs inside nodes included."""
    return [one for node in graph.node for one in (node, *(n for body in bodies(node) for n in nodes_of(body)))]


def _drop_unused(graph: Any, names: set[str]) -> None:
    """Remove those of the named constants that nothing reads any more."""
    names = names - _read(graph)
    for tensor in [tensor for tensor in graph.initializer if tensor.name in names]:
        graph.initializer.remove(tensor)
    for node in [node for node in graph.node if node.op_type == "Constant" and node.output[0] in names]:
        graph.node.remove(node)
    for node in graph.node:
        for inner in bodies(node):
            _drop_unused(inner, names)


def _read(graph: Any) -> set[str]:
    """Every name a node reads or a graph gives back."""
    found = {value.name for value in graph.output}
    for node in graph.node:
        found.update(node.input)
        for inner in bodies(node):
            found |= _read(inner)
    return found


def _copy(node: Any) -> Any:
    made = type(node)()
    made.CopyFrom(node)
    return made


def _value(node: Any, name: str, default: Any) -> Any:
    """Value of an attribute."""
    from onnx.helper import get_attribute_value

    return next((get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _drop(node: Any, name: str) -> None:
    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)

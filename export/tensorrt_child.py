"""The TensorRT check's own process: `python -m keronyx.export.tensorrt_child`. Parses a model, then builds engines.

TensorRT-RTX builds for a GPU it does not have. A crash of its native code ends this process alone.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keronyx.errors import UnavailableError, WorkerError
from keronyx.export.layers import LAYER
from keronyx.export.opset import nodes_of
from keronyx.process import Message, one_line, serve


class _Parsed:
    """What the process holds between orders: TensorRT's objects, and the ONNX nodes by name."""

    logger: Any = None
    builder: Any = None
    parser: Any = None  # owns the weights the network refers to
    network: Any = None
    nodes: dict[str, Any]


def parse(order: Message) -> Message:
    """Parse the model at `path`.

    Answers with the library's `version`, the `capabilities` it builds for, the `nodes` of the model, the `layers`
    TensorRT makes of them (None when it refuses any) and the `refused` nodes.
    """
    import onnx

    trt = _library()
    path = str(Path(order["path"]).resolve())
    data = Path(path).read_bytes()
    graph = onnx.load_model_from_string(data).graph
    nodes = nodes_of(graph)
    _Parsed.nodes = {node.name: node for node in nodes if node.name}
    _Parsed.logger = _logger(trt)
    _Parsed.builder = trt.Builder(_Parsed.logger)
    network = _network(trt)  # a parser does not keep its network alive
    asked = trt.OnnxParser(network, _Parsed.logger)
    accepted = bool(asked.supports_model_v2(data, path))
    if accepted:  # into a network of its own: the question above leaves its marks in the one it was asked of
        _Parsed.network = _network(trt)
        _Parsed.parser = asked = trt.OnnxParser(_Parsed.network, _Parsed.logger)
        accepted = bool(asked.parse(data, path))
    refused = [] if accepted else _distinct(_refusal(asked.get_error(i), graph) for i in range(asked.num_errors))
    if not accepted and not refused:
        raise WorkerError(f"TensorRT refuses the model and names no node: {_said() or 'it gives no reason'}")
    return {
        "version": str(trt.__version__),
        "capabilities": list(_capabilities(trt)),
        "nodes": len(nodes),
        "layers": int(_Parsed.network.num_layers) if accepted else None,
        "refused": refused,
    }


def build(order: Message) -> Message:
    """Build the parsed model for one compute capability, float32, strongly typed.

    `shapes` is (smallest, usual, largest) of each dynamic input. Answers with the engine's `bytes` and the `seconds` it
    took, or with what is `refused`.
    """
    trt = _library()
    config = _Parsed.builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(_capabilities(trt)[order["capability"]], 0)
    if order["shapes"]:
        profile = _Parsed.builder.create_optimization_profile()
        for name, shapes in order["shapes"].items():
            profile.set_shape(name, *(tuple(shape) for shape in shapes))
        config.add_optimization_profile(profile)
    _Parsed.logger.errors.clear()
    started = time.perf_counter_ns()
    engine = _Parsed.builder.build_serialized_network(_Parsed.network, config)
    seconds = (time.perf_counter_ns() - started) / 1e9
    if engine is None:
        return {"bytes": None, "seconds": seconds, "refused": [_build_refusal(_said())]}
    return {"bytes": int(engine.nbytes), "seconds": seconds, "refused": []}


def table(order: Message) -> Message:
    """What TensorRT's own operator table has against the model at `path`: the `refused` nodes."""
    import onnx

    from keronyx.export import tensorrt_table

    proto = onnx.load(order["path"], load_external_data=False)
    return {"refused": _distinct(_refused(node, why) for node, why in tensorrt_table.refused(proto))}


def _distinct(refusals: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for one in refusals:
        if one not in found:
            found.append(one)
    return found


def _library() -> Any:
    """TensorRT-RTX. Raises UnavailableError."""
    remedy = "pip install 'keronyx[tensorrt]'"
    try:
        import tensorrt_rtx_libs  # noqa: F401 - its shared libraries, which the bindings look for
    except ImportError as error:
        raise UnavailableError("TensorRT-RTX is not installed", remedy) from error
    try:
        import tensorrt_rtx_bindings as trt
    except (ImportError, OSError) as error:
        raise UnavailableError(f"TensorRT-RTX cannot be imported: {one_line(error)}", remedy) from error
    return trt


def _logger(trt: Any) -> Any:
    """Keeps the errors TensorRT reports; where a build fails, they are its only word on the reason."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message)

    return Logger()


def _network(trt: Any) -> Any:
    return _Parsed.builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))


def _capabilities(trt: Any) -> dict[str, Any]:
    """`8.6` -> the library's own member for it (SM86)."""
    members = trt.ComputeCapability.__members__
    return {f"{name[2:-1]}.{name[-1]}": member for name, member in members.items() if re.fullmatch(r"SM\d+", name)}


def _refusal(error: Any, graph: Any) -> dict[str, Any]:
    """What the parser says of one node. Its index counts the nodes of the graph it is in, which is not told."""
    name, operator, index = str(error.node_name()), str(error.node_operator()), int(error.node())
    node = _Parsed.nodes.get(name)
    if node is None and 0 <= index < len(graph.node) and graph.node[index].op_type == operator:
        node = graph.node[index]
    return _refused(node, _why(str(error.desc())), operator, name)


def _build_refusal(said: str) -> dict[str, Any]:
    """What the builder says: it names its own layer, whose metadata names the ONNX node."""
    found = [layer for layer in _layers() if re.search(rf"(?<![\w/]){re.escape(layer.name)}(_\d+)?(?![\w/])", said)]
    named = max(found, key=lambda layer: len(layer.name), default=None)
    names = re.findall(r"\[ONNX Layer: ([^\]]+)\]", named.metadata or "") if named is not None else []
    node = next((_Parsed.nodes[name] for name in names if name in _Parsed.nodes), None)
    return _refused(node, _why(said))


def _layers() -> list[Any]:
    return [_Parsed.network.get_layer(i) for i in range(_Parsed.network.num_layers)]


def _refused(node: Any, why: str, operator: str = "", name: str = "") -> dict[str, Any]:
    return {
        "layer": _layer(node),
        "operator": operator if node is None else node.op_type,
        "node": name if node is None else node.name,
        "why": why,
    }


def _why(said: str) -> str:
    """The sentence inside what TensorRT logs around it: conditions, its own source lines, the name of the node."""
    text = " ".join(said.split())
    for wrapping in (r'&& "([^"]+)"', r"^Assertion failed: .*: (\S.*)$", r"Error Code \d+: [^(]*\((.*)\)?$"):
        if inside := re.search(wrapping, text):
            text = inside[1]
    text = re.sub(r"\.? In \w+ at .*$", "", re.sub(r"^\[[^\]]*\] ", "", text))
    text = re.sub(r"Cannot compile operation '[^']*' for ", "", text).strip(" .!")
    if text.count(")") > text.count("("):
        text = text.removesuffix(")")
    return text[:240] if text not in ("", "false") else "not supported"


def _said() -> str:
    return str(_Parsed.logger.errors[0]) if _Parsed.logger.errors else ""


def _layer(node: Any) -> str | None:
    found = [] if node is None else [str(entry.value) for entry in node.metadata_props if entry.key == LAYER]
    return found[0] if found else None


if __name__ == "__main__":
    serve({"table": table, "parse": parse, "build": build})

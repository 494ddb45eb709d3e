"""What a model from an unknown hand may not do: graphs that touch files, configurations that carry or name code.

A configuration is checked as plain JSON, before Keras builds anything of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keronyx.containers import read_archive
from keronyx.errors import SourceError, UntrustedModelError

UNSAFE_OPS = frozenset(
    [
        *("ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "EagerPyFunc", "PyFuncStateless"),
        *("WholeFileReader", "WholeFileReaderV2", "TextLineReader", "TextLineReaderV2", "FixedLengthRecordReader"),
        *("FixedLengthRecordReaderV2", "TFRecordReader", "TFRecordReaderV2", "LMDBReader", "TextLineDataset"),
        *("TFRecordDataset", "TFRecordDatasetV2", "FixedLengthRecordDataset", "FixedLengthRecordDatasetV2"),
        *("CSVDataset", "CSVDatasetV2", "ExperimentalCSVDataset", "LMDBDataset", "SqlDataset", "CacheDataset"),
        *("CacheDatasetV2", "SnapshotDataset", "SnapshotDatasetV2", "SaveDataset", "SaveDatasetV2", "LoadDataset"),
        *("DataServiceDataset", "DataServiceDatasetV2", "DataServiceDatasetV3", "DataServiceDatasetV4"),
        *("CreateSummaryFileWriter", "CreateSummaryDbWriter", "DebugIdentity", "DebugIdentityV2", "DebugIdentityV3"),
        *("DebugNanCount", "DebugNumericSummary", "DebugNumericSummaryV2"),
    ]
)
"""TensorFlow operators of a SavedModel that touch files or the network, or call Python."""

CODE_CLASSES = frozenset({"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"})
"""Classes of a Keras configuration that carry marshalled or pickled code, or load a SavedModel from elsewhere."""

PARTS = (
    *("activations", "constraints", "dtype_policies", "engine", "initializers", "layers", "legacy", "losses"),
    *("metrics", "mixed_precision", "models", "ops", "optimizers", "quantizers", "random", "regularizers"),
)
NETWORK_MODULE = re.compile(rf"keras(\.src)?(\.({'|'.join(PARTS)})(\.\w+)*)?")
"""Modules of Keras that a network is made of; `keras.utils`, `keras.saving`, `keras.config` are none."""

READS_VOCABULARY = frozenset({"StringLookup", "IntegerLookup", "IndexLookup", "TextVectorization"})

MAX_DEPTH = 256
"""A configuration nested deeper is no network's: Keras would run out of stack."""


def refuse_unsafe_graph(graph_def: Any, name: str) -> None:
    """Raise UntrustedModelError when a GraphDef touches files or calls Python. To be asked before it is imported."""
    if found := sorted(UNSAFE_OPS & operators(graph_def)):
        raise UntrustedModelError(f"{name} uses {', '.join(found)}", "add --trust only if you know who made it")
    for node in _nodes(graph_def):
        stream = node.attr["output_stream"].s.decode(errors="replace") if node.op == "PrintV2" else ""
        if stream.startswith("file:"):
            raise UntrustedModelError(f"{name} prints into {stream!r}", "add --trust only if you know who made it")


def refuse_unsafe_saved_model(folder: Path, name: str) -> None:
    """The same for every graph of a SavedModel folder, before it is loaded: its initialisers already run then."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    for graph in SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs:
        refuse_unsafe_graph(graph.graph_def, name)


def operators(graph_def: Any) -> set[str]:
    """Names of all operators of a GraphDef, those inside its functions included."""
    return {node.op for node in _nodes(graph_def)}


def _nodes(graph_def: Any) -> Iterator[Any]:
    yield from graph_def.node
    for function in graph_def.library.function:
        yield from function.node_def


def refuse_unsafe_keras_file(path: Path) -> None:
    """Check a `.keras` archive, its bounds too, before Keras opens it. Raises as `refuse_unsafe_config` does."""
    try:
        config, _ = read_archive(path)
    except SourceError:
        raise
    except (Exception, RecursionError) as error:
        raise SourceError(f"{path.name} is damaged: {' '.join(str(error).split())[:200]}") from error
    refuse_unsafe_config(untrained(config), path.name)


def untrained(config: Any) -> Any:
    """A configuration without how it was trained, which is never read: a loss made of code harms nobody."""
    return (
        {key: value for key, value in config.items() if key != "compile_config"} if isinstance(config, dict) else config
    )


def refuse_unsafe_config(config: Any, name: str) -> None:
    """Check a model's configuration (parsed JSON) before Keras sees it; `name` is the file's.

    Raises:
        UntrustedModelError: it carries code, reads files, or names functions that no network is made of.
        SourceError: it is nested deeper than any network.
    """
    found = list(objects(config, name))
    if code := [(item["class_name"], owner) for item, owner in found if carries_code(item)]:
        kind, owner = code[0]
        names = ", ".join(dict.fromkeys(repr(owner) for _, owner in code))
        raise UntrustedModelError(
            f"{name} contains Python code ({kind} layer {names})",
            f"put a built-in layer in its place: --substitute-layer {owner}=identity (or rescaling:1/255, ...); "
            "--trust runs the code: only if you know who made this file",
        )
    for item, owner in found:
        _refuse_foreign(item, owner, name)


def carries_code(item: dict[str, Any]) -> bool:
    """Whether an object of a configuration holds code of its own."""
    return _bare(item.get("class_name")) in CODE_CLASSES


def _bare(kind: Any) -> str:
    """The class of `package>Class`, and of `layers.Class`, which Keras finds in the module `keras` too."""
    return re.split(r"[.>]", kind)[-1] if isinstance(kind, str) else ""


def objects(config: Any, name: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Every dictionary inside a configuration, outer ones first, with the name of the layer it belongs to."""
    open_nodes: list[tuple[Any, str, int]] = [(config, "?", 0)]
    while open_nodes:
        node, owner, depth = open_nodes.pop()
        if depth > MAX_DEPTH:
            raise SourceError(f"{name} is damaged: its configuration is nested more than {MAX_DEPTH} deep")
        if isinstance(node, dict):
            inner = node.get("config")
            named = inner.get("name") if isinstance(inner, dict) else None
            owner = named if isinstance(named, str) and "class_name" in node else owner
            yield node, owner
            open_nodes.extend((value, owner, depth + 1) for value in reversed(node.values()))
        elif isinstance(node, list):
            open_nodes.extend((value, owner, depth + 1) for value in reversed(node))


def _refuse_foreign(item: dict[str, Any], owner: str, name: str) -> None:
    """Raise UntrustedModelError when an object is one of Keras' own that no network is made of, or reads a file."""
    kind, module, inner = item.get("class_name"), item.get("module"), item.get("config")
    if isinstance(kind, str) and isinstance(module, str) and module.partition(".")[0] == "keras":
        thing = inner if kind == "function" else kind
        bare = module in ("keras", "keras.models")
        if not NETWORK_MODULE.fullmatch(module) or (bare and not str(thing)[:1].isupper()):
            raise UntrustedModelError(
                f"{name} names {module}.{thing} (in {owner!r}), which is no part of a network",
                "such files are made to attack who loads them: do not use it, or add --trust if you know who made it",
            )
    vocabulary = inner.get("vocabulary") if isinstance(inner, dict) else None
    if _bare(kind) in READS_VOCABULARY and isinstance(vocabulary, str):
        raise UntrustedModelError(
            f"{name} reads the file {vocabulary!r} (layer {owner!r})",
            "save the model with the vocabulary in it, or add --trust if you know who made it",
        )

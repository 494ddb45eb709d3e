"""A SavedModel folder, of TensorFlow 2 or 1 -> an object with signatures to call.

TensorFlow 2 loads those of TensorFlow 1 too, but their variables are references, which nothing can turn into constants
afterwards: here the session they were made for does it.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keronyx.errors import SourceError, UntrustedModelError
from keronyx.process import one_line
from keronyx.unsafe import refuse_unsafe_saved_model

SERVE = "serve"
"""Tag of the graph that answers requests."""

DAMAGED = "it is damaged or cut short: save it again"


def load(folder: Path, name: str, trust: bool) -> Any:
    """What `tf.saved_model.load` gives, or something with the same signatures.

    Raises:
        UntrustedModelError: a graph of it touches files or calls Python, and `trust` is off.
        SourceError: it is damaged, has several graphs to serve, or no signature.
    """
    import tensorflow as tf

    _refuse_endless(folder, name, trust)
    try:
        stored = _read(folder)
        chosen = choose(stored, name)
        if not trust:
            refuse_unsafe_saved_model(folder, name)
        of_tensorflow_1 = not chosen.object_graph_def.nodes
        loaded = _frozen(folder, chosen) if of_tensorflow_1 else tf.saved_model.load(str(folder), _tags(chosen))
    except SourceError:
        raise
    except Exception as error:
        raise SourceError(f"{name} cannot be loaded: {one_line(error)}") from error
    if not loaded.signatures:
        raise SourceError(f"{name} has no signature", "save it with a serving_default signature")
    return loaded


def copy(folder: Path, path: Path) -> None:
    """Copy the folder with the graph to be served alone, so that everybody loads that one."""
    shutil.copytree(folder, path)
    stored = _read(folder)
    if len(stored.meta_graphs) > 1:
        kept = type(stored)(saved_model_schema_version=stored.saved_model_schema_version)
        kept.meta_graphs.append(choose(stored, folder.name))
        (path / "saved_model.pb").write_bytes(kept.SerializeToString())


def _refuse_endless(folder: Path, name: str, trust: bool) -> None:
    """Raise SourceError for what copying would not come to an end of: pipes, devices, and links to folders. Unless it
    is trusted, UntrustedModelError for links to files outside: any file of yours would be in the export."""
    for path in folder.rglob("*"):
        holds = f"{name} holds {str(path.relative_to(folder))!r}"
        if path.is_symlink() and path.is_dir():
            raise SourceError(f"{holds}, a link to a folder", "put a copy of that folder in its place")
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise SourceError(f"{holds}, which is neither a file nor a folder", "take it out")
        if not trust and path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            said = f"{holds}, a link to a file outside of it"
            raise UntrustedModelError(said, "look where it leads, then copy the folder with cp -rL, or allow: --trust")


def choose(stored: Any, name: str) -> Any:
    """The graph of a SavedModel to serve: tagged so, else the only one, or the only one not made for training."""
    graphs = list(stored.meta_graphs)
    if not graphs:
        raise SourceError(f"{name} holds no graph", DAMAGED)
    for fits in (lambda tags: tags == [SERVE], lambda tags: SERVE in tags, lambda tags: "train" not in tags):
        found = [graph for graph in graphs if fits(_tags(graph))]
        if len(found) == 1:
            return found[0]
    if len(graphs) == 1:
        return graphs[0]
    tags = "; ".join(", ".join(_tags(graph)) or "none" for graph in graphs)
    raise SourceError(f"{name} holds {len(graphs)} graphs, none of which alone is to be served (tags: {tags})")


def _read(folder: Path) -> Any:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    return SavedModel.FromString((folder / "saved_model.pb").read_bytes())


def _tags(graph: Any) -> list[str]:
    return sorted(graph.meta_info_def.tags)


@dataclass(frozen=True)
class Frozen:
    """A loaded SavedModel of TensorFlow 1: its signatures by name."""

    signatures: dict[str, Any]


@dataclass(frozen=True)
class Signature:
    """A frozen graph that is called by names, as a signature of TensorFlow 2 is. `variables` are only for counting."""

    graph: Any
    inputs: dict[str, str]
    outputs: dict[str, str]
    structured_input_signature: tuple[tuple[()], dict[str, Any]]
    structured_outputs: dict[str, Any]
    variables: tuple[Any, ...]

    def __call__(self, **tensors: Any) -> dict[str, Any]:
        import tensorflow as tf

        given = {self.inputs[key]: tensor for key, tensor in tensors.items()}
        made = tf.import_graph_def(self.graph, given, list(self.outputs.values()), name="")
        return dict(zip(self.outputs, made, strict=True))


def _frozen(folder: Path, chosen: Any) -> Frozen:
    """Run the graph's initialisers in a session of its own, then make constants of all variables."""
    import tensorflow as tf

    v1 = tf.compat.v1
    signatures = {}
    with tf.Graph().as_default() as graph, v1.Session() as session:
        v1.saved_model.load(session, _tags(chosen), str(folder))
        every = [tf.TensorSpec(variable.shape, variable.dtype) for variable in v1.global_variables()]
        for key, stored in chosen.signature_def.items():
            if key.startswith("__"):  # initialisers
                continue
            inputs = {name: info.name for name, info in stored.inputs.items()}
            outputs = {name: info.name for name, info in stored.outputs.items()}
            if not outputs or not all([*inputs.values(), *outputs.values()]):  # sparse and composite tensors have none
                continue
            nodes = sorted({tensor.partition(":")[0] for tensor in outputs.values()})
            constant = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), nodes)
            if tables := sorted({node.op for node in constant.node if "HashTable" in node.op}):
                raise SourceError(
                    f"the signature {key!r} looks up a table ({', '.join(tables)}), which no converter carries",
                    "save the model without it, and look up before it is called",
                )

            def specs(names: dict[str, str], graph: Any = graph) -> dict[str, Any]:
                found = {name: graph.get_tensor_by_name(tensor) for name, tensor in names.items()}
                return {name: tf.TensorSpec(t.shape, t.dtype.base_dtype, name) for name, t in found.items()}

            signatures[key] = Signature(constant, inputs, outputs, ((), specs(inputs)), specs(outputs), tuple(every))
    return Frozen(signatures)

"""SavedModels of TensorFlow 1, and those of several graphs, load under their own names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from keronyx.errors import KeronyxError, SourceError, UntrustedModelError
from keronyx.export import saved_model
from keronyx.export.source import identify

pytestmark = pytest.mark.slow

WEIGHTS = np.arange(8, dtype="float32").reshape(4, 2) - 3


def write(
    path: Path, save: Callable[[Any, Any, dict[str, Any]], Any], resource: bool = False, body: Any = None
) -> Path:
    """A graph of TensorFlow 1: scores = images @ WEIGHTS, relu; saved by `save(v1, session, tensors)`."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, (None, 4), name="x")
        with v1.variable_scope("net", use_resource=resource):
            weights = v1.get_variable("w", initializer=WEIGHTS)
        y = tf.matmul(x, weights)
        if body is not None:
            y = body(tf, y)
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        save(v1, session, {"images": x, "scores": y, "relu": tf.nn.relu(y)})
    return path


def simple(path: Path, **options: Any) -> Path:
    def save(v1: Any, session: Any, t: dict[str, Any]) -> None:
        outputs = {"scores": t["scores"], "relu": t["relu"]}
        v1.saved_model.simple_save(session, str(path), {"images": t["images"]}, outputs)

    return write(path, save, **options)


def built(path: Path, *graphs: tuple[list[str], str], main_op: bool = False, **options: Any) -> Path:
    """Graphs with tags and the name of their signature."""

    def save(v1: Any, session: Any, t: dict[str, Any]) -> None:
        builder = v1.saved_model.Builder(str(path))
        for number, (tags, signature) in enumerate(graphs):
            # Each graph answers something else, so that it shows which was loaded.
            output = t["scores"] * (number + 1)
            made = {signature: v1.saved_model.predict_signature_def({"images": t["images"]}, {"scores": output})}
            if number == 0:
                op = v1.tables_initializer() if main_op else None
                builder.add_meta_graph_and_variables(session, tags, made, main_op=op)
            else:
                builder.add_meta_graph(tags, made)
        builder.save()

    return write(path, save, **options)


def spec(path: Path, batch: int | None = 2) -> Any:
    """(loaded object, its ModelSpec)."""
    from keronyx.export import signature

    found = identify(str(path))
    loaded = saved_model.load(path, found.name, False)
    return loaded, signature.of_saved_model(loaded, found.name, found.text, found.identity or "", batch, None)


def answers(path: Path, target: Path, comparison: SimpleNamespace) -> dict[str, Any]:
    """Outputs of the converted model by name; `images` is WEIGHTS' transpose."""
    from keronyx.export import onnx

    loaded, made = spec(path)
    onnx.convert(loaded, made, target)
    found = comparison.run_onnx(target, made, [WEIGHTS.T])
    return {tensor.name: array for tensor, array in zip(made.outputs, found, strict=True)}


SCORES = WEIGHTS.T @ WEIGHTS


@pytest.mark.parametrize("resource", [False, True])
def test_a_saved_model_of_tensorflow_1_keeps_its_names(
    resource: bool, tmp_path: Path, comparison: SimpleNamespace
) -> None:
    path = simple(tmp_path / "saved", resource=resource)
    _, made = spec(path)
    assert [t.name for t in made.inputs] == ["images"] and [t.name for t in made.outputs] == ["relu", "scores"]
    assert made.parameters == 8
    assert spec(path, None)[1].inputs[0].shape == (None, 4)
    found = answers(path, tmp_path / "m.onnx", comparison)
    np.testing.assert_allclose(found["scores"], SCORES)
    np.testing.assert_allclose(found["relu"], np.maximum(SCORES, 0))


@pytest.mark.parametrize(
    ("graphs", "factor"),
    [
        ([(["train"], "serving_default"), (["serve"], "predict_images")], 2),
        ([(["serve", "gpu"], "a"), (["serve"], "b")], 2),
        ([(["serve", "gpu"], "a"), (["train"], "b")], 1),
        ([(["train"], "a"), ([], "default")], 2),
        ([([], "default")], 1),
        ([(["train"], "default")], 1),
    ],
)
def test_the_graph_to_be_served_is_chosen_by_its_tags(
    graphs: list[tuple[list[str], str]], factor: int, tmp_path: Path, comparison: SimpleNamespace
) -> None:
    found = answers(built(tmp_path / "saved", *graphs), tmp_path / "m.onnx", comparison)
    np.testing.assert_allclose(found["scores"], factor * SCORES)


def test_a_copy_holds_that_graph_alone_and_loads_without_tags(tmp_path: Path) -> None:
    import tensorflow as tf

    path = built(tmp_path / "saved", (["train"], "serving_default"), (["serve"], "serving_default"))
    saved_model.copy(path, tmp_path / "copy")
    loaded = tf.saved_model.load(str(tmp_path / "copy"))
    np.testing.assert_allclose(
        loaded.signatures["serving_default"](images=tf.constant(WEIGHTS.T))["scores"], 2 * SCORES
    )
    saved_model.copy(simple(tmp_path / "one"), tmp_path / "same")
    same = [(tmp_path / name / "saved_model.pb").read_bytes() for name in ("one", "same")]
    assert same[0] == same[1]


def refused(path: Path, kind: type[KeronyxError], message: str) -> KeronyxError:
    with pytest.raises(kind, match=message) as error:
        saved_model.load(path, path.name, False)
    assert "\n" not in error.value.message + error.value.remedy
    return error.value


def test_graphs_none_of_which_is_to_be_served_are_listed(tmp_path: Path) -> None:
    path = built(tmp_path / "saved", (["serve", "gpu"], "a"), (["serve", "tpu"], "b"))
    assert refused(path, SourceError, r"2 graphs, none of which alone is to be served \(tags: gpu, serve; serve, tpu\)")


def test_a_table_is_said(tmp_path: Path) -> None:
    def look_up(tf: Any, y: Any) -> Any:
        v1 = tf.compat.v1
        values = v1.lookup.KeyValueTensorInitializer(tf.constant(["a", "b"]), tf.constant([1.0, 2.0]))
        return y * v1.lookup.StaticHashTable(values, 0.0).lookup(tf.constant("b"))

    path = built(tmp_path / "saved", (["serve"], "serving_default"), main_op=True, body=look_up)
    assert refused(path, SourceError, "looks up a table")


def test_a_graph_of_tensorflow_1_that_touches_files_never_runs(tmp_path: Path) -> None:
    def writes(tf: Any, y: Any) -> Any:
        with tf.control_dependencies([tf.io.write_file(str(tmp_path / "ran"), "x")]):
            return tf.identity(y)

    assert refused(simple(tmp_path / "saved", body=writes), UntrustedModelError, "uses WriteFile")

    def prints(tf: Any, y: Any) -> Any:
        with tf.control_dependencies([tf.print(y, output_stream=f"file://{tmp_path / 'ran'}")]):
            return tf.identity(y)

    assert refused(simple(tmp_path / "printing", body=prints), UntrustedModelError, "prints into 'file:")
    assert not (tmp_path / "ran").exists()


def test_a_source_of_tensorflow_1_loads_in_the_conversions_process(tmp_path: Path) -> None:
    from keronyx.export import child

    found = identify(str(simple(tmp_path / "saved")))
    loaded = child.load({"source": dataclasses.asdict(found), "batch": 1, "image_size": None, "asked": None})
    assert [t["name"] for t in loaded["outputs"]] == ["relu", "scores"]

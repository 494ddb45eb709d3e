"""A graph from an unknown hand is looked at before it is imported, in the row's own process too."""

from __future__ import annotations

import pytest

from keronyx.errors import UntrustedModelError
from keronyx.runtime.tf_common import load_flat_function
from keronyx.runtime.tf_optimized import TensorFlowOptimized
from keronyx.types import ModelSpec, SessionRequest, TensorSpec

SPEC = ModelSpec("evil", "", (TensorSpec("x", (1,), "float32"),), (TensorSpec("y", (1,), "float32"),), 0, "")


def writing_function(target):
    """A function that writes a file whenever it runs."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([1], tf.float32, name="x")])
    def call(x):
        tf.io.write_file(str(target), "written")
        return {"y": tf.identity(x, name="output_0")}

    return call


@pytest.mark.slow
def test_a_saved_model_that_writes_files_is_not_loaded_without_trust(tmp_path):
    import tensorflow as tf

    module, target = tf.Module(), tmp_path / "target"
    module.call = writing_function(target)
    tf.saved_model.save(module, str(tmp_path / "model"), signatures={"serving_default": module.call})
    request = SessionRequest(str(tmp_path / "model"), SPEC, "cpu", 1)
    with pytest.raises(UntrustedModelError, match="WriteFile"):
        load_flat_function(request)
    assert not target.exists()


@pytest.mark.slow
def test_a_frozen_graph_that_writes_files_is_not_imported_without_trust(tmp_path, monkeypatch):
    graph = writing_function(tmp_path / "target").get_concrete_function().graph.as_graph_def()
    (tmp_path / "frozen.pb").write_bytes(graph.SerializeToString())
    runtime = TensorFlowOptimized("cpu")
    monkeypatch.setattr(runtime, "start", lambda request: None)  # TensorFlow has its threads already
    with pytest.raises(UntrustedModelError, match="WriteFile"):
        runtime.open(SessionRequest(str(tmp_path / "frozen.pb"), SPEC, "cpu", 1))

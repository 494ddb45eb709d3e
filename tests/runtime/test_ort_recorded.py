"""Session options that stand in an ONNX file are read without its weights, checked, and followed."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest

from keronyx.errors import UnavailableError
from keronyx.runtime.ort_common import OnnxRuntimeSession
from keronyx.runtime.ort_recorded import KEY, Recorded, metadata, recorded
from keronyx.types import ModelSpec, SessionRequest, TensorSpec

TEXT = """<ir_version: 10, opset_import: ["" : 18]>
g (float[1,1,4,4] x) => (float[1,1,3,3] y) <int64[8] pads = {0, 0, 1, 1, 0, 0, 1, 1}, float zero = {0}> {
    p = Pad(x, pads, zero)
    y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (p)
}"""


@pytest.fixture
def stored(tmp_path):
    """Writes the model above, with what it is given as its recorded options."""

    def store(options: object = None, text: str | None = None, **further: str):
        model = onnx.parser.parse_model(TEXT)
        weight = onnx.numpy_helper.from_array(np.ones(100_000, np.float32), "unused")
        model.graph.initializer.append(weight)
        said = json.dumps(options) if text is None else text
        onnx.helper.set_model_props(model, {**further, **({KEY: said} if options is not None or text else {})})
        path = tmp_path / "model.onnx"
        onnx.save(model, str(path))
        return path

    return store


def opened(path):
    specs = (TensorSpec("x", (1, 1, 4, 4), "float32"),), (TensorSpec("y", (1, 1, 3, 3), "float32"),)
    spec = ModelSpec("g", "g", *specs, 0, "hash")
    return OnnxRuntimeSession(SessionRequest(str(path), spec, "cpu", 1))


def test_the_metadata_of_a_file_is_what_onnx_reads(stored):
    path = stored({"graph_optimization_level": "basic"}, other="Größe", empty="")
    assert metadata(path) == {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert metadata(path)["other"] == "Größe"


@pytest.mark.parametrize("damage", [b"", b"\xff" * 40, b"\x3a\xff\xff\xff\xff\x0f", b"no model at all"])
def test_what_is_no_model_has_no_metadata(tmp_path, damage):
    path = tmp_path / "model.onnx"
    path.write_bytes(damage)
    assert metadata(path) == {}


def test_every_part_is_optional(stored):
    assert recorded(stored()) == Recorded()
    assert recorded(stored({})) == Recorded()
    asked = {"disabled_optimizers": ["Pad_Fusion"], "config": {"mlas.x": 1}, "graph_optimization_level": "off"}
    assert recorded(stored(asked)) == Recorded(("Pad_Fusion",), {"mlas.x": "1"}, "off")


@pytest.mark.parametrize(
    "options",
    [{"graph_optimization_level": "best"}, {"config": {"session.load_custom_ops": "x"}}, {"else": 1}, [1], 3],
)
def test_what_a_file_may_not_ask_for_is_refused_in_one_line(stored, options):
    with pytest.raises(UnavailableError, match=KEY):
        recorded(stored(options))


def test_text_that_is_no_json_is_refused(stored):
    with pytest.raises(UnavailableError, match="no JSON"):
        recorded(stored(text="Pad_Fusion"))


def test_a_session_leaves_out_the_optimizers_the_file_names(stored):
    negative = [np.full((1, 1, 4, 4), -1, np.float32)]  # Pad_Fusion pads with -inf where the model pads with 0
    wrong = opened(stored({})).run(negative)[0]
    right = opened(stored({"disabled_optimizers": ["Pad_Fusion"]})).run(negative)[0]
    assert right.max() == 0
    assert wrong.max() in (0, -1)  # -1 as long as ONNX Runtime has the fault


def test_level_and_configuration_reach_the_session(stored):
    asked = {"config": {"session.intra_op.allow_spinning": "0"}, "graph_optimization_level": "basic"}
    options = opened(stored(asked)).native.get_session_options()
    assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_without_a_record_every_option_is_the_default(stored):
    options = opened(stored()).native.get_session_options()
    assert options.graph_optimization_level == onnxruntime.SessionOptions().graph_optimization_level

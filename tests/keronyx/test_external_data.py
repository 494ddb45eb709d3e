"""A model file from anybody reads no weights from outside its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keronyx.errors import UntrustedModelError
from keronyx.external_data import locations, refuse_escaping_data
from keronyx.types import ModelSpec, SessionRequest, TensorSpec

SPEC = ModelSpec("m", "m", (TensorSpec("x", (1, 4), "float32"),), (TensorSpec("y", (1, 4), "float32"),), 16, "hash")


def _tensor(location: str) -> Any:
    from onnx import TensorProto, numpy_helper

    tensor = numpy_helper.from_array(np.ones((4, 4), "float32"), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("offset", "0"), ("location", location), ("length", "64")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def _model(where: str, tensor: Any) -> Any:
    """y = x @ w, with the tensor as an initializer, in a node, in a body, in a function or in a training graph."""
    from onnx import TensorProto, helper, numpy_helper

    def value(name: str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4])

    constant = helper.make_node("Constant", [], ["c"], value=tensor)
    body = helper.make_graph([constant], "body", [], [value("c")])
    held = {
        "initializer": ([], [tensor]),
        "node": ([constant], [numpy_helper.from_array(np.zeros((70, 500), "float32"), "large")]),
        "body": ([helper.make_node("If", ["x"], ["z"], then_branch=body, else_branch=body)], []),
    }
    nodes, weights = held.get(where, ([], []))
    graph = helper.make_graph([*nodes, helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [value("x")], [value("y")])
    graph.initializer.extend(weights)
    functions = [helper.make_function("own", "f", [], ["c"], [constant], [helper.make_opsetid("", 18)])]
    model = helper.make_model(
        graph,
        functions=functions if where == "function" else [],
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    if where == "training":
        model.training_info.add().algorithm.initializer.append(tensor)
    return model


def _save(folder: Path, location: str, where: str = "initializer") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "model.onnx"
    path.write_bytes(_model(where, _tensor(location)).SerializeToString())
    return path


@pytest.mark.parametrize("where", ["initializer", "node", "body", "function", "training"])
def test_data_is_found_wherever_a_file_names_it(where: str, tmp_path: Path) -> None:
    assert locations(_save(tmp_path, "../out.bin", where)) == {"../out.bin"}
    with pytest.raises(UntrustedModelError, match=r"model\.onnx reads its weights from '\.\./out\.bin'") as error:
        refuse_escaping_data(tmp_path / "model.onnx")
    assert "\n" not in error.value.message


@pytest.mark.parametrize(
    "location", ["/etc/hostname", "a/../../b", "..", "C:\\weights", "..\\weights", "link", "sub/link"]
)
def test_every_way_out_of_the_folder_is_refused(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    path = _save(folder, location)
    (tmp_path / "secret").write_bytes(bytes(64))
    (folder / "sub").mkdir()
    for link in (folder / "link", folder / "sub" / "link"):
        link.symlink_to(tmp_path / "secret")
    with pytest.raises(UntrustedModelError, match="outside its folder"):
        refuse_escaping_data(path)


def test_weights_beside_the_file_and_in_it_are_fine_also_through_a_link_to_the_folder(tmp_path: Path) -> None:
    from onnx import numpy_helper

    path = _save(tmp_path / "export", "model.onnx.data")
    refuse_escaping_data(path)
    (tmp_path / "linked").symlink_to(tmp_path / "export")
    refuse_escaping_data(tmp_path / "linked" / "model.onnx")
    path.write_bytes(
        _model("initializer", numpy_helper.from_array(np.ones((4, 4), "float32"), "w")).SerializeToString()
    )
    assert locations(path) == set()


def test_a_group_before_the_graph_hides_nothing(tmp_path: Path) -> None:
    path = _save(tmp_path, "../out.bin")
    path.write_bytes(bytes([99 << 3 & 127 | 3 | 128, 6, 8, 1, 99 << 3 & 127 | 4 | 128, 6]) + path.read_bytes())
    assert locations(path) == {"../out.bin"}


@pytest.mark.parametrize("content", [b"", b"\xff" * 50, b"not a model", bytes(100)])
def test_what_is_no_model_names_no_data(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    assert locations(tmp_path / "model.onnx") == set()


def test_onnx_runtime_and_openvino_are_not_given_such_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    from keronyx.runtime import openvino as runtime_openvino
    from keronyx.runtime import ort_common

    path = _save(tmp_path / "export", "../out.bin")
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: pytest.fail("opened"))
    request = SessionRequest(str(path), SPEC, "cpu", 1)
    for session in (ort_common.OnnxRuntimeSession, runtime_openvino.OpenVinoSession):
        with pytest.raises(UntrustedModelError):
            session(request)

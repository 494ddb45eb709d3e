"""The structure and contract gates, each against the fault it is there for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keronyx.export.gates import contract, structure
from keronyx.export.gates.numeric import open_session
from keronyx.types import ModelSpec, TensorSpec

SPEC = ModelSpec(
    "tiny", "tiny", (TensorSpec("x", (1, 4), "float32"),), (TensorSpec("y", (1, 3), "float32"),), 12, "hash"
)


def _model(operator: str = "MatMul", domain: str = "", **attributes: Any) -> Any:
    """y = x @ w, its node labelled with the layer `dense`."""
    from onnx import TensorProto, helper, numpy_helper

    node = helper.make_node(operator, ["x", "w"], ["y"], name="model/dense/MatMul", domain=domain, **attributes)
    entry = node.metadata_props.add()
    entry.key, entry.value = "keronyx.layer", "dense"
    graph = helper.make_graph(
        [node],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(np.ones((4, 3), "float32"), "w")],
    )
    sets = [helper.make_opsetid("", 18), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=sets, ir_version=10)


def _save(proto: Any, path: Path) -> Path:
    import onnx

    onnx.save(proto, str(path), save_as_external_data=True, location="weights", size_threshold=0)
    return path


def test_a_sound_model_passes_in_memory_and_on_disk_with_its_weights_beside_it(tmp_path: Path) -> None:
    import onnx

    assert structure.refusal(_model()) is None
    path = _save(_model(), tmp_path / "model.onnx")
    assert structure.refusal(onnx.load(path, load_external_data=False), path) is None
    assert (tmp_path / "weights").exists()


@pytest.mark.parametrize(("operator", "domain"), [("Erfc", ""), ("MatMul", "somebody.else")])
def test_an_operator_nobody_has_is_refused_with_its_layer(operator: str, domain: str) -> None:
    refusal = structure.refusal(_model(operator, domain))
    assert refusal is not None and (refusal.gate, refusal.layer) == ("structure", "dense")
    assert refusal.said.endswith(f"{domain}.{operator}".lstrip("."))
    assert str(refusal).endswith("(layer dense)") and "\n" not in str(refusal)


def test_an_operator_of_onnx_runtimes_own_is_not_foreign() -> None:
    assert structure.refusal(_model("FusedMatMul", "com.microsoft", alpha=1.0)) is None


def test_shapes_that_contradict_each_other_are_refused_with_the_layer() -> None:
    proto = _model()
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 5
    refusal = structure.refusal(proto)
    assert refusal is not None and refusal.gate == "structure" and "checker" in refusal.said
    proto = _model("Softmax")  # takes one input
    refusal = structure.refusal(proto)
    assert refusal is not None and refusal.layer == "dense"


def test_the_models_own_signature_passes_and_initializers_are_no_inputs() -> None:
    proto = _model()
    assert contract.refusal(proto, SPEC) is None
    from onnx import TensorProto, helper

    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3]))
    assert contract.refusal(proto, SPEC) is None


@pytest.mark.parametrize(
    "spec",
    [
        replace(SPEC, outputs=(replace(SPEC.outputs[0], name="Identity"),)),
        replace(SPEC, inputs=(replace(SPEC.inputs[0], name="args_0"),)),
        replace(SPEC, inputs=(replace(SPEC.inputs[0], shape=(None, 4)),)),
        replace(SPEC, outputs=(replace(SPEC.outputs[0], dtype="float16"),)),
        replace(SPEC, outputs=(SPEC.outputs[0], SPEC.outputs[0])),
    ],
    ids=["output renamed", "input renamed", "batch fixed", "another dtype", "output lost"],
)
def test_another_signature_is_refused_in_the_file_and_in_onnx_runtime(spec: ModelSpec, tmp_path: Path) -> None:
    refusal = contract.refusal(_model(), spec)
    assert refusal is not None and refusal.gate == "contract" and "the model's" in refusal.said
    session = open_session(_save(_model(), tmp_path / "model.onnx"))
    assert contract.refusal_of_session(session, SPEC) is None
    other = contract.refusal_of_session(session, spec)
    assert other is not None and "ONNX Runtime's" in other.said


def test_a_constant_that_became_a_required_input_is_refused() -> None:
    proto = _model()
    from onnx import TensorProto, helper

    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3]))
    del proto.graph.initializer[:]
    assert structure.refusal(proto) is None, "the checker sees nothing wrong"
    refusal = contract.refusal(proto, SPEC)
    assert refusal is not None and "w float32[4, 3]" in refusal.said


def test_inputs_in_another_order_are_refused() -> None:
    two = replace(SPEC, inputs=(SPEC.inputs[0], TensorSpec("w", (4, 3), "float32")))
    from onnx import TensorProto, helper

    proto = _model()
    proto.graph.input.insert(0, helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3]))
    del proto.graph.initializer[:]
    assert contract.refusal(proto, two) is not None
    assert contract.refusal(proto, replace(two, inputs=two.inputs[::-1])) is None

"""The numeric gate against real sessions of ONNX Runtime, and the search for its guilty optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keronyx.export.gates import RefusedError, numeric, optimizers, trials
from keronyx.export.gates.optimizers import OPTIMIZERS, find_guilty
from keronyx.export.gates.trials import Trial
from keronyx.parity import FLOAT32
from keronyx.types import Array, ModelSpec, TensorSpec

SPEC = ModelSpec(
    "tiny", "tiny", (TensorSpec("x", (1, 3, 6, 6), "float32"),), (TensorSpec("y", (1, 3, 7, 7), "float32"),), 0, "hash"
)


def _zero_pad_then_pool(path: Path) -> Path:
    """What keras.applications.ResNet50V2 does; ONNX Runtime's Pad_Fusion lets MaxPool pad with -inf instead."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [
            helper.make_node("Pad", ["x", "pads", "zero"], ["padded"]),
            helper.make_node("MaxPool", ["padded"], ["y"], kernel_shape=[2, 2]),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 7, 7])],
        [
            numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1]), "pads"),
            numpy_helper.from_array(np.array(0, "float32"), "zero"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), str(path))
    return path


def _right(x: Array) -> Array:
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = [padded[:, :, i : i + 7, j : j + 7] for i in (0, 1) for j in (0, 1)]
    return np.asarray(np.max(windows, axis=0))


def _trials(kinds: Sequence[str] = ("random", "realistic", "negative")) -> list[Trial]:
    drawn = [trial for trial in trials.draw(SPEC.inputs, {}) if trial.kind in kinds]
    return [Trial(trial.kind, trial.inputs, [_right(trial.inputs[0])]) for trial in drawn]


def test_the_optimizer_that_spoils_the_answers_is_found_and_the_rest_is_left_on(tmp_path: Path) -> None:
    path = _zero_pad_then_pool(tmp_path / "model.onnx")
    judged = numeric.judge(path, SPEC, _trials(), FLOAT32)
    assert judged.refusal is None and judged.disabled == ("Pad_Fusion",)
    session = numeric.open_session(path, disabled=judged.disabled)
    assert numeric.compare(session, SPEC, _trials(), FLOAT32, (), "on") == 0


@pytest.mark.parametrize("search", [True, False])
def test_an_optimizer_without_which_the_file_can_be_loaded_is_left_out(tmp_path: Path, search: bool) -> None:
    """ONNX Runtime's Pad_Fusion gives an AveragePool pads as wide as its kernel, which ONNX Runtime then refuses."""
    import onnx

    path = _zero_pad_then_pool(tmp_path / "model.onnx")
    proto = onnx.load(path)
    proto.graph.node[1].op_type = "AveragePool"
    proto.graph.node[1].attribute[0].ints[:] = [1, 2]
    proto.graph.output[0].type.tensor_type.shape.dim[2].dim_value = 8
    onnx.save(proto, str(path))
    padded = [np.pad(trial.inputs[0], ((0, 0), (0, 0), (1, 1), (1, 1))) for trial in _trials()]
    right = [Trial(t.kind, t.inputs, [(p[..., 1:] + p[..., :-1]) / 2]) for t, p in zip(_trials(), padded, strict=True)]
    spec = replace(SPEC, outputs=(TensorSpec("y", (1, 3, 8, 7), "float32"),))
    with pytest.raises(RefusedError, match="cannot load"):
        numeric.load(path, spec)
    judged = numeric.judge(path, spec, right, FLOAT32, search=search)
    assert judged.refusal is None and judged.disabled == ("Pad_Fusion",) and judged.typical < 1e-6
    right[0].answers[0][:] *= 1.01
    assert numeric.judge(path, spec, right, FLOAT32).refusal is not None


def test_only_input_below_zero_shows_it(tmp_path: Path) -> None:
    path = _zero_pad_then_pool(tmp_path / "model.onnx")
    above = [Trial(t.kind, [abs(t.inputs[0])], [_right(abs(t.inputs[0]))]) for t in _trials()]
    assert numeric.judge(path, SPEC, above, FLOAT32).disabled == ()
    refusal = numeric.judge(path, SPEC, _trials(("negative",)), FLOAT32, search=False).refusal
    assert refusal is not None and "negative input" in refusal.said and "optimizations on" in refusal.said


def test_wrong_answers_are_refused_with_the_input_and_without_a_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numeric, "find_guilty", lambda _: pytest.fail("the graph itself is wrong"))
    made = _trials()
    made[1].answers[0][0, 0, 2:] *= 1.02
    refusal = numeric.judge(_zero_pad_then_pool(tmp_path / "model.onnx"), SPEC, made, FLOAT32).refusal
    assert refusal is not None and (refusal.gate, refusal.trial) == ("numeric", 1)
    assert "realistic input" in refusal.said and "optimizations off" in refusal.said


def test_small_input_is_not_outweighed_by_large(tmp_path: Path) -> None:
    """Answers to a picture of 0..255 are large; an error of the random input's own size must still be seen."""
    made = _trials(("random", "realistic"))
    made[0].answers[0][:] *= 1.001
    refusal = numeric.judge(_zero_pad_then_pool(tmp_path / "model.onnx"), SPEC, made, FLOAT32).refusal
    assert refusal is not None and "random input" in refusal.said


def test_what_onnx_runtime_cannot_load_is_refused_with_the_layer(tmp_path: Path) -> None:
    import onnx

    path = _zero_pad_then_pool(tmp_path / "model.onnx")
    proto = onnx.load(path)
    proto.graph.node[1].name = "model/pool/MaxPool"
    proto.graph.node[1].attribute[0].ints[:] = [2, 2, 2, 2]
    entry = proto.graph.node[1].metadata_props.add()
    entry.key, entry.value = "keronyx.layer", "pool"
    onnx.save(proto, str(path))
    refusal = numeric.judge(path, SPEC, _trials(), FLOAT32).refusal
    assert refusal is not None and (refusal.gate, refusal.layer) == ("structure", "pool")


@pytest.mark.parametrize("guilty", [{"ConstantFolding"}, {"ConvBNFusion", "ReshapeFusion"}, {OPTIMIZERS[-1]}])
def test_the_search_ends_with_the_guilty_alone(guilty: set[str]) -> None:
    asked = []

    def wrong(disabled: Sequence[str]) -> bool:
        asked.append(tuple(disabled))
        return not guilty <= set(disabled)

    assert set(find_guilty(wrong)) == guilty
    assert len(asked) < 60


def test_when_no_optimizer_is_guilty_none_is_named() -> None:
    assert find_guilty(lambda _: True) == ()


def test_onnx_runtime_has_the_optimizer_everyone_suspects_first(tmp_path: Path) -> None:
    assert optimizers.OPTIMIZERS[0] == "Pad_Fusion" and len(set(OPTIMIZERS)) == len(OPTIMIZERS)


def _answered(*answers: Any) -> list[Trial]:
    return [Trial(f"input {i}", [], [np.asarray(answer, "float32")]) for i, answer in enumerate(answers)]


def test_answers_that_are_no_numbers_are_not_compared_and_that_is_said() -> None:
    spec = ModelSpec("tiny", "tiny", (), (TensorSpec("y", (2,), "float32"),), 0, "hash")
    kept, said = numeric.comparable(_answered([1, 2], [np.nan, np.inf], [np.nan, 3]), spec)
    assert kept == [0, 2]
    assert said == ["Keras' own y is all NaN or Inf for input 1 input: not compared"]
    kept, said = numeric.comparable(_answered([np.nan, np.nan]), spec)
    assert kept == []


def test_a_constant_answer_is_said_to_prove_little() -> None:
    spec = ModelSpec("tiny", "tiny", (), (TensorSpec("y", (2,), "float32"),), 0, "hash")
    kept, said = numeric.comparable(_answered([0.5, 0.5], [0.5, 0.5]), spec)
    assert kept == [0, 1] and said == ["y is 0.5 whatever the input: comparing it proves little"]
    assert numeric.comparable(_answered([0.5, 0.5], [0.5, 0.6]), spec)[1] == []

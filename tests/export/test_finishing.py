"""The second process: passes are kept if they are right, a refused file is kept aside, large weights lie beside."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from keronyx.export import finishing, onnx_files, rewrite
from keronyx.export.gates import latency, numeric, options, trials
from keronyx.export.gates.trials import Trial
from keronyx.types import ModelSpec, TensorSpec

SPEC = ModelSpec(
    "tiny", "tiny", (TensorSpec("x", (1, 400), "float32"),), (TensorSpec("y", (1, 30), "float32"),), 12000, "hash"
)
WEIGHTS = np.random.default_rng(0).normal(0, 0.1, (400, 30)).astype("float32")


class _Pass(ir.passes.InPlacePass):
    """Adds what the real ones would take away: something that can be counted."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        self.change(model)
        return ir.passes.PassResult(model, True)

    def change(self, model: ir.Model) -> None:
        raise NotImplementedError


class Harmless(_Pass):
    OPERATOR = "Identity"

    def change(self, model: ir.Model) -> None:
        last = model.graph.outputs[0].producer()
        assert last is not None
        last.outputs[0].name, made = f"inner{len(model.graph)}", ir.node(self.OPERATOR, [last.outputs[0]])
        made.outputs[0].name, made.outputs[0].shape = "y", model.graph.outputs[0].shape
        made.outputs[0].type = model.graph.outputs[0].type
        model.graph.append(made)
        model.graph.outputs[0] = made.outputs[0]


class AsHarmless(Harmless):
    OPERATOR = "Dropout"


class Wrong(_Pass):
    def change(self, model: ir.Model) -> None:
        (weights,) = model.graph.initializers.values()
        assert weights.const_value is not None
        weights.const_value = ir.tensor(weights.const_value.numpy() * 1.02, name=weights.name)


class Raising(_Pass):
    def change(self, model: ir.Model) -> None:
        raise ir.passes.PostconditionError("not what it should be")


class Renaming(_Pass):
    def change(self, model: ir.Model) -> None:
        model.graph.outputs[0].name = "other"


def _raw(folder: Path, factor: float = 1.0) -> None:
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["y"], name="dense/MatMul"),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 400])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 30])],
        [numpy_helper.from_array(WEIGHTS * np.float32(factor), "w")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx_files.save_raw(ir.from_proto(proto), folder / onnx_files.RAW)
    drawn = [Trial(t.kind, t.inputs, [t.inputs[0] @ WEIGHTS]) for t in trials.draw(SPEC.inputs, {})]
    trials.store(folder / onnx_files.ANSWERS, drawn)
    trials.store(folder / onnx_files.ROUNDED, drawn)


@pytest.fixture
def finish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Finish the tiny model with some passes; nothing is measured for longer than it must be."""
    monkeypatch.setattr(latency, "BUDGET_NS", 0)

    def run(*classes: type[_Pass], opset: int = 18, skip: tuple[str, ...] = (), prepare: Any = _raw) -> Any:
        for module in (rewrite, finishing):
            monkeypatch.setattr(module, "passes", lambda: tuple(one() for one in classes))
        prepare(tmp_path)
        told = json.loads(json.dumps(asdict(SPEC)))
        terms = {"folder": str(tmp_path), "name": "model.onnx", "spec": told, "precision": "float32"}
        return finishing.finish({**terms, "opset": opset, "skip": list(skip)})

    return run


def _operators(path: Path) -> list[str]:
    return [node.op_type for node in ir.load(path).graph]


def _answers(path: Path, folder: Path) -> float:
    session = numeric.open_session(path)
    drawn = trials.read(folder / onnx_files.ANSWERS)
    return max(float(np.abs(numeric.run(session, SPEC, t.inputs)[0] - t.answers[0]).max()) for t in drawn)


def test_a_right_graph_is_written_whole_with_what_was_done_to_it(finish: Any, tmp_path: Path) -> None:
    done = finish(Harmless)
    assert done["refusal"] is None and done["macs"] == 400 * 30
    assert done["evidence"][0] == "2 ONNX nodes" and "Harmless 1 -> 2 nodes" in done["evidence"]
    assert any("structure, contract and numeric gates passed on 3 inputs" in said for said in done["evidence"])
    assert any(said.startswith("graph passes ") for said in done["evidence"])
    moved = (tmp_path / "elsewhere").mkdir() or (tmp_path / "model.onnx").rename(tmp_path / "elsewhere" / "model.onnx")
    assert _answers(moved, tmp_path) < 1e-4, "it needs nothing beside it"
    assert done["seconds"] > 0 and done["gates_s"] > 0 and done["peak_mib"] > 50


def test_a_graph_no_pass_changed_is_not_timed(finish: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "compare", lambda *_: pytest.fail("measured for nothing"))
    assert finish()["refusal"] is None


@pytest.mark.parametrize("culprit", [Wrong, Raising, Renaming])
def test_a_pass_that_spoils_the_graph_is_dropped_and_the_others_kept(
    culprit: type[_Pass], finish: Any, tmp_path: Path
) -> None:
    done = finish(Harmless, culprit)
    assert done["refusal"] is None
    assert any(said.startswith(f"DroppedPass {culprit.__name__}: ") for said in done["evidence"])
    assert _operators(tmp_path / "model.onnx") == ["MatMul", "Identity"]
    assert _answers(tmp_path / "model.onnx", tmp_path) < 1e-4


def test_a_graph_that_is_wrong_from_the_start_is_refused_and_kept_aside(finish: Any, tmp_path: Path) -> None:
    done = finish(Harmless, prepare=lambda folder: _raw(folder, factor=1.02))
    assert done["refusal"]["gate"] == "numeric" and "random input" in done["refusal"]["said"]
    assert _operators(tmp_path / "model.onnx.rejected") == ["MatMul", "Identity"]
    assert not any(said.startswith("DroppedPass") for said in done["evidence"])


def test_before_rounding_is_known_a_numeric_refusal_costs_no_search(
    finish: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_time(folder: Path) -> None:
        _raw(folder, factor=1.02)
        (folder / onnx_files.ROUNDED).unlink()

    monkeypatch.setattr(finishing._Work, "attempt", lambda *_: pytest.fail("too early"))
    assert finish(Harmless, prepare=first_time)["refusal"]["gate"] == "numeric"
    assert not (tmp_path / "model.onnx.rejected").exists()


def test_what_rounding_does_to_keras_itself_is_allowed(finish: Any) -> None:
    def chaotic(folder: Path) -> None:
        _raw(folder, factor=1.002)
        drawn = trials.read(folder / onnx_files.ANSWERS)
        trials.store(folder / onnx_files.ROUNDED, [Trial(t.kind, t.inputs, [t.answers[0] * 1.001]) for t in drawn])

    assert finish(prepare=chaotic)["refusal"] is None


def test_nothing_to_compare_is_no_pass(finish: Any, tmp_path: Path) -> None:
    def no_numbers(folder: Path) -> None:
        _raw(folder)
        drawn = trials.read(folder / onnx_files.ANSWERS)
        empty = [Trial(t.kind, t.inputs, [np.full_like(t.answers[0], np.nan)]) for t in drawn]
        trials.store(folder / onnx_files.ANSWERS, empty)

    done = finish(prepare=no_numbers)
    assert done["refusal"]["gate"] == "numeric" and "nothing to compare" in done["refusal"]["said"]
    assert (tmp_path / "model.onnx.rejected").exists()
    assert sum("all NaN or Inf" in said for said in done["evidence"]) == 3


def test_weights_too_much_for_one_file_lie_beside_it(
    finish: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_files, "INLINE_BYTES", 1000)
    done = finish(Harmless)
    assert done["refusal"] is None and done["macs"] == 400 * 30
    assert (tmp_path / "model.onnx").stat().st_size < 2000
    assert (tmp_path / "model.onnx.data").stat().st_size == WEIGHTS.nbytes
    (tmp_path / onnx_files.RAW).unlink()
    (tmp_path / f"{onnx_files.RAW}.data").unlink()
    assert _answers(tmp_path / "model.onnx", tmp_path) < 1e-4
    onnx_files.save(ir.load(tmp_path / "model.onnx"), tmp_path / "model.onnx")
    assert _answers(tmp_path / "model.onnx", tmp_path) < 1e-4, "a model can be written over itself"
    done = finish(prepare=lambda folder: _raw(folder, factor=1.02))
    assert done["refusal"] is not None
    assert (tmp_path / "model.onnx.rejected.data").stat().st_size == WEIGHTS.nbytes


def test_the_operator_set_asked_for_is_what_is_written_and_judged(finish: Any, tmp_path: Path) -> None:
    assert finish(Harmless, opset=21)["refusal"] is None
    assert ir.load(tmp_path / "model.onnx").opset_imports[""] == 21


@pytest.mark.parametrize("skip", [("Wrong",), ("*",)])
def test_skipped_passes_are_not_run(skip: tuple[str, ...], finish: Any, tmp_path: Path) -> None:
    done = finish(Wrong, skip=skip)
    assert done["refusal"] is None and not any("Wrong" in said for said in done["evidence"])


def test_a_pass_that_makes_the_graph_slower_is_dropped(
    finish: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keronyx.medians import Interval

    monkeypatch.setattr(latency, "compare", lambda *_: latency.Ratio(1.2, Interval(1.1, 1.3, 0.97), 6))
    done = finish(Harmless)
    assert done["refusal"] is None and any(said.startswith("DroppedPass Harmless: ") for said in done["evidence"])
    assert _operators(tmp_path / "model.onnx") == ["MatMul"]


def test_an_optimizer_of_onnx_runtime_that_must_be_off_is_recorded_in_the_file(
    finish: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = numeric.judge
    monkeypatch.setattr(numeric, "judge", lambda *args: numeric.Judged(real(*args).refusal, ("Pad_Fusion",), 1e-6))
    done = finish(Harmless)
    assert done["refusal"] is None and not any(said.startswith("DroppedPass") for said in done["evidence"])
    assert any(said.startswith("warning: ") and "Pad_Fusion" in said for said in done["evidence"])
    assert _operators(tmp_path / "model.onnx") == ["MatMul", "Identity"], "the raw graph is not better"
    stored = ir.load(tmp_path / "model.onnx").metadata_props[numeric.SESSION_OPTIONS]
    assert json.loads(stored) == {"disabled_optimizers": ["Pad_Fusion"]}
    assert _answers(tmp_path / "model.onnx", tmp_path) < 1e-4


def _optimizer_spoils(monkeypatch: pytest.MonkeyPatch, spoiled: Callable[[list[str]], bool]) -> None:
    """Files of such operators go through the gates only without Pad_Fusion."""
    real = numeric.judge

    def judge(path: Path, *rest: Any) -> numeric.Judged:
        found = real(path, *rest)
        return replace(found, disabled=("Pad_Fusion",)) if spoiled(_operators(path)) else found

    monkeypatch.setattr(numeric, "judge", judge)


def test_a_pass_that_makes_an_optimizer_of_onnx_runtime_go_wrong_is_dropped(
    finish: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _optimizer_spoils(monkeypatch, lambda operators: "Identity" in operators)
    done = finish(AsHarmless, Harmless)
    assert done["refusal"] is None and not any(said.startswith("warning") for said in done["evidence"])
    (dropped,) = (said for said in done["evidence"] if said.startswith("DroppedPass"))
    assert dropped == "DroppedPass Harmless: with it right only without ONNX Runtime's own Pad_Fusion"
    assert _operators(tmp_path / "model.onnx") == ["MatMul", "Dropout"]
    assert numeric.SESSION_OPTIONS not in ir.load(tmp_path / "model.onnx").metadata_props


@pytest.mark.parametrize("anyway", [True, False])
def test_a_pass_without_which_more_optimizers_must_be_off_is_not_dropped_for_its_latency(
    anyway: bool, finish: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keronyx.medians import Interval

    _optimizer_spoils(monkeypatch, lambda operators: anyway or "Identity" not in operators)
    monkeypatch.setattr(latency, "compare", lambda *_: latency.Ratio(1.2, Interval(1.1, 1.3, 0.97), 6))
    done = finish(Harmless)
    assert done["refusal"] is None
    assert any(said.startswith("DroppedPass") for said in done["evidence"]) == anyway
    assert any(said.startswith("kept Harmless, though slower with it: ") for said in done["evidence"]) != anyway
    assert _operators(tmp_path / "model.onnx") == (["MatMul"] if anyway else ["MatMul", "Identity"])
    stored = ir.load(tmp_path / "model.onnx").metadata_props.get(numeric.SESSION_OPTIONS, "{}")
    assert json.loads(stored) == ({"disabled_optimizers": ["Pad_Fusion"]} if anyway else {})


def test_passes_without_which_the_graph_cannot_be_loaded_are_kept(
    finish: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = numeric.open_session

    def open_session(path: Path, *args: Any, **options: Any) -> Any:
        if path.name == onnx_files.RAW:
            raise RuntimeError("cannot be loaded")
        return real(path, *args, **options)

    monkeypatch.setattr(numeric, "open_session", open_session)
    done = finish(Harmless)
    assert done["refusal"] is None and _operators(tmp_path / "model.onnx") == ["MatMul", "Identity"]
    assert "graph passes not compared with the graph without them: cannot be loaded" in done["evidence"]


@pytest.mark.parametrize("right", [True, False])
def test_quicker_session_options_are_recorded_where_they_are_as_right(
    right: bool, finish: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keronyx.export import session_options
    from keronyx.export.gates import Refusal, RefusedError

    def choose(open_call: Any) -> Any:
        open_call({})()
        open_call({"graph_optimization_level": "extended"})()
        return {"graph_optimization_level": "extended"}, latency.Ratio(0.9, None, 6)

    real = numeric.compare

    def compare(*args: Any) -> float:
        if args[-1] == "on in part" and not right:
            raise RefusedError(Refusal("numeric", "off"))
        return real(*args)

    monkeypatch.setattr(session_options, "choose", choose)
    monkeypatch.setattr(numeric, "compare", compare)
    assert finish()["refusal"] is None
    assert numeric.SESSION_OPTIONS not in ir.load(tmp_path / "model.onnx").metadata_props, "no long kernel in it"
    monkeypatch.setattr(options, "may_pay", lambda _: True)
    done = finish()
    assert done["refusal"] is None
    stored = ir.load(tmp_path / "model.onnx").metadata_props.get(numeric.SESSION_OPTIONS, "{}")
    assert json.loads(stored) == ({"graph_optimization_level": "extended"} if right else {})
    assert any("1.11x faster with graph_optimization_level extended" in said for said in done["evidence"]) == right


@pytest.mark.parametrize(("kernel", "worth"), [([1, 64], True), ([3, 3], False)])
def test_options_are_only_looked_for_where_kernels_are_long(kernel: list[int], worth: bool) -> None:
    from onnx import helper

    node = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=kernel)
    assert options.may_pay(helper.make_model(helper.make_graph([node], "g", [], []))) == worth

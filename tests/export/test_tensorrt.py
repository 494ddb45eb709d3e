"""Whether TensorRT takes a model: what its process may do to us, whose word counts, the command, and TensorRT itself
where it is installed."""

from __future__ import annotations

import importlib.util
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import parser
from typer.testing import CliRunner

from keronyx.cli import app
from keronyx.errors import UsageError
from keronyx.export import folder as folders
from keronyx.export import tensorrt
from keronyx.export.layers import LAYER
from keronyx.export.opset import nodes_of
from keronyx.export.tensorrt import Refusal
from keronyx.types import Artifact, ModelSpec, TensorSpec

ROOT = Path(__file__).parents[2]

INPUTS = (TensorSpec("x", (None, 4, 8, None), "float32"),)

CONVOLUTION = f"""fine (float[batch, 4, 8, width] x) => (float[batch, 4, 8, width] y) <
    float[4, 4, 1, 1] w = {{{", ".join(["0.5"] * 16)}}}
> {{ a = Conv (x, w) y = Relu (a) }}"""

UNPOOLING = """bad (float[batch, 4, 8, width] x) => (float[batch, 4, 8, width] y) {
    p, i = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
    y = MaxUnpool <kernel_shape = [2, 2], strides = [2, 2]> (p, i) }"""


def model(text: str, opset: int = 18) -> onnx.ModelProto:
    """A model from its text; node `conv_0` of layer `at/Conv`."""
    made = onnx.helper.make_model(
        parser.parse_graph(text), opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=9
    )
    for index, node in enumerate(nodes_of(made.graph)):
        node.name = f"{node.op_type.lower()}_{index}"
        node.metadata_props.add(key=LAYER, value=f"at/{node.op_type}")
    return made


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[str], Path]:
    def save(text: str) -> Path:
        path = tmp_path / "model.onnx"
        onnx.save(model(text), path)
        return path

    return save


# The process: anything may happen in it.

CHILD = """
import os, sys, time
from keronyx.errors import UnavailableError, WorkerError
from keronyx.process import serve
REFUSED = {"layer": "at/MaxUnpool", "operator": "MaxUnpool", "node": "maxunpool_1", "why": "not supported"}
state = {}
def table(order):
    return {"refused": TABLE}
def parse(order):
    if MISSING:
        raise UnavailableError("TensorRT-RTX is not installed", "pip install it")
    if PARSE_CRASHES:
        os.abort()
    state["parsed"] = True
    return {"version": "1.7", "capabilities": ["7.5", "8.6", "12.0"], "nodes": 2, "layers": LAYERS, "refused": PARSED}
def build(order):
    assert state["parsed"] and order["shapes"] in ({}, {"x": [[1, 4, 8, 32], [4, 4, 8, 128], [8, 4, 8, 512]]})
    if ENDLESS:
        time.sleep(600)
    if order["capability"] == "8.6":
        print("SomeLibrary: assertion failed", file=sys.stderr, flush=True)
        os.abort()
    return {"bytes": 2**20 if order["shapes"] else 7, "seconds": 1.5, "refused": []}
serve({"table": table, "parse": parse, "build": build})
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def replaced(**settings: Any) -> None:
        refused = "REFUSED"
        values = {
            "TABLE": [],
            "MISSING": False,
            "PARSE_CRASHES": False,
            "ENDLESS": False,
            "LAYERS": 5,
            "PARSED": [],
        } | settings
        text = CHILD
        for name, value in values.items():
            said = f"[{refused}]" if value == "refused" else repr(value)
            text = text.replace("state = {}\n", f"state = {{}}\n{name} = {said}\n")
        (tmp_path / "fake_tensorrt_child.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(tensorrt, "CHILD", "fake_tensorrt_child")

    return replaced


def test_a_crash_costs_the_engine_that_caused_it_alone(child: Any, saved: Any) -> None:
    child()
    found = tensorrt.check(saved(CONVOLUTION), INPUTS, ("7.5", "8.6", "12.0"))
    by_capability = {build.capability: build for build in found.builds}
    assert [by_capability[one].engine_bytes for one in ("7.5", "12.0")] == [2**20, 2**20]
    assert by_capability["8.6"].said == "TensorRT crashed (SIGABRT): SomeLibrary: assertion failed"
    assert not found.ready and found.verdict == "TensorRT builds no engine for 8.6"


def test_after_an_engine_that_takes_too_long_no_other_is_tried(
    child: Any, saved: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    child(ENDLESS=True)
    ask = tensorrt.Child.ask

    def impatient(self: Any, order: str, timeout_s: float, **arguments: Any) -> Any:
        return ask(self, order, 0.2 if order == "build" else timeout_s, **arguments)

    monkeypatch.setattr(tensorrt.Child, "ask", impatient)
    found = tensorrt.check(saved(CONVOLUTION), INPUTS, ("7.5", "12.0"))
    assert [build.said for build in found.builds] == [
        "TensorRT did not answer within 0.2 s",
        "not built: 7.5 took too long",
    ]
    assert not found.ready


def test_open_dimensions_get_a_profile_and_fixed_ones_none(child: Any, saved: Any) -> None:
    child()
    fixed = (TensorSpec("x", (1, 4, 8, 8), "float32"),)
    sizes = [tensorrt.check(saved(CONVOLUTION), inputs, ("7.5",)).builds[0].engine_bytes for inputs in (INPUTS, fixed)]
    assert sizes == [2**20, 7]


def test_a_crash_while_parsing_is_one_line(child: Any, saved: Any) -> None:
    child(PARSE_CRASHES=True)
    found = tensorrt.check(saved(CONVOLUTION), INPUTS, ("7.5",))
    assert found.verdict == "TensorRT cannot parse the model: TensorRT crashed (SIGABRT)"
    assert not found.ready and found.builds[0].engine_bytes is None and not found.builds[0].table_only


def test_refused_nodes_are_not_built(child: Any, saved: Any) -> None:
    child(PARSED="refused", LAYERS=None)
    found = tensorrt.check(saved(UNPOOLING), INPUTS, ("7.5", "8.6"))
    assert found.refused == (Refusal("at/MaxUnpool", "MaxUnpool", "maxunpool_1", "not supported"),)
    assert not found.ready and found.verdict == "TensorRT refuses 1 node"
    assert [build.said for build in found.builds] == ["not built: nodes are refused"] * 2


@pytest.mark.parametrize("table", [[], "refused"])
def test_a_capability_the_library_builds_nothing_for_is_answered_by_the_table_alone(
    child: Any, saved: Any, table: Any
) -> None:
    child(TABLE=table)
    found = tensorrt.check(saved(CONVOLUTION), INPUTS, ("7.5", "9.0"))
    assert found.builds[1].table_only and found.builds[1].said == "TensorRT-RTX builds for 7.5, 8.6, 12.0 only"
    assert found.ready is not bool(table)
    verdict = "the TensorRT 10.15 operator table refuses 1 node" if table else "ready for TensorRT"
    assert found.verdict == verdict


@pytest.mark.parametrize("table", [[], "refused"])
def test_without_the_library_the_table_decides_and_its_absence_is_no_failure(
    child: Any, saved: Any, table: Any
) -> None:
    child(MISSING=True, TABLE=table)
    found = tensorrt.check(saved(CONVOLUTION), INPUTS)
    assert (found.version, found.said, found.remedy) == (None, "TensorRT-RTX is not installed", "pip install it")
    assert found.ready is not bool(table) and all(build.table_only for build in found.builds)
    assert found.verdict.startswith("the TensorRT 10.15 operator table")


def test_what_the_table_alone_refuses_does_not_overrule_the_engines(child: Any, saved: Any) -> None:
    child(TABLE="refused")
    found = tensorrt.check(saved(CONVOLUTION), INPUTS, ("7.5", "12.0"))
    assert found.ready and len(found.table) == 1


@pytest.mark.parametrize("text", ["86", "8.6.1", "sm_86", "8", ""])
def test_a_compute_capability_is_two_numbers(text: str) -> None:
    with pytest.raises(UsageError, match="compute capability"):
        tensorrt.capabilities([text])
    assert tensorrt.capabilities(["8.6", "12.0", "8.6"]) == ("8.6", "12.0")


# The command, over an export folder.


@pytest.fixture
def exported(tmp_path: Path) -> Callable[[str], Path]:
    def make(text: str) -> Path:
        folder = tmp_path / "there"
        folder.mkdir()
        onnx.save(model(text), folder / "model.onnx")
        size = (folder / "model.onnx").stat().st_size
        spec = ModelSpec("tiny", "tiny", INPUTS, INPUTS, 16, "4711")
        artifact = Artifact("onnx", "model.onnx", size, "", 1.0, 1.0, ())
        folders.write(folder, folders.Manifest(folders.MANIFEST_SCHEMA, "key", None, 18, spec, {}, (artifact,)))
        return folder

    return make


def test_the_command_checks_an_export_folder_and_keeps_the_answer(child: Any, exported: Any) -> None:
    child()
    folder = exported(CONVOLUTION)
    done = CliRunner().invoke(app, ["export", str(folder), "--check", "tensorrt", "--compute-capability", "7.5,9.0"])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "TensorRT-RTX 1.7: 2 ONNX nodes, 5 layers"
    assert lines[2].split() == ["7.5", "1.0", "1.5"]
    assert "9.0" in lines[3] and "only the operator table answers" in lines[3]
    assert lines[-1] == "ready for TensorRT"
    assert json.loads((folder / "tensorrt.json").read_text())["ready"] is True


def test_the_command_ends_with_1_and_names_layers_when_nodes_are_refused(child: Any, exported: Any) -> None:
    child(PARSED="refused", LAYERS=None, TABLE="refused")
    arguments = ["export", str(exported(UNPOOLING)), "--check", "tensorrt"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert done.stdout.count("layer at/MaxUnpool · MaxUnpool · not supported") == 2
    assert "keronyx: TensorRT refuses 1 node" in done.stderr and "--compute-capability" not in done.stderr
    told = CliRunner().invoke(app, [*arguments, "--json"])
    assert told.exit_code == 1
    found = json.loads(told.stdout)
    assert found["spec"]["name"] == "tiny" and found["tensorrt"]["refused"][0]["layer"] == "at/MaxUnpool"


def test_an_engine_that_is_missing_for_one_capability_says_how_to_name_others(child: Any, exported: Any) -> None:
    child()
    done = CliRunner().invoke(
        app, ["export", str(exported(CONVOLUTION)), "--check", "tensorrt", "--compute-capability", "7.5,8.6"]
    )
    assert done.exit_code == 1 and "TensorRT builds no engine for 8.6" in done.stderr
    assert "--compute-capability takes those you ship to" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--check", "openvino"], "--check knows no 'openvino'"),
        (["--check", "tensorrt", "--compute-capability", "86"], "a compute capability is two numbers, not '86'"),
    ],
)
def test_the_command_refuses_other_checks(arguments: list[str], said: str, exported: Any) -> None:
    done = CliRunner().invoke(app, ["export", str(exported(CONVOLUTION)), *arguments])
    assert done.exit_code == 2 and said in done.stderr


# The real library.


def test_the_suites_own_extra_brings_tensorrt() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    pinned = (ROOT / "constraints.txt").read_text()
    assert "keronyx[tensorrt]" in extras["dev"]
    for requirement in extras["tensorrt"]:
        assert requirement.partition(">=")[0].replace("-", "_") + "==" in pinned


def test_tensorrt_itself_builds_engines_and_refuses_nodes_or_is_said_to_be_missing(saved: Any) -> None:
    """Where the library is installed it is asked; where it is not, that is what the answer must say."""
    fine = tensorrt.check(saved(CONVOLUTION), INPUTS, ("8.6", "9.0"))
    assert fine.ready
    if importlib.util.find_spec("tensorrt_rtx_bindings") is None:
        assert (fine.version, fine.said) == (None, "TensorRT-RTX is not installed")
        assert all(build.table_only for build in fine.builds)
        return
    built, not_built = fine.builds
    assert fine.version and (fine.nodes, fine.refused) == (2, ()) and fine.layers and fine.layers >= 2
    assert built.engine_bytes and built.engine_bytes > 1000 and built.seconds and built.seconds > 0
    assert not_built.table_only
    bad = tensorrt.check(saved(UNPOOLING), INPUTS, ("8.6",))
    assert [(one.layer, one.operator) for one in bad.refused] == [
        ("at/MaxPool", "MaxPool"),
        ("at/MaxUnpool", "MaxUnpool"),
    ]
    assert [one.operator for one in bad.table] == ["MaxPool", "MaxUnpool"]

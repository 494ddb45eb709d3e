"""What TensorRT's library says becomes refused nodes by Keras layer. The library is a fake."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from onnx import parser

from keronyx.errors import UnavailableError, WorkerError
from keronyx.export import tensorrt_child
from keronyx.export.layers import LAYER
from keronyx.export.opset import nodes_of

CONVOLUTION = f"""fine (float[batch, 4, 8, 8] x) => (float[batch, 4, 8, 8] y) <
    float[4, 4, 1, 1] w = {{{", ".join(["0.5"] * 16)}}}
> {{ a = Conv (x, w) y = Relu (a) }}"""

UNPOOLING = """bad (float[batch, 4, 8, 8] x) => (float[batch, 4, 8, 8] y) {
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


class Error:
    def __init__(self, name: str, operator: str, index: int, said: str) -> None:
        self.node_name, self.node_operator, self.node, self.desc = (
            lambda v=v: v for v in (name, operator, index, said)
        )


class Library(SimpleNamespace):
    """`errors` are what the parser refuses, `build_says` what the builder logs instead of an engine."""

    def __init__(
        self, errors: list[Error] | None = None, build_says: str = "", layers: list[Any] | None = None
    ) -> None:
        super().__init__()
        self.__version__ = "1.7"
        self.profiles: dict[str, Any] = {}
        self.built_for: list[Any] = []
        library = self

        class ILogger:
            ERROR, INTERNAL_ERROR, WARNING = "error", "internal", "warning"

            def __init__(self) -> None: ...

        class Parser:
            num_errors = len(errors or [])

            def __init__(self, network: Any, logger: Any) -> None: ...

            def supports_model_v2(self, data: bytes, path: str) -> bool:
                return not errors

            def parse(self, data: bytes, path: str) -> bool:
                return True

            def get_error(self, index: int) -> Error:
                return (errors or [])[index]

        class Builder:
            def __init__(self, logger: Any) -> None:
                self.logger = logger

            def create_network(self, flags: int) -> Any:
                return SimpleNamespace(num_layers=len(layers or []), get_layer=(layers or []).__getitem__)

            def create_builder_config(self) -> Any:
                return SimpleNamespace(
                    set_compute_capability=lambda member, index: library.built_for.append(member),
                    add_optimization_profile=lambda profile: 0,
                )

            def create_optimization_profile(self) -> Any:
                return SimpleNamespace(set_shape=lambda name, *shapes: library.profiles.update({name: shapes}))

            def build_serialized_network(self, network: Any, config: Any) -> Any:
                self.logger.log("warning", "not an error")
                if build_says:
                    self.logger.log("error", build_says)
                    return None
                return SimpleNamespace(nbytes=2**20)

        self.ILogger, self.OnnxParser, self.Builder = ILogger, Parser, Builder
        self.ComputeCapability = SimpleNamespace(__members__={"NONE": 0, "CURRENT": 1, "SM86": "86", "SM120": "120"})
        self.NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Library]:
    def installed(*arguments: Any, **named: Any) -> Library:
        made = Library(*arguments, **named)
        monkeypatch.setitem(sys.modules, "tensorrt_rtx_libs", SimpleNamespace())
        monkeypatch.setitem(sys.modules, "tensorrt_rtx_bindings", made)
        return made

    return installed


def test_an_accepted_model_is_parsed_and_its_layers_are_counted(library: Any, saved: Any) -> None:
    library(layers=[SimpleNamespace(name="a"), SimpleNamespace(name="b")])
    answer = tensorrt_child.parse({"path": str(saved(CONVOLUTION))})
    assert answer == {"version": "1.7", "capabilities": ["8.6", "12.0"], "nodes": 2, "layers": 2, "refused": []}


def test_refused_nodes_are_told_by_keras_layer(library: Any, saved: Any) -> None:
    unknown = 'Assertion failed: convertDtype(t) && "No such type."'
    library(
        [
            Error("maxpool_0", "MaxPool", 0, "its indices"),
            Error("maxpool_0", "MaxPool", 0, "its indices"),
            Error("", "MaxUnpool", 1, "false"),
            Error("", "", -1, unknown),
        ]
    )
    answer = tensorrt_child.parse({"path": str(saved(UNPOOLING))})
    assert answer["layers"] is None
    assert [tuple(one.values()) for one in answer["refused"]] == [
        ("at/MaxPool", "MaxPool", "maxpool_0", "its indices"),
        ("at/MaxUnpool", "MaxUnpool", "maxunpool_1", "not supported"),
        (None, "", "", "No such type"),
    ]


def test_a_refusal_without_a_node_is_an_error_of_its_own(library: Any, saved: Any) -> None:
    made = library([Error("a", "A", 0, "")])
    made.OnnxParser.num_errors = 0
    with pytest.raises(WorkerError, match="refuses the model and names no node"):
        tensorrt_child.parse({"path": str(saved(CONVOLUTION))})


def test_an_engine_is_built_for_the_capability_and_shapes_asked_for(library: Any, saved: Any) -> None:
    made = library()
    tensorrt_child.parse({"path": str(saved(CONVOLUTION))})
    answer = tensorrt_child.build({"capability": "12.0", "shapes": {"x": [[1, 4], [4, 4], [8, 4]]}})
    assert (answer["bytes"], answer["refused"], made.built_for) == (2**20, [], ["120"])
    assert made.profiles == {"x": ((1, 4), (4, 4), (8, 4))}


@pytest.mark.parametrize(
    ("said", "layer", "why"),
    [
        (
            "IBuilder::buildSerializedNetwork: Error Code 1: Myelin ([pass.cpp:337: check] Cannot compile operation "
            "'conv_0' for Turing (SM75): FP32 GEMM is not supported. In compileGraph at /_src/codeGenerator.cpp:20)",
            "at/Conv",
            "Turing (SM75): FP32 GEMM is not supported",
        ),
        (
            "IBuilder::x: Error Code 4: API Usage Error (ITopKLayer conv_0_2: K exceeds the maximum value allowed "
            "(3840). In processCheck at /_src/a.cpp:1066 In analyzeShapes at /_src/a.cpp:2825)",
            "at/Conv",
            "ITopKLayer conv_0_2: K exceeds the maximum value allowed (3840)",
        ),
        ("Error Code 2: Internal Error (conv_01 has no runners)", None, "conv_01 has no runners"),
        ("", None, "not supported"),
    ],
)
def test_what_the_builder_refuses_is_told_by_keras_layer(
    library: Any, saved: Any, said: str, layer: str | None, why: str
) -> None:
    library(build_says=said or " ", layers=[SimpleNamespace(name="conv_0", metadata="[ONNX Layer: conv_0]")])
    tensorrt_child.parse({"path": str(saved(CONVOLUTION))})
    answer = tensorrt_child.build({"capability": "8.6", "shapes": {}})
    assert answer["bytes"] is None
    assert [(one["layer"], one["why"]) for one in answer["refused"]] == [(layer, why)]


def test_each_engine_is_refused_for_its_own_reason(library: Any, saved: Any) -> None:
    library(build_says="Error Code 1: Some (first)")
    tensorrt_child.parse({"path": str(saved(CONVOLUTION))})
    tensorrt_child._Parsed.logger.log("error", "Error Code 1: Some (an older one)")
    answer = tensorrt_child.build({"capability": "8.6", "shapes": {}})
    assert [one["why"] for one in answer["refused"]] == ["first"]


def test_a_library_that_is_not_there_names_its_extra(monkeypatch: pytest.MonkeyPatch, saved: Any) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx_libs", None)
    with pytest.raises(UnavailableError, match="TensorRT-RTX is not installed") as missing:
        tensorrt_child.parse({"path": str(saved(CONVOLUTION))})
    assert "keronyx[tensorrt]" in missing.value.remedy

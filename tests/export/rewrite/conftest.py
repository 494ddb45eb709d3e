"""What the tests of graph passes share: a graph as text, run with and without the pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


def run(proto: Any, feeds: dict[str, Any]) -> list[Any]:
    """The answers of ONNX Runtime, which leaves the graph as it is."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


@pytest.fixture
def passed() -> Callable[..., list[str]]:
    """Run passes on a graph given as text; fail unless it is still valid, has its inputs and outputs, and answers the
    same. Returns the operators left, in order.

    The graph text has float initializers as `float[...] name`, listed by shape in `weights`; all are random.
    """

    def check(text: str, *passes: Any, weights: dict[str, tuple[int, ...]] | None = None) -> list[str]:
        import onnx
        import onnx_ir as ir

        header = '<ir_version: 10, opset_import: ["" : 18]>\n'
        proto = onnx.parser.parse_model(header + text)
        random = np.random.default_rng(0)
        for name, shape in (weights or {}).items():
            array = random.normal(size=shape).astype(np.float32)
            proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
        model = ir.from_proto(proto)
        for node in model.graph:
            node.metadata_props["keronyx.layer"] = "of_the_test"
        for one in passes:
            one(model)
        after = ir.to_proto(model)
        onnx.checker.check_model(after, full_check=True)
        assert [(v.name, v.type) for v in after.graph.input] == [(v.name, v.type) for v in proto.graph.input]
        assert [v.name for v in after.graph.output] == [v.name for v in proto.graph.output]
        assert all(node.metadata_props["keronyx.layer"] == "of_the_test" for node in model.graph)
        feeds = {
            value.name: random.normal(size=[d.dim_value or 3 for d in value.type.tensor_type.shape.dim]).astype(
                onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            )
            for value in proto.graph.input
        }
        for expected, found in zip(run(proto, feeds), run(after, feeds), strict=True):
            assert expected.shape == found.shape and expected.dtype == found.dtype
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        return [node.op_type for node in model.graph]

    return check

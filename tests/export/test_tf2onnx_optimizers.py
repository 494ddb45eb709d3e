"""tf2onnx's own optimizers run without copying the graph each time; one that fails costs nothing but itself."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.slow


class _Failing:
    graph_been_opt = False

    def optimize(self, graph: Any, iteration: int) -> Any:
        for node in list(graph.get_nodes())[:1]:  # what it leaves behind must not be used
            node.type = "NoSuchOperator"
        raise ValueError("an optimizer's own fault")


def _model() -> Any:
    import keras
    from keras import layers

    return keras.Sequential([layers.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.MaxPooling2D(), layers.Conv2D(2, 2)])


def test_an_optimizer_that_fails_leaves_no_trace(to_onnx: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tf2onnx import optimizer

    first = next(iter(optimizer._optimizers))
    monkeypatch.setattr(optimizer, "_optimizers", {first: optimizer._optimizers[first], "failing": _Failing})
    path, _, _ = to_onnx(_model())
    assert path.is_file()


def test_the_graph_is_copied_once_whatever_the_number_of_optimizers(
    to_onnx: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import copy

    from tf2onnx.graph import Graph

    copied = []
    original = copy.deepcopy

    def counting(thing: Any, *memo: Any) -> Any:
        copied.append(isinstance(thing, Graph))
        return original(thing, *memo)

    monkeypatch.setattr(copy, "deepcopy", counting)
    to_onnx(_model())
    assert sum(copied) == 1

"""tf2onnx's own optimizers run without copying the graph each time; one that fails costs nothing but itself."""

from __future__ import annotations

from typing import Any

import pytest

from keronyx.errors import UsageError

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


def test_no_graph_is_copied_whatever_the_number_of_optimizers(to_onnx: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import copy

    from tf2onnx.graph import Graph

    copied = []
    original = copy.deepcopy

    def counting(thing: Any, *memo: Any) -> Any:
        copied.append(isinstance(thing, Graph))
        return original(thing, *memo)

    monkeypatch.setattr(copy, "deepcopy", counting)
    to_onnx(_model())
    assert sum(copied) == 0


def _run(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of tf2onnx's optimizers, as they are run from now on."""
    from tf2onnx import optimizer

    run: list[str] = []

    def watched(name: str, made: Any) -> Any:
        return lambda: run.append(name) or made()

    watching = {name: watched(name, made) for name, made in optimizer._optimizers.items()}
    monkeypatch.setattr(optimizer, "_optimizers", watching)
    return run


def test_optimizers_of_operators_a_graph_lacks_are_not_run(to_onnx: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _run(monkeypatch)
    to_onnx(_model())
    assert "optimize_transpose" in run
    assert not {"loop_optimizer", "q_dq_optimizer", "einsum_optimizer", "remove_redundant_upsample"} & set(run)


def test_a_loop_has_its_optimizer(to_onnx: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    class Doubled(keras.layers.Layer):  # type: ignore[misc]
        """Until its largest value is over 100."""

        def call(self, x: Any) -> Any:
            (x,) = keras.ops.while_loop(lambda x: keras.ops.max(x) < 100, lambda x: (x + keras.ops.abs(x) + 1,), (x,))
            return x

    run = _run(monkeypatch)
    inputs = keras.Input((3,), name="x")
    to_onnx(keras.Model(inputs, Doubled()(inputs)))
    assert "loop_optimizer" in run


def test_optimizers_run_for_certain_operators_alone_are_named_as_tf2onnx_does() -> None:
    from tf2onnx import optimizer

    from keronyx.export.converter import ONLY_FOR

    assert ONLY_FOR.keys() <= optimizer._optimizers.keys()


def test_a_graph_without_variables_is_not_frozen(to_onnx: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tf2onnx import tf_loader

    frozen: list[Any] = []
    original = tf_loader.from_function
    monkeypatch.setattr(tf_loader, "from_function", lambda *given: frozen.append(given) or original(*given))
    to_onnx(_model())
    assert not frozen


@pytest.mark.parametrize("error", [MemoryError(), UsageError("not like this", "do it otherwise")], ids=type)
@pytest.mark.parametrize("place", ["operator", "optimizer"])
def test_what_is_no_fault_of_tf2onnx_is_not_said_to_be_one(
    place: str, error: Exception, to_onnx: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keronyx.export import converter

    def fails(*_: Any, **__: Any) -> Any:
        raise error

    if place == "operator":
        monkeypatch.setattr(converter, "handlers", lambda: {"MaxPool": fails})
    else:
        monkeypatch.setattr(_Failing, "optimize", fails)
        monkeypatch.setattr("tf2onnx.optimizer._optimizers", {"failing": _Failing})
    with pytest.raises(type(error)) as raised:
        to_onnx(_model())
    assert raised.value is error

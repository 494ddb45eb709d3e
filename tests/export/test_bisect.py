"""A fault is put into one layer of a file; bisect names that layer, and nothing where there is no fault."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from keronyx.errors import ExportError, SourceError
from keronyx.export import onnx, signature
from keronyx.export.bisect import bisect
from keronyx.export.bisection import child
from keronyx.export.bisection.calls import program
from keronyx.export.convert import export
from keronyx.export.onnx_files import save
from keronyx.export.source import Source
from keronyx.types import DEPARTS, RIGHT, SPOILED, Bisection

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

Change = Callable[[Any], None]


@pytest.fixture
def injecting() -> Iterator[ModuleType]:
    sys.path.insert(0, str(BENCHMARKS))
    import injecting

    yield injecting
    sys.path.remove(str(BENCHMARKS))
    sys.modules.pop("injecting", None)


@pytest.fixture
def bisected(tmp_path: Path, comparison: Any) -> Callable[..., Bisection]:
    """Converts a model, changes the file, and bisects it on random inputs."""
    import onnx as onnx_files

    def run(model: Any, change: Change = lambda proto: None, raw: bool = False) -> Bisection:
        spec = signature.of_keras(model, "tiny", "tiny", 1, None)
        path = tmp_path / "model.onnx"
        if raw:
            save(onnx.converted(model, spec)[0], path)
        else:
            onnx.convert(model, spec, path)
        proto = onnx_files.load(path)
        change(proto)
        onnx_files.save(proto, path)
        return child.bisected(path, model, comparison.feeds(spec.inputs, 1))

    return run


def _scaled(label: str, times: float = 1.02) -> Change:
    """The first filter of a layer's first node with weights, times so much."""
    import onnx as onnx_files

    def change(proto: Any) -> None:
        held = {tensor.name: tensor for tensor in proto.graph.initializer}
        for node in proto.graph.node:
            layers = [p.value for p in node.metadata_props]
            if label in layers and node.op_type in ("Conv", "MatMul", "Gemm") and node.input[1] in held:
                weight = np.array(onnx_files.numpy_helper.to_array(held[node.input[1]]))
                weight[(0, ...) if node.op_type == "Conv" else (..., 0)] *= times
                proto.graph.initializer.append(onnx_files.numpy_helper.from_array(weight, "faulty"))
                node.input[1] = "faulty"
                return
        raise AssertionError(f"{label} has no weights in the file")

    return change


def _verdicts(found: Bisection) -> dict[str, set[str]]:
    by_layer: dict[str, set[str]] = {}
    for one in found.layers:
        by_layer.setdefault(one.layer, set()).add(one.verdict)
    return by_layer


def _residual() -> Any:
    """Two branches that are added, then joined with the input; two outputs."""
    import keras
    from keras import layers

    image = keras.Input((12, 16, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="left")(image)
    x = layers.ReLU(name="left_relu")(layers.BatchNormalization(name="left_bn")(x))
    y = layers.Conv2D(4, 1, name="right")(image)
    both = layers.Add(name="sum")([x, y])
    joined = layers.Concatenate(name="join")([both, layers.Dropout(0.5, name="drop")(y), image])
    maps = layers.Conv2D(2, 3, padding="same", name="maps")(joined)
    classes = layers.Dense(5, activation="softmax", name="classes")(layers.GlobalAveragePooling2D(name="mean")(both))
    return keras.Model(image, [maps, classes])


@pytest.mark.parametrize("layer", ["left", "right", "maps", "classes"])
def test_the_faulty_layer_is_named_and_no_other(bisected: Any, randomised: Any, layer: str) -> None:
    found = bisected(randomised(_residual()), _scaled(layer))
    assert found.guilty == layer
    assert [one.layer for one in found.departing()] == [layer]
    row = found.departing()[0]
    assert row.verdict == DEPARTS and row.ratio > 100 and row.amplification > row.ratio * row.keras_error
    assert found.optimizers == () and found.session_option == ""


def test_nothing_departs_in_a_right_file(bisected: Any, randomised: Any) -> None:
    found = bisected(randomised(_residual()))
    assert found.guilty is None and found.departing() == ()
    verdicts = _verdicts(found)
    assert all(verdicts[name] == {RIGHT} for name in ("left_bn", "left_relu", "sum", "join", "mean", "maps", "classes"))
    assert all(one.ratio < 8 for one in found.layers if one.verdict == RIGHT)


def test_batch_normalization_in_a_convolution_is_said_to_be_one_with_it(bisected: Any, randomised: Any) -> None:
    found = bisected(randomised(_residual()), _scaled("left"))
    assert found.departing()[0].one_with == ("left_bn",)


def test_two_faults_are_both_found_and_the_first_is_guilty(bisected: Any, randomised: Any) -> None:
    def both(proto: Any) -> None:
        import onnx as onnx_files

        _scaled("right", 1.5)(proto)
        held = [t for t in proto.graph.initializer if t.name == "faulty"]
        held[0].name = "faulty_too"
        for node in proto.graph.node:
            node.input[:] = ["faulty_too" if name == "faulty" else name for name in node.input]
        _scaled("maps", 1.01)(proto)
        onnx_files.checker.check_model(proto)

    found = bisected(randomised(_residual()), both)
    assert found.guilty == "right"
    assert [one.layer for one in found.departing()] == ["right", "maps"]  # the larger first


def test_a_layer_that_is_missing_is_named_not_the_one_behind_it(bisected: Any, randomised: Any) -> None:
    def without_relu(proto: Any) -> None:
        relu = next(node for node in proto.graph.node if node.op_type == "Relu")
        for node in proto.graph.node:
            node.input[:] = [relu.input[0] if name == relu.output[0] else name for name in node.input]
        proto.graph.node.remove(relu)

    assert bisected(randomised(_residual()), without_relu).guilty == "left_relu"


def test_a_layer_that_is_missing_before_one_that_does_nothing_is_named(bisected: Any, randomised: Any) -> None:
    import keras
    from keras import layers

    x = keras.Input((8, 8, 3), name="x")
    y = layers.ReLU(name="relu")(layers.Conv2D(3, 3, padding="same", name="conv")(x))
    model = randomised(keras.Model(x, layers.ReLU(name="last")(layers.Add(name="sum")([layers.Dropout(0.5)(y), x]))))

    def without_relu(proto: Any) -> None:
        relu = next(node for node in proto.graph.node if node.op_type == "Relu")
        for node in proto.graph.node:
            node.input[:] = [relu.input[0] if name == relu.output[0] else name for name in node.input]
        proto.graph.node.remove(relu)

    assert bisected(model, without_relu).guilty == "relu"


def test_nodes_that_two_layers_share_are_no_departure(bisected: Any, randomised: Any) -> None:
    """hard_silu is x times hard_sigmoid, which the file computes once, under the label of either."""
    import keras
    from keras import layers

    x = keras.Input((50,), name="x")
    y = layers.Dense(50, name="dense")(x)
    outputs = [layers.Activation(kind, name=kind)(y) for kind in ("hard_silu", "hard_sigmoid", "relu6")]
    found = bisected(randomised(keras.Model(x, outputs)))
    assert found.guilty is None and {one.verdict for one in found.layers} == {RIGHT}


@pytest.mark.parametrize("kind", ["MaxPooling3D", "AveragePooling3D"])
def test_layers_without_a_float64_operator_are_compared_all_the_same(bisected: Any, randomised: Any, kind: str) -> None:
    import keras
    from keras import layers

    x = keras.Input((6, 6, 6, 2), name="x")
    y = getattr(layers, kind)(2, name="pool")(layers.Conv3D(3, 3, name="conv")(x))
    model = randomised(keras.Model(x, layers.Conv3D(2, 1, name="last")(y)))
    found = bisected(model)
    assert found.guilty is None and _verdicts(found)["pool"] == {RIGHT}
    assert bisected(model, _scaled("conv")).guilty == "conv"
    assert bisected(model, _scaled("pool")).guilty == "last"  # whose node is labelled with the layer before it


def test_a_concatenation_the_other_way_round_is_named(bisected: Any, randomised: Any) -> None:
    def turned(proto: Any) -> None:
        node = next(node for node in proto.graph.node if node.op_type == "Concat")
        node.input[0], node.input[1] = node.input[1], node.input[0]

    assert bisected(randomised(_residual()), turned).guilty == "join"


def test_layers_inside_models_and_called_twice_are_named_by_their_path(bisected: Any, randomised: Any) -> None:
    import keras
    from keras import layers

    inner = keras.Sequential(
        [
            layers.Conv2D(4, 3, padding="same", name="first"),
            layers.ReLU(name="relu"),
            layers.Conv2D(4, 1, name="second"),
        ],
        name="inner",
    )
    image = keras.Input((10, 12, 4), name="image")
    model = randomised(keras.Model(image, layers.Conv2D(2, 1, name="last")(inner(inner(image)))))
    assert [call.path for call in program(model).calls].count("inner/second") == 2
    assert bisected(model).guilty is None
    found = bisected(model, _scaled("inner/second", 1.1))
    assert found.guilty == "inner/second"
    assert _verdicts(found)["inner/first"] == {RIGHT}


def test_recurrent_and_attention_layers_are_looked_at_as_a_whole(bisected: Any, randomised: Any) -> None:
    import keras
    from keras import layers

    steps = keras.Input((7, 6), name="steps")
    x = layers.Dense(6, activation="gelu", name="dense")(layers.LSTM(6, return_sequences=True, name="lstm")(steps))
    x = layers.LayerNormalization(name="norm")(layers.MultiHeadAttention(2, 3, name="attention")(x, x) + x)
    model = randomised(keras.Model(steps, layers.Dense(3, name="last")(x)))
    found = bisected(model)
    assert found.guilty is None and _verdicts(found)["lstm"] == {RIGHT}
    assert bisected(model, _scaled("last")).guilty == "last"


@pytest.mark.parametrize("name", ["unet:2", "enet:16"])
def test_networks_of_the_zoo(bisected: Any, injecting: ModuleType, name: str) -> None:
    from keronyx.zoo import networks

    model = networks.build(name, 32, 48)
    assert bisected(model).guilty is None
    wanted = []

    def change(proto: Any) -> None:
        faulty, layer = injecting.filter_scaled(proto, np.random.default_rng(0))
        proto.CopyFrom(faulty)
        wanted.append(layer)

    assert bisected(model, change).guilty == wanted[0]


def _padded() -> Any:
    """Zeros around values that are negative, then max-pooling."""
    import keras
    from keras import layers

    image = keras.Input((16, 24, 3), name="image")
    below = keras.initializers.Constant(-3.0)
    x = layers.Conv2D(4, 3, padding="same", bias_initializer=below, name="stem")(image)
    x = layers.MaxPooling2D(3, 2, name="pool")(layers.ZeroPadding2D(1, name="pad")(x))
    return keras.Model(image, layers.Conv2D(2, 1, name="last")(x))


def test_an_optimizer_that_spoils_a_file_is_named_with_the_layer_and_the_way_out(bisected: Any) -> None:
    """microsoft/onnxruntime #24737: zeros become minus infinity where a Pad is folded into a MaxPool."""
    found = bisected(_padded(), raw=True)
    assert found.guilty == "pool"
    assert found.optimizers == ("Pad_Fusion",)
    assert found.session_option == 'disabled_optimizers=["Pad_Fusion"]'
    assert _verdicts(found)["pool"] == {SPOILED} and _verdicts(found)["pad"] == {RIGHT}


def test_what_export_makes_of_the_same_model_is_not_spoiled(bisected: Any) -> None:
    found = bisected(_padded())
    assert (found.guilty, found.optimizers) == (None, ())


def test_a_file_that_asks_sessions_to_leave_the_optimizer_out_is_not_spoiled(bisected: Any) -> None:
    from keronyx.export.gates.numeric import SESSION_OPTIONS

    def recorded(proto: Any) -> None:
        proto.metadata_props.add(key=SESSION_OPTIONS, value='{"disabled_optimizers": ["Pad_Fusion"]}')

    found = bisected(_padded(), recorded, raw=True)
    assert (found.guilty, found.optimizers) == (None, ())


def test_a_subclassed_model_is_refused(randomised: Any) -> None:
    import keras

    class Own(keras.Model):
        def call(self, x: Any) -> Any:
            return x

    with pytest.raises(ExportError, match="no functional or sequential"):
        program(Own(name="own"))


def test_an_export_folder_is_bisected_in_a_process_of_its_own(tmp_path: Path, randomised: Any) -> None:
    import onnx as onnx_files

    model = randomised(_residual())
    model.save(tmp_path / "residual.keras")
    source = Source("keras", "residual", "residual", str(tmp_path / "residual.keras"))
    folder = tmp_path / "export"
    export(source, ["onnx"], folder=folder)
    np.save(tmp_path / "image.npy", np.random.default_rng(0).normal(size=(1, 12, 16, 3)).astype(np.float32))
    proto = onnx_files.load(folder / "model.onnx")
    _scaled("maps")(proto)
    onnx_files.save(proto, tmp_path / "faulty.onnx")
    found = bisect(folder, [tmp_path / "image.npy"], onnx=tmp_path / "faulty.onnx")
    assert found.guilty == "maps" and found.seconds > 0
    assert bisect(folder, [np.load(tmp_path / "image.npy")]).guilty is None
    with pytest.raises(SourceError, match="no such file"):
        bisect(folder, [tmp_path / "image.npy"], onnx=tmp_path / "nowhere.onnx")

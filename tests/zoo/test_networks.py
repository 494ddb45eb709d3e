"""The networks: what they count to, which sizes they take, and what their initial weights do."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keronyx.errors import UsageError
from keronyx.zoo import networks, scenes
from keronyx.zoo.names import FAMILIES, Family, names

pytestmark = pytest.mark.slow

SMALL = {
    "unet": "unet:4",
    "unet-spatial": "unet-spatial:4",
    "unet-dilated": "unet-dilated:4",
    "model-v4": "model-v4:16",
    "model-v4-pixel": "model-v4-pixel:16",
    "enet": "enet:16",
}


def _gmac(model: Any) -> float:
    """10**9 multiply-accumulates of all convolutions, each as often as it is called.

    A transposed convolution meets its whole kernel once for each position of its input, not of its output.
    """
    total = 0
    for config in model.get_config()["layers"]:
        kind = config["class_name"]
        if kind not in ("Conv2D", "Conv2DTranspose"):
            continue
        layer = model.get_layer(config["name"])
        for node in config["inbound_nodes"]:
            shape = tuple(node["args"][0]["config"]["shape"])
            _, height, width, _ = shape if kind == "Conv2DTranspose" else layer.compute_output_shape(shape)
            total += height * width * math.prod(layer.kernel.shape)
    return total / 1e9


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda family: family.name)
def published(request: Any) -> tuple[Family, Any]:
    return request.param, networks.architecture(request.param.name)


@pytest.fixture(scope="module", params=names())
def small(request: Any) -> Any:
    return networks.build(SMALL[request.param], 64, 96, seed=1)


def test_parameters_are_the_published_number(published: tuple[Family, Any]) -> None:
    family, model = published
    assert model.count_params() == family.parameters


def test_multiply_accumulates_are_the_published_number(published: tuple[Family, Any]) -> None:
    family, model = published
    assert round(_gmac(model), 2) == family.gmac


def test_input_and_output_are_named_and_shaped_as_promised(published: tuple[Family, Any]) -> None:
    family, model = published
    assert model.name == family.name
    assert (model.input.name, model.input.shape, model.input.dtype) == ("image", (None, 320, 400, 3), "float32")
    assert model.layers[-1].name == "probabilities"
    assert (model.output.shape, model.output.dtype) == ((None, 320, 400, 3), "float32")


def test_a_width_scales_every_channel_count() -> None:
    model = networks.architecture("model-v4:32", 32, 48)
    filters = {layer.name: layer.filters for layer in model.layers if hasattr(layer, "filters")}
    assert (filters["initial_conv"], filters["down1_conv"], filters["pass1_1_conv"]) == (13, 32, 64)
    assert (filters["up1_transposed1"], filters["up2_transposed1"], filters["head_conv"]) == (32, 16, 16)


def test_model_v4_uses_layers_3_5_and_7_of_the_first_pass_twice() -> None:
    config = networks.architecture("model-v4:16", 32, 48).get_config()
    calls = {layer["name"]: len(layer["inbound_nodes"]) for layer in config["layers"]}
    again = {name.split("_")[1] for name, count in calls.items() if name.startswith("pass1_") and count == 2}
    assert again == {"3", "5", "7"}
    assert not {"pass2_3_add", "pass2_5_add", "pass2_7_add"} & set(calls)


def test_the_second_convolution_of_every_dilated_block_but_the_head_is_dilated() -> None:
    model = networks.architecture("unet-dilated:2", 32, 32)
    dilated = {layer.name for layer in model.layers if getattr(layer, "dilation_rate", (1, 1)) == (2, 2)}
    blocks = ("down1", "down2", "down3", "down4", "bottom", "up4", "up3", "up2")
    assert dilated == {f"{block}_conv2" for block in blocks}


@pytest.mark.parametrize("name", names())
def test_two_builds_in_one_process_have_the_same_configuration(name: str) -> None:
    first, second = (networks.architecture(SMALL[name], 32, 48).to_json() for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("name", "height", "width", "works"),
    [
        ("unet", 330, 400, "336x400"),
        ("unet:16", 0, 400, "16x400"),
        ("enet", 321, 403, "320x400"),
        ("model-v4", 4, -8, "8x8"),
    ],
)
def test_a_size_the_network_cannot_take_is_answered_with_one_it_can(
    name: str, height: int, width: int, works: str
) -> None:
    with pytest.raises(UsageError) as caught:
        networks.build(name, height, width)
    assert works in caught.value.remedy
    assert "\n" not in caught.value.message + caught.value.remedy


def test_sizes_of_16_and_of_8_are_taken() -> None:
    assert networks.architecture("unet:2", 16, 48).output.shape == (None, 16, 48, 3)
    assert networks.architecture("enet:16", 8, 24).output.shape == (None, 8, 24, 3)
    assert networks.architecture("model-v4:8", 8, 24).output.shape == (None, 8, 24, 3)


def test_the_output_is_a_softmax_that_is_not_flat(small: Any) -> None:
    images, _ = scenes.batch(2, 64, 96, seed=99)
    probabilities = np.asarray(small(images))
    assert np.allclose(probabilities.sum(-1), 1, atol=1e-5)
    assert probabilities.max(-1).mean() > 0.5
    share = np.bincount(probabilities.argmax(-1).ravel(), minlength=3) / probabilities[..., 0].size
    assert share.min() > 0.01


def test_no_weight_is_as_keras_leaves_it(small: Any) -> None:
    for layer in small.layers:
        for weight in layer.weights:
            value = np.asarray(weight)
            assert np.isfinite(value).all()
            assert np.unique(value).size > min(2, value.size - 1), weight.path


def test_batchnorm_and_dropout_are_left_as_the_architecture_has_them(small: Any) -> None:
    fresh = networks.architecture(SMALL[small.name], 64, 96)
    assert small.to_json() == fresh.to_json()


def test_batchnorm_holds_the_statistics_of_the_scenes() -> None:
    import keras

    model = networks.build("unet:4", 64, 96, seed=3)
    before = keras.Model(model.input, model.get_layer("down3_conv1").output)
    recorded = np.asarray(model.get_layer("down3_bn1").moving_mean)
    # down3_conv1 follows four BatchNorms that used each scene's own statistics: close, not equal.
    seen = np.asarray(before(scenes.batch(2, 64, 96, seed=3)[0])).mean((0, 1, 2))
    assert np.abs(recorded).max() > 0.5
    assert recorded == pytest.approx(seen, abs=0.3)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    one, same, other = (networks.build("model-v4:8", 32, 48, seed=seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_saved_networks_load_where_the_zoo_was_never_imported(tmp_path: Path) -> None:
    images, _ = scenes.batch(1, 64, 96, seed=4)
    np.save(tmp_path / "in.npy", images)
    models = {name: networks.build(SMALL[name], 64, 96) for name in ("unet-spatial", "model-v4-pixel", "enet")}
    for name, model in models.items():
        model.save(tmp_path / f"{name}.keras")
    code = """
import sys
from pathlib import Path
import keras, numpy as np
for path in Path().glob("*.keras"):
    model = keras.models.load_model(path)
    path.with_suffix(".json").write_text(model.to_json())
    np.save(path.with_suffix(".npy"), np.asarray(model(np.load("in.npy"))))
sys.exit(any(name.startswith("keronyx") for name in sys.modules))
"""
    loading = [sys.executable, "-c", code]
    loaded = subprocess.run(loading, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert loaded.returncode == 0, loaded.stderr
    for name, model in models.items():
        assert (tmp_path / f"{name}.json").read_text() == model.to_json()
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), np.asarray(model(images)), atol=1e-4)

"""What a configuration from an unknown hand may name: each way in that Keras had, closed before Keras looks."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from keronyx.errors import KeronyxError, SourceError, UntrustedModelError
from keronyx.unsafe import MAX_DEPTH, refuse_unsafe_config, refuse_unsafe_keras_file


def layer(**config: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": "Dense", "registered_name": None, "config": {"name": "d", **config}}


def model(*layers: Any, **more: Any) -> dict[str, Any]:
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "m", "layers": list(layers)}, **more}


def function(module: str, name: str) -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


LAMBDA = {"class_name": "__lambda__", "config": {"code": "4wEA", "defaults": None, "closure": None}}


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("keras.utils", "get_file"),
        ("keras.saving", "load_model"),
        ("keras.models", "load_model"),
        ("keras.preprocessing.image", "load_img"),
        ("keras.config", "enable_unsafe_deserialization"),
        ("keras.src.utils.file_utils", "get_file"),
        ("keras.src.saving.saving_lib", "load_model"),
        ("keras.applications", "ResNet50"),
        ("keras.tree", "map_structure"),
        ("keras", "utils.get_file"),
        ("keras", "input"),
    ],
)
def test_functions_of_keras_that_are_no_part_of_a_network_are_refused(module: str, name: str) -> None:
    for where in (layer(activation=function(module, name)), function(module, name)):
        with pytest.raises(UntrustedModelError, match="no part of a network") as error:
            refuse_unsafe_config(model(where), "m.keras")
        assert f"{module}.{name}" in error.value.message
        assert "\n" not in error.value.message + error.value.remedy


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        ("keras.callbacks", "TensorBoard"),
        ("keras.src.callbacks.model_checkpoint", "ModelCheckpoint"),
        ("keras.utils", "PyDataset"),
        ("keras.src.export.tfsm_layer", "Other"),
        ("keras.layersx", "Dense"),
    ],
)
def test_classes_of_keras_that_are_no_part_of_a_network_are_refused(module: str, kind: str) -> None:
    with pytest.raises(UntrustedModelError, match=f"{module}.{kind}"):
        refuse_unsafe_config(model({"module": module, "class_name": kind, "config": {}}), "m.keras")


@pytest.mark.parametrize(
    ("made", "owner"),
    [
        ({**layer(), "class_name": "Lambda"}, "d"),
        ({**layer(), "class_name": "Custom>Lambda"}, "d"),
        ({**layer(), "module": "keras", "class_name": "layers.Lambda"}, "d"),
        ({**layer(), "module": None, "class_name": "TFSMLayer"}, "d"),
        ({**layer(), "class_name": "TorchModuleWrapper"}, "d"),
        ({**layer(), "class_name": "JaxLayer"}, "d"),
        (layer(activation=LAMBDA), "d"),
        (layer(kernel_initializer={"class_name": "Zeros", "config": {"value": [LAMBDA]}}), "d"),
        (
            {**layer(layer={**layer(), "class_name": "Lambda", "config": {"name": "inner"}}), "class_name": "Wrap"},
            "inner",
        ),
        ({"class_name": "deserialize", "config": {"config": {**layer(), "class_name": "Lambda"}}}, "d"),
    ],
)
def test_code_is_found_wherever_it_is_and_its_layer_is_named(made: dict[str, Any], owner: str) -> None:
    with pytest.raises(UntrustedModelError, match=rf"contains Python code \(\w.* layer '{owner}'\)") as error:
        refuse_unsafe_config(model(model(layer(name="other"), made)), "m.keras")
    assert f"--substitute-layer {owner}=" in error.value.remedy and "--trust" in error.value.remedy


def test_all_layers_with_code_are_named() -> None:
    code = [{**layer(name=name), "class_name": "Lambda"} for name in ("a", "b")]
    with pytest.raises(UntrustedModelError, match=r"\(Lambda layer 'a', 'b'\)"):
        refuse_unsafe_config(model(*code), "m.keras")


@pytest.mark.parametrize("kind", ["StringLookup", "IntegerLookup", "TextVectorization", "layers.StringLookup"])
def test_a_vocabulary_from_a_file_is_refused(kind: str) -> None:
    refuse_unsafe_config(model({**layer(vocabulary=["a", "b"]), "class_name": kind.rpartition(".")[2]}), "m.keras")
    with pytest.raises(UntrustedModelError, match=r"reads the file '/etc/passwd' \(layer 'd'\)|no part of a network"):
        refuse_unsafe_config(
            model({**layer(vocabulary="/etc/passwd"), "module": "keras", "class_name": kind}), "m.keras"
        )


def test_a_plain_network_passes() -> None:
    names = [
        "keras.layers",
        "keras.src.layers.core.dense",
        "keras.src.ops.numpy",
        "keras.initializers",
        "keras.regularizers",
    ]
    names += ["keras.src.models.functional", "keras.random", "keras.dtype_policies", "keras.optimizers.schedules"]
    layers = [{**layer(), "module": module} for module in names]
    policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": None}
    own = {
        "module": "mine.layers",
        "class_name": "Mine",
        "config": {},
        "registered_name": "mine>Mine",
    }  # never imported
    activation = function("builtins", "relu")
    refuse_unsafe_config(model(*layers, layer(dtype=policy, activation=activation), own), "m.keras")


def test_a_configuration_nested_too_deep_is_refused_and_a_deep_one_is_not() -> None:
    def nested(levels: int) -> Any:
        made: Any = layer()
        for _ in range(levels):
            made = [made]
        return made

    refuse_unsafe_config(nested(MAX_DEPTH - 3), "m.keras")
    with pytest.raises(SourceError, match="nested more than"):
        refuse_unsafe_config(nested(MAX_DEPTH + 1), "m.keras")


@pytest.mark.parametrize(
    ("config", "kind", "message"),
    [
        (model({**layer(), "class_name": "Lambda"}), UntrustedModelError, "contains Python code"),
        (model(layer(), compile_config={"loss": LAMBDA}), None, ""),
        ("[", SourceError, "damaged"),
    ],
)
def test_an_archive_is_checked_by_what_is_loaded_of_it(
    config: Any, kind: type[KeronyxError] | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", config if isinstance(config, str) else json.dumps(config))
    if kind is None:
        refuse_unsafe_keras_file(path)
        assert json.loads(zipfile.ZipFile(path).read("config.json")) == config
        return
    with pytest.raises(kind, match=message):
        refuse_unsafe_keras_file(path)

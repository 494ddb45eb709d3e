"""Arguments of Keras 1's layers under the names they have had since Keras 2."""

from __future__ import annotations

from typing import Any

from keronyx.errors import SourceError

Config = dict[str, Any]

CLASSES = {
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "Deconvolution2D": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D",
}

MERGES = {"sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum", "concat": "Concatenate", "dot": "Dot"}
"""Modes of Keras 1's Merge -> layer."""

ARGUMENTS = {
    "output_dim": "units",
    "nb_filter": "filters",
    "filter_length": "kernel_size",
    "border_mode": "padding",
    "subsample": "strides",
    "subsample_length": "strides",
    "stride": "strides",
    "pool_length": "pool_size",
    "length": "size",
    "bias": "use_bias",
    "p": "rate",
    "sigma": "stddev",
    "inner_activation": "recurrent_activation",
    "dropout_W": "dropout",
    "dropout_U": "recurrent_dropout",
    "atrous_rate": "dilation_rate",
}

DROPPED = frozenset(
    {"init", "inner_init", "forget_bias_init", "W_regularizer", "U_regularizer", "b_regularizer", "W_constraint"}
    | {"U_constraint", "b_constraint", "activity_regularizer", "weights", "consume_less", "pointwise_constraint"}
    | {"depthwise_regularizer", "pointwise_regularizer", "depthwise_constraint", "pointwise_init", "depthwise_init"}
    | {"beta_init", "gamma_init", "beta_regularizer", "gamma_regularizer"}
)

DIMS = {"tf": "channels_last", "th": "channels_first"}


def renamed(kind: str, config: Config, name: str) -> tuple[str, Config]:
    """Class and arguments under today's names. Raises SourceError for what was never carried over."""
    config = {key: value for key, value in config.items() if key not in DROPPED}
    if kind == "Merge":
        return _merge(config, name)
    if kind == "BatchNormalization" and config.pop("mode", 0) != 0:
        raise SourceError(
            f"layer {name!r} (BatchNormalization) has a mode that was dropped in Keras 2", "train it anew"
        )
    if kind == "Embedding":
        config.pop("dropout", None)  # of training
        return kind, config
    for dims in (("nb_row", "nb_col"), ("kernel_dim1", "kernel_dim2", "kernel_dim3")):
        if dims[0] in config:
            config["kernel_size"] = [config.pop(key) for key in dims]
    if kind == "Deconvolution2D":
        config.pop("output_shape", None)  # follows from the rest
    if "dim_ordering" in config:
        order = config.pop("dim_ordering")
        config["data_format"] = DIMS.get(order, order)
    translated = {ARGUMENTS.get(key, key): value for key, value in config.items()}
    return CLASSES.get(kind, kind), translated


def _merge(config: Config, name: str) -> tuple[str, Config]:
    mode = config.get("mode")
    if config.get("layers") or mode not in (*MERGES, "cos"):
        raise SourceError(
            f"layer {name!r} (Merge) joins whole models, or with code (mode {mode!r})",
            "rebuild the network with keras.Model and pass these weights with --weights",
        )
    arguments: Config = {"name": config.get("name", name)}
    if mode == "concat":
        arguments["axis"] = config.get("concat_axis", -1)
    if mode in ("dot", "cos"):
        axes = config.get("dot_axes", -1)
        arguments.update(axes=axes, normalize=mode == "cos")
    return MERGES.get(str(mode), "Dot"), arguments

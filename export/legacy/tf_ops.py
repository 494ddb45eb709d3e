"""TensorFlow functions called on Keras tensors (TFOpLambda, SlicingOpLambda of TensorFlow 2.4 to 2.15) -> keras.ops.

Only what keras.ops has word for word; anything else is refused with the layer's name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keronyx.errors import SourceError

Config = dict[str, Any]
Call = dict[str, Any]

BINARY = {
    **{f"{group}.{tf}": ("numpy", op) for group in ("math", "__operators__") for tf, op in (
        ("add", "Add"), ("subtract", "Subtract"), ("multiply", "Multiply"), ("truediv", "Divide"), ("pow", "Power"),
        ("divide", "Divide"), ("maximum", "Maximum"), ("minimum", "Minimum"),
    )},
    "maximum": ("numpy", "Maximum"), "minimum": ("numpy", "Minimum"), "pow": ("numpy", "Power"),
    "add": ("numpy", "Add"), "subtract": ("numpy", "Subtract"), "multiply": ("numpy", "Multiply"),
    "divide": ("numpy", "Divide"),
}  # fmt: skip
"""TensorFlow's name -> module of keras.src.ops and class."""

UNARY = {
    **{name: ("numpy", op) for name, op in (
        ("abs", "Absolute"), ("exp", "Exp"), ("log", "Log"), ("negative", "Negative"), ("sqrt", "Sqrt"),
        ("square", "Square"), ("tanh", "Tanh"), ("sin", "Sin"), ("cos", "Cos"), ("floor", "Floor"), ("sign", "Sign"),
    )},
    "sigmoid": ("nn", "Sigmoid"), "softplus": ("nn", "Softplus"), "relu": ("nn", "Relu"), "relu6": ("nn", "Relu6"),
    "elu": ("nn", "Elu"), "selu": ("nn", "Selu"), "silu": ("nn", "Silu"), "swish": ("nn", "Silu"),
    "rsqrt": ("math", "Rsqrt"), "erf": ("math", "Erf"),
}  # fmt: skip

REDUCTIONS = {"reduce_mean": "Mean", "reduce_sum": "Sum", "reduce_max": "Max", "reduce_min": "Min"}


def operation(layer: Config, name: str, calls: list[Call]) -> tuple[Config, list[Call]]:
    """The operation of keras.ops for a layer that held a TensorFlow function, and its calls.

    Raises:
        SourceError: there is none of the same meaning.
    """
    function = str(layer["config"].get("function", ""))
    if len(calls) != 1:
        raise SourceError(f"layer {name!r} calls tf.{function} {len(calls)} times", "rebuild the model with keras.ops")
    positional = [value for value in calls[0]["args"] if value is not None]
    keywords = {key: value for key, value in calls[0]["kwargs"].items() if key != "name"}
    made = _made(function, positional, keywords)
    if made is None:
        raise SourceError(
            f"layer {name!r} calls TensorFlow's {function}({', '.join(keywords)}), which keronyx has no equal of",
            f"rebuild the model with keras.ops, or put a layer in its place: --substitute-layer {name}=module:callable",
        )
    (module, kind), config, arguments = made
    owner = "keras.layers" if module == "layers" else f"keras.src.ops.{module}"
    registered = None if module == "layers" else kind
    made_layer = {
        "module": owner,
        "class_name": kind,
        "config": {"name": name, **config},
        "registered_name": registered,
    }
    return made_layer, [{"args": arguments, "kwargs": {}}]


def _made(function: str, positional: list[Any], keywords: Config) -> tuple[tuple[str, str], Config, list[Any]] | None:
    """(module, class), constructor arguments and call arguments; None when the table has nothing that fits."""
    bare = function.removeprefix("math.").removeprefix("nn.").removeprefix("linalg.")
    if function in BINARY and set(keywords) <= {"x", "y"}:
        both = [*positional, *(keywords[key] for key in ("x", "y") if key in keywords)]
        return (BINARY[function], {}, both) if len(both) == 2 else None
    if bare in UNARY and not keywords:
        return UNARY[bare], {}, positional
    if bare in REDUCTIONS and set(keywords) <= {"axis", "keepdims"}:
        return ("numpy", REDUCTIONS[bare]), {"axis": None, "keepdims": False, **keywords}, positional
    if bare in ("identity", "convert_to_tensor") and not keywords:
        return ("layers", "Identity"), {}, positional
    if function == "__operators__.getitem" and set(keywords) == {"slice_spec"}:
        return ("numpy", "GetItem"), {}, [*positional, _slices(keywords["slice_spec"])]
    if bare in OTHERS:
        allowed, make = OTHERS[bare]
        if set(keywords) <= set(allowed) and positional:
            return make(positional, keywords)
    return None


def _slices(spec: Any) -> Any:
    """Slices as Keras 3 stores them: {start, stop, step} was one, an index or an ellipsis stays."""

    def one(item: Any) -> Any:
        if isinstance(item, dict) and "stop" in item:
            limits = {key: item.get(key) for key in ("start", "stop", "step")}
            return {"class_name": "__slice__", "config": limits}
        if isinstance(item, dict) and item.get("class_name") == "__ellipsis__":
            return {"class_name": "__ellipsis__", "config": {}}
        return item

    return [one(item) for item in spec] if isinstance(spec, list) else one(spec)


Made = tuple[tuple[str, str], Config, list[Any]] | None


def _with(op: tuple[str, str], **names: str) -> Callable[[list[Any], Config], Made]:
    """An operation whose arguments only have other names (TensorFlow's=keras.ops'), all of them required."""

    def make(positional: list[Any], keywords: Config) -> Made:
        if set(keywords) != set(names):
            return None
        return op, {names[key]: value for key, value in keywords.items()}, positional

    return make


def _softmax(positional: list[Any], keywords: Config) -> Made:
    return ("nn", "Softmax"), {"axis": keywords.get("axis", -1)}, positional


def _leaky(positional: list[Any], keywords: Config) -> Made:
    return ("nn", "LeakyRelu"), {"negative_slope": keywords.get("alpha", 0.2)}, positional


def _matmul(positional: list[Any], keywords: Config) -> Made:
    both = [*positional, *([keywords["b"]] if "b" in keywords else [])]
    transposed = any(value for key, value in keywords.items() if key != "b")
    return None if transposed or len(both) != 2 else (("numpy", "Matmul"), {}, both)


OTHERS: dict[str, tuple[tuple[str, ...], Callable[[list[Any], Config], Made]]] = {
    "softmax": (("axis",), _softmax),
    "leaky_relu": (("alpha",), _leaky),
    "matmul": (("b", "transpose_a", "transpose_b"), _matmul),
    "concat": (("axis",), _with(("numpy", "Concatenate"), axis="axis")),
    "stack": (("axis",), _with(("numpy", "Stack"), axis="axis")),
    "expand_dims": (("axis",), _with(("numpy", "ExpandDims"), axis="axis")),
    "squeeze": (("axis",), _with(("numpy", "Squeeze"), axis="axis")),
    "reshape": (("shape",), _with(("numpy", "Reshape"), shape="newshape")),
    "transpose": (("perm",), _with(("numpy", "Transpose"), perm="axes")),
    "cast": (("dtype",), _with(("core", "Cast"), dtype="dtype")),
    "clip_by_value": (
        ("clip_value_min", "clip_value_max"),
        _with(("numpy", "Clip"), clip_value_min="x_min", clip_value_max="x_max"),
    ),
}
"""TensorFlow's name -> the keywords it may have here, and what makes the operation of them."""

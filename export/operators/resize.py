"""Image resizing as TensorFlow computes it.

Four things go wrong in tf2onnx: scales are rounded so that a row can be missing (11 -> 13), nearest pixels are off by
one at some sizes (6 -> 37), area is taken for nearest, bilinear pixels of float16 images are said to be float32.
Antialiasing and Lanczos it does not know; bicubic weights TensorFlow reads from a table of 1024 places, ONNX Runtime
computes them (1e-3 apart). Between sizes that are known, every one of these is a fixed matrix for rows and one for
columns: what TensorFlow itself makes of the identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keronyx.export.operators import Builder, Handler
from keronyx.types import Array

TO_CHANNELS_FIRST, TO_CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]

RESIZABLE = frozenset({"FLOAT", "INT32", "INT8", "UINT8"})
"""What ONNX Runtime's Resize takes on CPU."""

PLACES = 1024
"""Places between two pixels for which TensorFlow keeps bicubic weights."""

OFFSETS = [[-1], [0], [1], [2]]
"""Pixels that bicubic weights are for, from the one before the place."""


def _linear(graph: Any, node: Any, name: str, _: Sequence[Any]) -> None:
    from tf2onnx.onnx_opset.nn import Resize

    sizes, output = _sizes(graph, node), node.output[0]
    made = graph.get_dtype(output)
    if graph.get_dtype(node.input[0]) != made:  # bilinear pixels are float32 whatever the image's are
        cast = graph.make_node("Cast", [node.input[0]], attr={"to": made}, op_name_scope=name)
        graph.replace_input(node, node.input[0], cast.output[0], 0)
    Resize.version_11(graph, node)
    resize = _in_scope(graph, graph.get_node_by_output(output).inputs[0], name)
    if sizes is not None:
        scales = np.array([1, 1, *(_scale(*pair) for pair in sizes)], np.float32)
        graph.replace_input(resize, resize.input[2], graph.make_const(f"{name}_scales", scales).output[0], 2)


def _in_scope(graph: Any, node: Any, name: str) -> Any:
    """The same node under a name that says its layer, which tf2onnx's own does not."""
    told = {
        "attr": {key: node.get_attr_value(key) for key in node.attr},
        "outputs": list(node.output),
        "shapes": node.output_shapes,
        "dtypes": node.output_dtypes,
    }
    operator, inputs = node.type, list(node.input)
    graph.remove_node(node.name)
    return graph.make_node(operator, inputs, op_name_scope=name, **told)


def _nearest(graph: Any, node: Any, name: str, _: Sequence[Any]) -> None:
    from onnx import TensorProto

    sizes = _sizes(graph, node)
    if sizes is None and node.get_attr_value("half_pixel_centers"):
        return _nearest_of_open_size(graph, node)
    if sizes is None or (not node.get_attr_value("half_pixel_centers") and all(new % old == 0 for old, new in sizes)):
        return _linear(graph, node, name, _)
    places = [matrix.argmax(1) for matrix in _matrices(node, sizes)]
    b = Builder(graph, node)
    image = b.make("Transpose", b.inputs[0], perm=TO_CHANNELS_FIRST)
    repeated = all(
        new % old == 0 and np.array_equal(place, np.arange(new) // (new // old))
        for (old, new), place in zip(sizes, places, strict=True)
    )
    if repeated and TensorProto.DataType.Name(b.dtype) in RESIZABLE:  # the form every runtime knows
        scales = b.constant([1, 1, *(new // old for old, new in sizes)], "float32")
        attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return b.finish("Transpose", b.make("Resize", image, "", scales, **attributes), perm=TO_CHANNELS_LAST)
    rows = b.make("Gather", image, b.constant(places[0], "int64"), axis=2)
    columns = b.make("Gather", rows, b.constant(places[1], "int64"), axis=3)
    return b.finish("Transpose", columns, perm=TO_CHANNELS_LAST)


def _nearest_of_open_size(graph: Any, node: Any) -> None:
    """TensorFlow's own arithmetic, in float32: pixel `floor((i + 0.5) * (old / new))`, the last one at most."""
    from onnx import TensorProto

    b = Builder(graph, node)
    picked = b.inputs[0]
    for axis, (old, new) in enumerate(_open_sizes(b)):
        scale = b.make("Div", b.make("Cast", old, to=TensorProto.FLOAT), b.make("Cast", new, to=TensorProto.FLOAT))
        steps = b.make("Range", b.constant(0, "int64"), new, b.constant(1, "int64"))
        middles = b.make("Add", b.make("Cast", steps, to=TensorProto.FLOAT), b.constant(0.5, "float32"))
        place = b.make("Cast", b.make("Floor", b.make("Mul", middles, scale)), to=TensorProto.INT64)
        last = b.make("Sub", old, b.constant(1, "int64"))
        place = b.make("Min", place, last)
        picked = b.make("Gather", picked, place, axis=axis + 1)
    b.finish("Identity", picked)


def _bicubic_of_open_size(graph: Any, node: Any) -> None:
    """Four rows, then four columns a pixel, weighted by TensorFlow's table; its arithmetic in float32."""
    from onnx import TensorProto

    corners, half = bool(node.get_attr_value("align_corners")), bool(node.get_attr_value("half_pixel_centers"))
    b = Builder(graph, node)
    picked = b.inputs[0] if b.dtype == b.made else b.make("Cast", b.inputs[0], to=b.made)
    table = b.constant(_cubic_table(-0.5 if half else -0.75), "float32")
    zero, one, first = b.constant(0, "int64"), b.constant(1, "int64"), b.constant(0.0, "float32")
    for axis, (old, new) in enumerate(_open_sizes(b)):
        last = b.make("Sub", old, one)
        lengths = (last, b.make("Max", b.make("Sub", new, one), one)) if corners else (old, new)
        scale = b.make("Div", *(b.make("Cast", length, to=TensorProto.FLOAT) for length in lengths))
        at = b.make("Cast", b.make("Range", zero, new, one), to=TensorProto.FLOAT)
        if half:
            at = b.make("Add", at, b.constant(0.5, "float32"))
        at = b.make("Mul", at, scale)
        if half:
            at = b.make("Sub", at, b.constant(0.5, "float32"))
        floor = b.make("Floor", at)
        place = b.make("Round", b.make("Mul", b.make("Sub", at, floor), b.constant(PLACES, "float32")))
        weights = b.make("Gather", table, b.make("Cast", place, to=TensorProto.INT64), axis=1)
        middle = b.make("Cast", floor, to=TensorProto.INT64)
        taps = b.make("Add", b.make("Unsqueeze", middle, b.constant([0], "int64")), b.constant(OFFSETS, "int64"))
        inside = b.make("Min", b.make("Max", taps, zero), last)
        if half:
            weights = b.make("Where", b.make("Equal", taps, inside), weights, first)
            weights = b.make("Div", weights, b.make("ReduceSum", weights, b.constant([0], "int64"), keepdims=1))
        wide = b.constant([1, 2] if axis == 0 else [1], "int64")
        parts = []
        for tap in range(len(OFFSETS)):
            weight = b.make("Unsqueeze", b.make("Gather", weights, b.constant(tap, "int64")), wide)
            pixels = b.make("Gather", picked, b.make("Gather", inside, b.constant(tap, "int64")), axis=axis + 1)
            parts.append(b.make("Mul", pixels, weight))
        picked = b.make("Sum", *parts)
    b.finish("Identity", picked)


def _cubic_table(a: float) -> Array:
    """What a pixel at each of TensorFlow's places between two gives the four around it; (4, PLACES + 1) float64."""
    x = np.arange(PLACES + 1) / PLACES
    near, y = ((a + 2) * x - (a + 3)) * x * x + 1, x + 1
    far = ((a * y - 5 * a) * y + 8 * a) * y - 4 * a
    return np.array([far, near, near[::-1], far[::-1]])


def _open_sizes(b: Builder) -> list[tuple[str, str]]:
    """Old and new size of rows and of columns, int64 scalars of the graph."""
    from onnx import TensorProto

    shape, wanted = b.make("Shape", b.inputs[0]), b.make("Cast", b.inputs[1], to=TensorProto.INT64)

    def size(sizes: str, axis: int) -> str:
        return b.make("Gather", sizes, b.constant(axis, "int64"))

    return [(size(shape, axis + 1), size(wanted, axis)) for axis in (0, 1)]


def _by_matrices(graph: Any, node: Any, name: str, _: Sequence[Any]) -> None:
    sizes = _sizes(graph, node)
    if sizes is None:  # others are left as they are, and so refused
        return _bicubic_of_open_size(graph, node) if node.type == "ResizeBicubic" else None
    rows, columns = _matrices(node, sizes)
    b = Builder(graph, node)
    given = b.inputs[0] if b.dtype == b.made else b.make("Cast", b.inputs[0], to=b.made)
    image = b.make("Transpose", given, perm=TO_CHANNELS_FIRST)
    wide = b.make("MatMul", image, b.constant(columns.T, "float32"))
    return b.finish("Transpose", b.make("MatMul", b.constant(rows, "float32"), wide), perm=TO_CHANNELS_LAST)


def _sizes(graph: Any, node: Any) -> list[tuple[int, int]] | None:
    """Old and new size of rows and of columns, when all are known before the model runs."""
    shape = graph.get_shape(node.input[0])
    if shape is None or min(shape[1:3]) < 0 or not all(node.inputs[i].is_const() for i in range(1, len(node.input))):
        return None
    return list(zip(shape[1:3], node.inputs[1].get_tensor_value(), strict=True))


def _matrices(node: Any, sizes: list[tuple[int, int]]) -> list[Array]:
    """What the operator makes of an identity: for each axis (new size, old size), float32."""
    import tensorflow as tf

    given = {
        key: node.get_attr_value(key) for key in ("align_corners", "half_pixel_centers", "kernel_type", "antialias")
    }
    options: dict[str, Any] = {
        key: v.decode() if isinstance(v, bytes) else bool(v) for key, v in given.items() if v is not None
    }
    more = [node.inputs[i].get_tensor_value() for i in range(2, len(node.input))]
    made = []
    for axis, (old, new) in enumerate(sizes):
        image = np.eye(old, dtype=np.float32).reshape((1, old, 1, old) if axis == 0 else (1, 1, old, old))
        size = (new, 1) if axis == 0 else (1, new)
        if more:
            scale, translation = more
            options["scale"] = [scale[0], 1.0] if axis == 0 else [1.0, scale[1]]
            options["translation"] = [translation[0], 0.0] if axis == 0 else [0.0, translation[1]]
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            made.append(
                session.run(getattr(tf.raw_ops, node.type)(images=image, size=size, **options)).reshape(new, old)
            )
    return made


def _scale(old: int, new: int) -> Any:
    """The float32 next to new / old of which `old` times, rounded down, is `new`."""
    scale = np.float32(new / old)
    while int(np.float32(old) * scale) < new or int(old * float(scale)) < new:
        scale = np.nextafter(scale, np.float32(np.inf))
    return scale


HANDLERS: dict[str, Handler] = {
    "ResizeBilinear": _linear,
    "ResizeNearestNeighbor": _nearest,
    "ResizeBicubic": _by_matrices,
    "ResizeArea": _by_matrices,
    "ScaleAndTranslate": _by_matrices,
}

"""A process of one conversion: `python -m benchmarks.converting`. Says what the conversion itself costs.

Libraries are imported and the model is built before the clock starts; CPU time counts all threads of the process.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from keronyx.process import Message, peak_resident_mib, serve


def ours(order: Message) -> Message:
    """Trace, tf2onnx and graph passes, as `export` does them before its gates. Answers with CPU `seconds`."""
    import onnx_ir  # noqa: F401 - imported before the clock starts
    import onnxruntime  # noqa: F401
    import tf2onnx  # noqa: F401

    from keronyx.export import onnx, signature
    from keronyx.export.rewrite import rewrite

    model, size = _model(order)
    spec = signature.of_keras(model, "model", order["source"], 1, size)

    def convert() -> None:
        graph, _ = onnx.converted(model, spec)
        rewrite(graph)

    return _timed(convert)


def raw(order: Message) -> Message:
    """What tf2onnx makes of the same model by itself, opset 18, batch fixed to 1; written to `onnx`."""
    import keras
    import tensorflow as tf
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    model, size = _model(order)
    given = [(1, *(size or tensor.shape[1:3]), *tensor.shape[3:]) if len(tensor.shape) == 4 else (1, *tensor.shape[1:])
             for tensor in model.inputs]  # fmt: skip
    wanted = [
        tf.TensorSpec(shape, tensor.dtype, name=tensor.name) for shape, tensor in zip(given, model.inputs, strict=True)
    ]
    assert isinstance(model, keras.Model)
    return _timed(lambda: tf2onnx.convert.from_keras(model, wanted, opset=18, output_path=order["onnx"]))


def slim(order: Message) -> Message:
    """onnxslim on the file at `onnx`, written to `to`."""
    import onnxslim

    return _timed(lambda: onnxslim.slim(order["onnx"], order["to"]))


def sim(order: Message) -> Message:
    """onnxsim on the file at `onnx`, written to `to`."""
    import onnx
    import onnxsim

    def simplify() -> None:
        simplified, sound = onnxsim.simplify(order["onnx"])
        if not sound:
            raise ValueError("onnxsim's own check failed")
        onnx.save(simplified, order["to"])

    return _timed(simplify)


def nodes(order: Message) -> Message:
    """How many nodes the graph at `onnx` has."""
    import onnx

    return {"nodes": len(onnx.load(order["onnx"], load_external_data=False).graph.node)}


def _model(order: Message) -> tuple[Any, tuple[int, int] | None]:
    from keronyx.export.source import load
    from keronyx.pipeline import resolve
    from keronyx.pipeline.sources import APPLICATION_SIZES

    source = resolve(order["source"])
    return load(source), APPLICATION_SIZES.get(source.target) if source.kind == "applications" else None


def _timed(work: Callable[[], Any]) -> Message:
    began, wall = time.process_time(), time.perf_counter()
    work()
    return {
        "seconds": time.process_time() - began,
        "wall_s": time.perf_counter() - wall,
        "peak_mib": peak_resident_mib(),
    }


if __name__ == "__main__":
    serve({"ours": ours, "raw": raw, "slim": slim, "sim": sim, "nodes": nodes})

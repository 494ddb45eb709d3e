"""The process that writes the files faults need, out of a Keras file: `python -m benchmarks.faulting.making`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from keronyx.process import Message, serve
from keronyx.types import ModelSpec

EPSILON = 1e-5
STEPS, RATE, BATCH = 4, 1e-5, 2
"""Of the training that makes another epoch's weights: a few small steps on procedural scenes."""
SCENES = "scenes:8:11"


def make(order: Message) -> Message:
    """Write both.keras, square.keras and NAME.onnx for the variants of `keras` into `folder`; answers with the specs.

    All are converted as `export` converts, but past its gates: some are to be wrong.
    """
    import keras

    from keronyx.zoo import networks

    folder = Path(order["folder"])
    model = keras.saving.load_model(order["keras"], compile=False)
    _, height, width, _ = model.input.shape
    specs = {"main": _convert(model, folder / "main.onnx", write=False)}

    both = keras.Model(model.input, [model.output, model.get_layer("logits").output], name=f"{model.name}_both")
    both.save(folder / "both.keras")
    specs["both"] = _convert(both, folder / "both.onnx")

    side = min(height, width)
    square = networks.architecture(order["network"], side, side)
    square.set_weights(model.get_weights())
    square.save(folder / "square.keras")
    specs["square"] = _convert(square, folder / "square.onnx")

    changed = [layer for layer in model.layers if type(layer).__name__ == "BatchNormalization"]
    kept = [layer.epsilon for layer in changed]
    for layer in changed:
        layer.epsilon = EPSILON
    _convert(model, folder / "epsilon.onnx")
    for layer, epsilon in zip(changed, kept, strict=True):
        layer.epsilon = epsilon

    _train(model, (height, width))
    _convert(model, folder / "epoch.onnx")
    return {"specs": {name: asdict(spec) for name, spec in specs.items()}, "batch_norms": len(changed)}


def _convert(model: Any, path: Path, write: bool = True) -> ModelSpec:
    from keronyx.export import onnx, signature

    spec = signature.of_keras(model, model.name, "a variant", 1, None)
    if write:
        onnx.convert(model, spec, path)
    return spec


def _train(model: Any, size: tuple[int, int]) -> None:
    import keras

    from keronyx.zoo.losses import challenge_loss
    from keronyx.zoo.pairs import find
    from keronyx.zoo.samples import batches

    model.compile(optimizer=keras.optimizers.Adam(RATE), loss=challenge_loss(1.0), jit_compile=False)
    model.fit(batches(find([SCENES]), size, BATCH, augment=True), epochs=1, steps_per_epoch=STEPS, verbose=0)


if __name__ == "__main__":
    serve({"make": make})

"""The process that looks for the layer: `python -m keronyx.export.bisection.child`. TensorFlow and ONNX Runtime are in
it, and nobody else is when one of them crashes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from keronyx.errors import ExportError, KeronyxError
from keronyx.export import signature, state
from keronyx.export.bisection.calls import Program, program
from keronyx.export.bisection.candidates import Candidates
from keronyx.export.bisection.match import Difference
from keronyx.export.bisection.nodes import Graph
from keronyx.export.bisection.optimized import Spoiled, asked_for, spoiled
from keronyx.export.bisection.oracle import Oracle
from keronyx.export.bisection.walk import Departure, Walk
from keronyx.export.dims import parse
from keronyx.export.source import Source
from keronyx.export.source import load as load_source
from keronyx.in_graph import as_in_graph
from keronyx.process import Message, first_line, serve
from keronyx.recast import computed
from keronyx.types import DEPARTS, NOT_COMPARED, RIGHT, SPOILED, Array, Bisection, LayerError

ROUNDED_ONCE = 2.0**-25
"""Error of exact inputs that were rounded to float32, relatively: what an amplification is of."""

NOTHING = Difference(np.nan, np.nan, np.nan, 0.0, False)
"""The difference where nothing was compared."""


def bisect(order: Message) -> Message:
    """Walk through one file. Answers with the Bisection."""
    began = time.perf_counter_ns()
    source, path = Source(**order["source"]), Path(order["onnx"])
    inputs = [np.load(file, allow_pickle=False) for file in order["inputs"]]
    model = load_source(source, parse(order["shapes"]))
    state.made_stateless(model)
    try:
        found = bisected(path, model, inputs)
    except (KeronyxError, MemoryError):
        raise
    except Exception as error:
        raise ExportError(f"the layers of {source.text} cannot be looked at one by one: {first_line(error)}") from error
    return asdict(replace(found, seconds=(time.perf_counter_ns() - began) / 1e9))


def bisected(path: Path, model: Any, arrays: Sequence[Array]) -> Bisection:
    """Walk through the ONNX file of a `keras.Model`, with one set of inputs. Its `seconds` are not measured."""
    calls = program(model)
    places: dict[str, int] = {}
    for i, call in enumerate(calls.calls):
        places.setdefault(call.path, i)

    def order(label: str) -> int:
        while label and label not in places:
            label = label.rpartition("/")[0]
        return places.get(label, 0)

    graph = Graph(path, order)
    if len(graph.outputs) != len(calls.outputs):
        raise ExportError(f"{path.name} has {len(graph.outputs)} outputs, the model {len(calls.outputs)}")
    if len(graph.inputs) != len(arrays):
        raise ExportError(f"{path.name} takes {len(graph.inputs)} inputs, {len(arrays)} were given")
    inputs = dict(zip(graph.inputs, arrays, strict=True))
    oracle = Oracle(calls, computed(model), arrays)
    walk = Walk(graph, oracle, Candidates(calls, graph))
    walk.run(inputs)
    of_optimizers = spoiled(path, graph, inputs, _noise(graph, model, oracle, arrays))
    return _result(walk, calls, of_optimizers, path)


def _noise(graph: Graph, model: Any, oracle: Oracle, arrays: Sequence[Array]) -> dict[str, Array]:
    """By how much Keras' own answers are off from the exact ones, for the file's outputs."""
    import keras
    import tensorflow as tf

    inputs = signature.structured_inputs(model, [tf.constant(array) for array in arrays])
    with as_in_graph():
        made = keras.tree.flatten(model(inputs, training=False))
    noise = {}
    for name, number, tensor in zip(graph.outputs, oracle.program.outputs, made, strict=True):
        oracle.reach(number, None)
        own, exact = np.asarray(tensor), oracle.exact(number)
        noise[name] = own.astype(np.float64) - exact if exact.dtype.kind == "f" else np.zeros(exact.shape)
    return noise


def _result(walk: Walk, program: Program, of_optimizers: Spoiled | None, path: Path) -> Bisection:
    rows: dict[int, LayerError] = {}
    for i, call in enumerate(program.calls):
        seen = [walk.recognised[n] for n in call.outputs if n in walk.recognised]
        tensor, difference = max(seen, key=lambda one: one[1].ratio) if seen else ("", NOTHING)
        rows[i] = _row(program, i, tensor, difference, RIGHT if seen else NOT_COMPARED)
    for one in walk.departures:
        if one.blame.call >= 0:
            rows[one.blame.call] = _row(program, one.blame.call, one.tensor, one.difference, DEPARTS, one)
    if of_optimizers is not None:
        calls = walk.candidates.calls(of_optimizers.step.layer)
        if calls:
            rows[calls[0]] = _row(program, calls[0], of_optimizers.tensor, of_optimizers.difference, SPOILED)
    guilty = next((row.layer for row in rows.values() if row.verdict in (DEPARTS, SPOILED)), None)
    names = of_optimizers.optimizers if of_optimizers else ()
    everything = [*asked_for(path), *names] if names else []
    option = f"disabled_optimizers=[{', '.join(f'{name!r}' for name in everything)}]".replace("'", '"')
    return Bisection(tuple(rows.values()), guilty, names, option if names else "", 0.0)


def _row(
    program: Program, i: int, tensor: str, found: Difference, verdict: str, departure: Departure | None = None
) -> LayerError:
    call = program.calls[i]
    return LayerError(
        layer=call.path,
        class_name=type(call.operation).__name__,
        tensor=tensor,
        error=_finite(found.error),
        keras_error=_finite(found.keras_error),
        ratio=_finite(found.ratio),
        amplification=_finite(found.error / ROUNDED_ONCE),
        verdict=verdict,
        one_with=tuple(program.calls[j].path for j in departure.blame.others) if departure else (),
        confirmed=departure is None or departure.confirmed,
    )


def _finite(figure: float) -> float | None:
    return figure if np.isfinite(figure) else None


if __name__ == "__main__":
    serve({"bisect": bisect})

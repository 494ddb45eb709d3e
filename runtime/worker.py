"""The process of one row, `python -m keronyx.runtime.worker`: opens a session, is warmed and parked, takes turns."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from typing import Any

import numpy as np

from keronyx.process import Message, peak_resident_mib, serve
from keronyx.runtime import find
from keronyx.runtime.turn import settle, take_turn
from keronyx.types import Array, ModelSpec, Runtime, Session, SessionRequest, TensorSpec

LEAST_WARMUP = 2
ENOUGH_WARMUP_MS = 2000
"""Warm-up is over after this many calls that took so long: what a first call adds is lost in calls of a second."""


class _State:
    """What the process holds between orders."""

    session: Session
    inputs: list[list[Array]]
    rotation: int


def open_session(order: Message) -> Message:
    """Import the library, load the artifact, compile, and make the first call; time each."""
    runtime = _runtime(order["runtime"], order["provider"])
    request = _request(order["request"])
    stacks = [np.load(path, mmap_mode="r") for path in order["inputs"]]
    _State.rotation = order["rotation"]
    _State.inputs = [[np.array(stack[i]) for stack in stacks] for i in range(len(stacks[0]))]
    import_s = _seconds(runtime.import_library)
    load_s = _seconds(lambda: setattr(_State, "session", runtime.open(request)))
    compile_s = _seconds(_State.session.prepare)
    first_call_s = _seconds(lambda: _State.session.run(_State.inputs[0]))
    return {
        "import_s": import_s,
        "load_s": load_s,
        "compile_s": compile_s,
        "first_call_s": first_call_s,
        "inputs": [asdict(spec) for spec in _State.session.inputs],
        "outputs": [asdict(spec) for spec in _State.session.outputs],
        "placement": asdict(_State.session.placement()),
    }


def warm_up(order: Message) -> Message:
    """Call on the first inputs in turn, keeping the outputs of the first `keep` calls as files in `folder`.

    Answers with each call's milliseconds, the files (one list per input), and the peak memory so far.
    """
    milliseconds: list[float] = []
    files: list[list[str]] = []
    for i in range(order["calls"]):
        if i >= LEAST_WARMUP and sum(milliseconds) > ENOUGH_WARMUP_MS:
            break
        before = time.perf_counter_ns()
        outputs = _State.session.run(_State.inputs[i % len(_State.inputs)])
        milliseconds.append((time.perf_counter_ns() - before) / 1e6)
        if i < order["keep"]:
            paths = [os.path.join(order["folder"], f"{order['prefix']}-{i}-{k}.npy") for k in range(len(outputs))]
            for path, array in zip(paths, outputs, strict=True):
                np.save(path, np.asarray(array), allow_pickle=False)
            files.append(paths)
    settle()
    return {"warmup_ms": milliseconds, "files": files, "peak_rss_mib": peak_resident_mib()}


def turn(order: Message) -> Message:
    """One turn of a round; answers when this process is quiet again."""
    taken = take_turn(_State.session, _State.inputs[: _State.rotation], order["start"], order["turn_ns"])
    settle()
    return {"wall_ns": taken.wall_ns, "cpu_ns": taken.cpu_ns}


def profile(_: Message) -> Message:
    """Where the nodes really executed, for runtimes that can tell."""
    profiled = getattr(_State.session, "profiled", None)
    placement = profiled(_State.inputs[0]) if profiled else _State.session.placement()
    return asdict(placement)


def _runtime(name: str, provider: str) -> Runtime:
    """A runtime of RUNTIMES, or of one's own as `module:attribute`."""
    module, colon, attribute = name.partition(":")
    if not colon:
        return find(name, provider)
    runtime: Runtime = getattr(import_module(module), attribute)
    return runtime


def _request(values: dict[str, Any]) -> SessionRequest:
    spec = values["spec"]
    tensors = {
        key: tuple(TensorSpec(t["name"], tuple(t["shape"]), t["dtype"]) for t in spec[key])
        for key in ("inputs", "outputs")
    }
    return SessionRequest(**{**values, "spec": ModelSpec(**{**spec, **tensors})})


def _seconds(action: Callable[[], object]) -> float:
    before = time.perf_counter_ns()
    action()
    return (time.perf_counter_ns() - before) / 1e9


if __name__ == "__main__":
    serve({"open": open_session, "warm_up": warm_up, "turn": turn, "profile": profile})

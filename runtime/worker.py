"""The process of one row, `python -m keronyx.runtime.worker`: opens a session, is warmed and parked, takes turns."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib import import_module

import numpy as np

from keronyx.process import Message, peak_resident_mib, serve
from keronyx.runtime import find, scheduling
from keronyx.runtime.callers import Callers
from keronyx.runtime.load import take_concurrent_turn
from keronyx.runtime.nvml import Gpu
from keronyx.runtime.proof import prove
from keronyx.runtime.requests import request_of
from keronyx.runtime.turn import Nothing, settle, take_turn
from keronyx.runtime.witness import Witness
from keronyx.types import Array, Runtime, Session


class _State:
    """What the process holds between orders."""

    session: Session
    inputs: list[list[Array]]
    rotation: int
    callers: Callers | None = None
    witness = Witness()
    gpu: Gpu | None = None


def open_session(order: Message) -> Message:
    """Import the library, load the artifact, compile, and make the first call; time each."""
    stacks = [np.load(path, mmap_mode="r") for path in order["inputs"]]
    _State.rotation = order["rotation"] or len(stacks[0])
    if order["callers"] > 1:
        _State.callers = Callers(order["callers"])
    if order["provider"] != "cpu":
        _State.gpu = Gpu.open()
    _State.inputs = [[np.array(stack[i]) for stack in stacks] for i in range(len(stacks[0]))]
    opened = _open(order)
    opened["first_call_s"] = _seconds(lambda: _State.session.run(_State.inputs[0]))
    return {**opened, "placement": asdict(_State.session.placement())}


def load_session(order: Message) -> Message:
    """As `open_session`, for orders to `answer` alone: no inputs, no call."""
    opened = _open(order)
    return {**opened, "placement": asdict(_State.session.placement())}


def answer(order: Message) -> Message:
    """One call, not timed for any report. Inputs are one `.npy` each; every output becomes one in `folder`."""
    inputs = [np.load(path, allow_pickle=False) for path in order["inputs"]]
    before = time.perf_counter_ns()
    outputs = _State.session.run(inputs)
    milliseconds = (time.perf_counter_ns() - before) / 1e6
    files = _saved(outputs, order["folder"], f"{order['prefix']}-answer")
    return {"files": files, "milliseconds": milliseconds}


def warm_up(order: Message) -> Message:
    """Call number `call` of the warm-up, on that input. Its outputs become files in `folder`, if one is named."""
    call = order["call"]
    before = time.perf_counter_ns()
    outputs = _State.session.run(_State.inputs[call % len(_State.inputs)])
    milliseconds = (time.perf_counter_ns() - before) / 1e6
    if call < _State.rotation:
        _State.witness.learn(call, outputs)
    files: list[str] = []
    if order["folder"]:
        files = _saved(outputs, order["folder"], f"{order['prefix']}-{call}")
    return {"milliseconds": milliseconds, "files": files}


def park(_: Message) -> Message:
    """Become quiet, and ready for turns. Answers with the peak memory so far and what timing adds to a call."""
    if _State.callers is not None:
        take_concurrent_turn(_State.session, _State.inputs[: _State.rotation], 0, 1, _State.callers)
    settle()
    nothing = take_turn(Nothing(), [[]], 0, 10**9)
    return {"peak_rss_mib": peak_resident_mib(), "harness_ns": int(np.median(nothing.wall_ns))}


def turn(order: Message) -> Message:
    """One turn of a round; answers when this process is quiet again."""
    inputs, start, turn_ns = _State.inputs[: _State.rotation], order["start"], order["turn_ns"]
    calls = 0

    def look(call: int, outputs: Sequence[Array]) -> None:
        nonlocal calls
        calls = call + 1 - start
        _State.witness.follows(call % len(inputs), outputs)

    if _State.gpu is not None:
        _State.gpu.begin()
    before = scheduling.read()
    if _State.callers is not None:
        taken = take_concurrent_turn(_State.session, inputs, start, turn_ns, _State.callers, witness=look)
    else:
        taken = take_turn(_State.session, inputs, start, turn_ns, witness=look)
    waited_ns, switches = scheduling.read().since(before)
    # Several callers make calls that nobody counts, so the energy of one of them is not known.
    gpu = _State.gpu.end(calls) if _State.gpu is not None and _State.callers is None else None
    settle()
    return asdict(replace(taken, waited_ns=waited_ns, switches=switches, gpu=gpu))


def witness_gate(_: Message) -> Message:
    """Whether the answers of the rounds so far followed their inputs."""
    return {"gate": asdict(_State.witness.gate())}


def prove_work(_: Message) -> Message:
    """Gates that the timed calls did the work."""
    gates = prove(_State.session, _State.inputs[: _State.rotation], _State.witness)
    return {"gates": [asdict(gate) for gate in gates]}


def time_device(_: Message) -> Message:
    """The parts of a call on an accelerator, for sessions that can tell."""
    parts = getattr(_State.session, "device_times", None)
    found = parts(_State.inputs[0]) if parts else None
    return {"device": asdict(found) if found is not None else None}


def profile(_: Message) -> Message:
    """Where the nodes really executed, for runtimes that can tell."""
    profiled = getattr(_State.session, "profiled", None)
    placement = profiled(_State.inputs[0]) if profiled else _State.session.placement()
    return asdict(placement)


def _open(order: Message) -> Message:
    """Import the library, load the artifact and compile; what each took, and the signature."""
    runtime = _runtime(order["runtime"], order["provider"])
    request = request_of(order["request"])
    import_s = _seconds(runtime.import_library)
    load_s = _seconds(lambda: setattr(_State, "session", runtime.open(request)))
    compile_s = _seconds(_State.session.prepare)
    return {
        "import_s": import_s,
        "load_s": load_s,
        "compile_s": compile_s,
        "inputs": [asdict(spec) for spec in _State.session.inputs],
        "outputs": [asdict(spec) for spec in _State.session.outputs],
    }


def _saved(outputs: Sequence[Array], folder: str, prefix: str) -> list[str]:
    """Outputs as files; their paths."""
    files = [os.path.join(folder, f"{prefix}-{k}.npy") for k in range(len(outputs))]
    for path, array in zip(files, outputs, strict=True):
        np.save(path, np.asarray(array), allow_pickle=False)
    return files


def _runtime(name: str, provider: str) -> Runtime:
    """A runtime of RUNTIMES, or of one's own as `module:attribute`."""
    module, colon, attribute = name.partition(":")
    if not colon:
        return find(name, provider)
    runtime: Runtime = getattr(import_module(module), attribute)
    return runtime


def _seconds(action: Callable[[], object]) -> float:
    before = time.perf_counter_ns()
    action()
    return (time.perf_counter_ns() - before) / 1e9


if __name__ == "__main__":
    serve(
        {
            "open": open_session,
            "load": load_session,
            "answer": answer,
            "warm_up": warm_up,
            "park": park,
            "turn": turn,
            "witness": witness_gate,
            "prove": prove_work,
            "profile": profile,
            "device": time_device,
        }
    )

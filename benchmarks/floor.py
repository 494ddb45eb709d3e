"""What keronyx's calls of ONNX Runtime take above its C API: a model that adds one to one number, one thread.

The floor is OrtApi::Run itself, called from C (floor.c, compiled here; without a C compiler that row is left out) on
the library of the same wheel. All paths alternate in this process, every call is timed by itself, and a round counts by
the median of its calls. To hold: `run` at most 6 microseconds above the floor, the bound call at most 2.
"""

import ctypes
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from keronyx.profiles import stats
from keronyx.runtime.ort_common import OnnxRuntimeSession
from keronyx.runtime.ort_device import _Bound, _wait_for_nothing
from keronyx.runtime.turn import MAX_CALLS, take_turn
from keronyx.types import ModelSpec, SessionRequest, TensorSpec

ROUNDS = 100
QUESTION, ANSWER = 41.0, 42.0
FLOOR, BOUND_CALL, RUN, BARE_RUN = "OrtApi::Run in C", "keronyx, bound", "keronyx, run", "InferenceSession.run"
BOUNDS_US = {BOUND_CALL: 2.0, RUN: 6.0}

PathUs = Callable[[], float]
"""Makes some hundred calls and returns the median of their microseconds."""


def model(folder: Path) -> Path:
    """An ONNX file with y = x + 1, for one float32."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "one"], ["y"])],
        "add",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(np.ones(1, np.float32), "one")],
    )
    path = folder / "add.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def in_c(folder: Path, onnx_file: Path) -> PathUs | str:
    """The path through C alone, or why there is none."""
    import onnxruntime

    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return "no C compiler"
    built = folder / "floor.so"
    source = Path(__file__).with_name("floor.c")
    command = [compiler, "-O2", "-std=gnu11", "-shared", "-fPIC", "-o", str(built), str(source), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return f"floor.c does not compile: {done.stderr.strip()[:200]}"
    libraries = sorted((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*"))
    if not libraries:
        return "the wheel has no libonnxruntime.so"
    floor = ctypes.CDLL(str(built))
    floor.floor_open.restype = floor.floor_take.restype = ctypes.c_char_p
    if error := floor.floor_open(str(libraries[0]).encode(), str(onnx_file).encode()):
        return str(error.decode())
    taken, answer = (ctypes.c_int64 * MAX_CALLS)(), ctypes.c_float()

    def call() -> float:
        answer.value = 0.0
        if error := floor.floor_take(MAX_CALLS, ctypes.c_float(QUESTION), taken, ctypes.byref(answer)):
            raise RuntimeError(error.decode())
        assert answer.value == ANSWER, answer.value
        return float(np.median(list(taken))) / 1000

    return call


def through_keronyx(onnx_file: Path) -> dict[str, PathUs]:
    """The paths through Python: the bare InferenceSession, and ours."""
    tensors = ((TensorSpec("x", (1,), "float32"),), (TensorSpec("y", (1,), "float32"),))
    session = OnnxRuntimeSession(SessionRequest(str(onnx_file), ModelSpec("add", "", *tensors, 0, ""), "cpu", 1))
    feed = [np.full(1, QUESTION, np.float32)]
    answers = session.run(feed)
    assert answers[0].tolist() == [ANSWER]
    bound = _Bound(session.native, session, feed, answers, "cpu", _wait_for_nothing, time.perf_counter_ns)

    def run() -> float:
        return float(np.median(take_turn(session, [feed], 0, 10**9).wall_ns)) / 1000

    def bound_call() -> float:
        return float(np.median([bound.resident() for _ in range(MAX_CALLS)])) / 1000

    def bare_run() -> float:
        call, taken = session.native.run, []
        for _ in range(MAX_CALLS):
            before = time.perf_counter_ns()
            call(["y"], {"x": feed[0]})
            taken.append(time.perf_counter_ns() - before)
        return float(np.median(taken)) / 1000

    return {BOUND_CALL: bound_call, BARE_RUN: bare_run, RUN: run}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        onnx_file = model(Path(folder))
        floor = in_c(Path(folder), onnx_file)
        paths = through_keronyx(onnx_file)
        if not isinstance(floor, str):
            paths = {FLOOR: floor, **paths}
        rounds = [{name: path() for name, path in paths.items()} for _ in range(ROUNDS)]
    if isinstance(floor, str):
        print(f"{FLOOR:<22} left out: {floor}")
    for name in paths:
        print(f"{name:<22}{np.median([one[name] for one in rounds]):6.2f} us a call{above(name, rounds)}")


def above(name: str, rounds: list[dict[str, float]]) -> str:
    """How far a path is above the floor, with its interval, and whether that holds its bound."""
    if name == FLOOR or FLOOR not in rounds[0]:
        return ""
    found = stats.estimate([one[name] - one[FLOOR] for one in rounds])
    assert found is not None and found.interval is not None
    text = f", {found.value:5.2f} us above the floor [{found.interval.low:.2f}, {found.interval.high:.2f}]"
    if bound := BOUNDS_US.get(name):
        text += f"   to hold: <= {bound:g} us: {verdict(found, bound)}"
    return text


def verdict(found: stats.Estimate, bound: float) -> str:
    """Met or missed, where the interval says so."""
    assert found.interval is not None
    if found.interval.high <= bound:
        return "met"
    return "missed" if found.interval.low > bound else "undecided"


if __name__ == "__main__":
    main()

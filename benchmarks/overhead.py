"""What keronyx adds to a call: an Identity model through the timed loop, against the bare ONNX Runtime call.

Both are measured interleaved in this process; the figure to hold is below 20 microseconds a call.
"""

import tempfile
import time
from pathlib import Path

import numpy as np

from keronyx.profiles import stats
from keronyx.runtime.ort_common import OnnxRuntimeSession
from keronyx.runtime.turn import take_turn
from keronyx.types import ModelSpec, SessionRequest, TensorSpec

CALLS, ROUNDS = 200, 100


def identity_model(folder: str) -> Path:
    """An ONNX file that returns its 1x16 float32 input."""
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "identity",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16])],
    )
    path = Path(folder) / "identity.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def main() -> None:
    spec = ModelSpec(
        "identity", "", (TensorSpec("x", (1, 16), "float32"),), (TensorSpec("y", (1, 16), "float32"),), 0, ""
    )
    with tempfile.TemporaryDirectory() as folder:
        session = OnnxRuntimeSession(SessionRequest(str(identity_model(folder)), spec, "cpu", 1))
    bare = session._session.run
    feed = np.zeros((1, 16), np.float32)
    harness, direct = [], []
    for _ in range(ROUNDS):
        turn = take_turn(session, [[feed]], 0, CALLS * 10_000)
        harness.append(float(np.median(turn.wall_ns)) / 1000)
        samples = []
        for _ in range(len(turn.wall_ns)):
            before = time.perf_counter_ns()
            bare(["y"], {"x": feed})
            samples.append(time.perf_counter_ns() - before)
        direct.append(float(np.median(samples)) / 1000)
    added = [h - d for h, d in zip(harness, direct, strict=True)]
    interval = stats.median_interval(added)
    assert interval is not None
    print(f"bare session.run        {np.median(direct):7.2f} us")
    print(f"through keronyx         {np.median(harness):7.2f} us")
    print(
        f"added by keronyx        {np.median(added):7.2f} us [{interval.low:.2f}, {interval.high:.2f}]   to hold: < 20"
    )


main()

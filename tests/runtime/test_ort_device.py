"""The parts of a call on a device: what belongs to which part, what survives a failure, and that answers are checked.

A device that works on after a call returned is simulated with a clock of its own; ONNX Runtime's binding of inputs and
outputs is real, on the CPU.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from keronyx.runtime import ort_device
from keronyx.runtime.fake import FakeClock
from keronyx.runtime.ort_common import OnnxRuntimeSession
from keronyx.runtime.ort_device import device_times
from keronyx.types import Array, DeviceTimes, ModelSpec, SessionRequest, TensorSpec

SUBMIT, COMPUTE, IN, OUT = 90, 910, 310, 120
"""Nanoseconds of the simulated device."""

FEED = [np.arange(6, dtype=np.float32).reshape(2, 3)]


class Device:
    """A GPU that is busy until `busy_until`; the host only waits for it when it is told to."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.busy_until = 0
        self.broken = False

    def launch(self) -> None:
        self.clock.advance(SUBMIT)
        self.busy_until = self.clock.now + COMPUTE

    def wait(self) -> None:
        if self.broken:
            raise RuntimeError("device lost")
        self.clock.now = max(self.clock.now, self.busy_until)


class Value:
    """An OrtValue on the simulated device; every copy takes its time."""

    def __init__(self, device: Device, array: Array) -> None:
        self._device = device
        self.array = np.array(array)

    def update_inplace(self, array: Array) -> None:
        self._device.clock.advance(IN)
        self.array = np.array(array)

    def numpy(self) -> Array:
        self._device.clock.advance(OUT)
        return self.array


class Native:
    """An InferenceSession that doubles its input on the simulated device."""

    def __init__(self, device: Device, providers: Sequence[str] = ("CUDAExecutionProvider",)) -> None:
        self.device = device
        self.providers = list(providers)
        self.writes = True
        self.calls = 0
        self.fails: Callable[[int], bool] = lambda call: False

    def get_providers(self) -> list[str]:
        return self.providers

    def get_session_options(self) -> Any:
        def entry(key: str) -> str:
            raise RuntimeError(f"SessionOptions does not have configuration with key: {key}")

        return SimpleNamespace(get_session_config_entry=entry)

    def io_binding(self) -> Any:
        bound: dict[str, Value] = {}
        return SimpleNamespace(
            bound=bound, bind_ortvalue_input=bound.__setitem__, bind_ortvalue_output=bound.__setitem__
        )

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        self.calls += 1
        if self.fails(self.calls):
            raise RuntimeError("[ONNXRuntimeError] : 1 : FAIL : out of memory\nat somewhere.cc")
        self.device.launch()
        if self.writes:
            binding.bound["y"].array = 2 * binding.bound["x"].array
        try:
            unsynchronised = options.get_run_config_entry("disable_synchronize_execution_providers") == "1"
        except RuntimeError:
            unsynchronised = False
        if not unsynchronised:
            self.device.wait()


class Session:
    """What device_times uses of an OnnxRuntimeSession. `tardy`: run() returns that long before its answer is there."""

    input_names = ("x",)
    output_names = ("y",)

    def __init__(self, device: Device, provider: str = "cuda", tardy: int = 0) -> None:
        self.device, self.provider, self.tardy = device, provider, tardy
        self.native = Native(device)
        self.graph = Native(device)
        self.asked: dict[str, str] = {}
        self.given: dict[str, str] = {}

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        self.device.clock.advance(IN + SUBMIT + COMPUTE + OUT)
        self.device.busy_until = self.device.clock.now + self.tardy
        return [2 * np.asarray(x) for x in inputs]

    def provider_options(self) -> dict[str, str]:
        return self.given

    def open_another(self, further: dict[str, str]) -> Native:
        self.asked = further
        return self.graph


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    simulated = Device()
    monkeypatch.setattr(ort_device, "_on_device", lambda array, _: Value(simulated, array))
    monkeypatch.setattr(ort_device, "_wait_for_cuda", simulated.wait)
    return simulated


def measured(session: Session, calls: int = 5) -> DeviceTimes:
    return device_times(session, FEED, calls, session.device.clock)  # type: ignore[arg-type]


def test_every_part_gets_the_time_that_is_its_own(device: Device) -> None:
    found = measured(Session(device))
    assert found.h2d_ns == (IN,) * 5 and found.d2h_ns == (OUT,) * 5
    assert found.submit_ns == (SUBMIT,) * 5
    assert found.sync_ns == (0,) * 5
    assert set(found.resident_ns) == set(found.graph_ns) == {SUBMIT + COMPUTE}
    assert len(found.graph_ns) == 5 and len(found.resident_ns) == 10  # five of them beside the graph
    assert found.graph_reason == "" and not any("failed" in option for option in found.options)


def test_a_call_that_returns_before_its_answer_is_there_is_found_out(device: Device) -> None:
    assert measured(Session(device, tardy=700)).sync_ns == (700,) * 5


def test_no_call_lets_the_python_package_look_in_vain_for_a_graph_id(device: Device) -> None:
    session = Session(device)
    asked: list[str] = []
    for native in (session.native, session.graph):
        call = native.run_with_iobinding

        def recorded(binding: Any, options: Any, call: Any = call) -> None:
            asked.append(options.get_run_config_entry("gpu_graph_id"))  # raises where there is none: 35 us a call
            call(binding, options)

        native.run_with_iobinding = recorded  # type: ignore[method-assign]
    found = measured(session)
    assert found.graph_ns and found.submit_ns and set(asked) == {"0"}


def test_the_parts_take_turns(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    call = ort_device._Findings._call

    def recorded(self: Any, name: str, part: Any) -> int | None:
        order.append(name)
        return call(self, name, part)

    monkeypatch.setattr(ort_device._Findings, "_call", recorded)
    measured(Session(device), calls=4)
    warm, parts = 5 * ort_device.WARM_UP, {"sync", "resident", "h2d", "d2h", "submit"}
    rounds = [order[warm + 5 * i : warm + 5 * (i + 1)] for i in range(4)]
    assert all(set(names) == parts for names in rounds)
    assert len({tuple(names) for names in rounds}) > 1


def test_a_cuda_graph_is_asked_for_in_the_providers_own_words(device: Device) -> None:
    for provider, option in (("cuda", "enable_cuda_graph"), ("tensorrt", "trt_cuda_graph_enable")):
        session = Session(device, provider)
        measured(session)
        assert session.asked == {option: "1"}


def test_a_model_that_cannot_be_captured_says_why_and_keeps_its_other_parts(device: Device) -> None:
    session = Session(device)
    session.graph.fails = lambda call: True
    found = measured(session)
    assert found.graph_ns == () and found.graph_reason == "out of memory"
    assert found.resident_ns == (SUBMIT + COMPUTE,) * 5 and found.submit_ns and found.h2d_ns and found.sync_ns


def test_a_graph_session_that_fell_back_has_no_time(device: Device) -> None:
    session = Session(device)
    session.graph = Native(device, ["CPUExecutionProvider"])
    found = measured(session)
    assert found.graph_ns == () and "CPUExecutionProvider" in found.graph_reason


def test_a_replay_that_does_nothing_has_no_time(device: Device) -> None:
    session = Session(device)
    captured = session.graph.run_with_iobinding

    def only_the_first_time(binding: Any, options: Any) -> None:
        session.graph.writes = session.graph.calls == 0
        captured(binding, options)

    session.graph.run_with_iobinding = only_the_first_time  # type: ignore[method-assign]
    found = measured(session)
    assert found.graph_ns == () and "answer" in found.graph_reason


def test_a_failed_capture_that_takes_the_device_along_costs_nothing_measured_before(device: Device) -> None:
    session = Session(device)

    def lost(call: int) -> bool:
        device.broken = True
        return True

    session.graph.fails = lost
    found = measured(session)
    assert found.graph_reason == "out of memory"
    assert [len(part) for part in (found.resident_ns, found.h2d_ns, found.submit_ns, found.sync_ns)] == [5] * 4


def test_no_room_on_the_device_leaves_the_part_that_needs_none(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(array: Array, name: str) -> Value:
        raise RuntimeError("no room")

    monkeypatch.setattr(ort_device, "_on_device", full)
    found = measured(Session(device))
    assert found.sync_ns == (0,) * 5 and found.resident_ns == () and found.graph_reason == "no room"
    assert {found.options[f"{part} failed"] for part in ("resident", "h2d", "d2h", "submit")} == {"no room"}


def test_a_part_that_fails_half_way_keeps_its_samples_says_so_and_is_not_called_again(device: Device) -> None:
    session = Session(device)
    session.native.fails = lambda call: call == 40
    found = measured(session, calls=50)
    failed = [option for option in found.options if option.endswith("failed")]
    assert len(failed) == 1 and found.options[failed[0]] == "out of memory"
    assert (0 < len(found.submit_ns) < 50) == (failed == ["submit failed"])
    assert (0 < len(found.resident_ns) < 50) == (failed == ["resident failed"])
    assert len(found.h2d_ns) == 50


def test_options_are_told_as_the_provider_reports_them(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    session = Session(device)
    session.given = {"use_tf32": "1", "enable_cuda_graph": "0", "cudnn_conv_algo_search": "EXHAUSTIVE"}
    expected = {"tf32": "on", "cuda_graph": "off", "spinning": "on", "cudnn_conv_algo_search": "EXHAUSTIVE"}
    assert measured(session).options == expected
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert measured(session).options == expected | {"tf32": "off"}
    session.given = {}
    assert measured(session).options == {"spinning": "on"}


def test_tensorrt_uses_tf32_unless_it_is_overridden(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    session = Session(device, "tensorrt")
    session.given = {"trt_cuda_graph_enable": "0"}
    assert measured(session).options == {"tf32": "on", "cuda_graph": "off", "spinning": "on"}


def test_a_driver_that_reports_an_error_is_no_synchronisation(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = iter([0, 700])
    monkeypatch.setattr(ort_device, "_driver", lambda: SimpleNamespace(cuCtxSynchronize=lambda: next(codes)))
    ort_device._wait_for_cuda()
    with pytest.raises(RuntimeError, match="700"):
        ort_device._wait_for_cuda()


@pytest.fixture
def real(tmp_path: Any) -> OnnxRuntimeSession:
    """A real session on the CPU: one float32 input, its double and whether it is above two."""
    import onnx
    from onnx import TensorProto, helper

    def tensor(name: str, kind: int) -> Any:
        return helper.make_tensor_value_info(name, kind, ["n", 3])

    two = helper.make_tensor("two", TensorProto.FLOAT, [1], [2.0])
    nodes = [helper.make_node("Mul", ["x", "two"], ["y"]), helper.make_node("Greater", ["x", "two"], ["above"])]
    outputs = [tensor("above", TensorProto.BOOL), tensor("y", TensorProto.FLOAT)]
    graph = helper.make_graph(nodes, "double", [tensor("x", TensorProto.FLOAT)], outputs, [two])
    path = tmp_path / "double.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    specs = (TensorSpec("y", (None, 3), "float32"), TensorSpec("above", (None, 3), "bool"))
    spec = ModelSpec("double", "", (TensorSpec("x", (None, 3), "float32"),), specs, 0, "")
    return OnnxRuntimeSession(SessionRequest(str(path), spec, "cpu", 1))


def test_onnx_runtimes_own_binding_is_timed_in_every_part(real: OnnxRuntimeSession) -> None:
    feed = [FEED[0].copy()]
    found = device_times(real, feed, calls=7)
    assert [len(part) for part in (found.resident_ns, found.h2d_ns, found.d2h_ns, found.submit_ns)] == [7] * 4
    assert all(took > 0 for took in found.resident_ns + found.submit_ns)
    assert found.graph_ns == () and found.graph_reason == "there are no CUDA graphs on cpu"
    assert found.options == {"spinning": "on"}
    assert np.array_equal(feed[0], FEED[0])


def test_inputs_that_do_not_lie_in_one_piece_are_copied_rightly(real: OnnxRuntimeSession) -> None:
    found = device_times(real, [np.asfortranarray(FEED[0])], calls=2)
    assert len(found.resident_ns) == 2 and not any("failed" in option for option in found.options)


def test_a_wrong_answer_of_the_bound_session_is_no_measurement(
    real: OnnxRuntimeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = real.run
    monkeypatch.setattr(real, "run", lambda inputs: [answer + answer.dtype.type(1) for answer in run(inputs)])
    found = device_times(real, FEED, calls=2)
    assert found.resident_ns == () and "answer" in found.options["resident failed"]


def test_the_run_option_that_does_not_wait_is_one_onnx_runtime_knows() -> None:
    from onnxruntime.capi import onnxruntime_pybind11_state

    assert ort_device.DO_NOT_WAIT.encode() in Path(onnxruntime_pybind11_state.__file__).read_bytes()


def test_a_session_on_the_cpu_has_no_device(real: OnnxRuntimeSession) -> None:
    assert real.device_times(FEED) is None


def test_no_session_goes_on_without_its_provider(real: OnnxRuntimeSession) -> None:
    assert real.native._enable_fallback is False


def test_without_a_driver_waiting_for_it_is_an_error() -> None:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        with pytest.raises(OSError, match="libcuda"):
            ort_device._wait_for_cuda()
    else:
        pytest.skip("this machine has a driver")

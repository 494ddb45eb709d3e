"""The parts of a call of ONNX Runtime on a GPU, each measured apart: compute, copies, submission, CUDA graph.

Host-to-host latency, which the rounds measure, is what a caller waits for. These figures say what it is made of. They
are taken outside the rounds, interleaved among themselves in an order shuffled anew each time.

The device is waited for through the driver (`cuCtxSynchronize`), which knows every stream of this process, and not by
ONNX Runtime's word: that word is what `sync_ns` is to prove.
"""

from __future__ import annotations

import ctypes
import os
import random
import re
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from keronyx.types import Array, Clock, DeviceTimes

if TYPE_CHECKING:
    from keronyx.runtime.ort_common import OnnxRuntimeSession

CALLS = 20
WARM_UP = 3
"""Calls of each part that are not kept; a CUDA graph is captured in the first or second of them."""

DO_NOT_WAIT = "disable_synchronize_execution_providers"
"""Run option; see onnxruntime_run_options_config_keys.h."""

GRAPH_ID = ("gpu_graph_id", "0")
"""Run option at its default. ONNX Runtime 1.31's Python package asks every call's options for it, and where it is not
set that raises and catches an exception in each: 35 us, ten times the call itself."""

SPINNING = "session.intra_op.allow_spinning"
GRAPH_OPTION = {"cuda": "enable_cuda_graph", "tensorrt": "trt_cuda_graph_enable"}

SAME_ANSWER = 0.01
"""Relative error two ways to call one model may differ by: another convolution algorithm in TF32 leaves 1e-3."""

Part = Callable[[], int]
"""Makes one measurement and returns its nanoseconds."""


def device_times(
    session: OnnxRuntimeSession, inputs: Sequence[Array], calls: int = CALLS, clock: Clock = time.perf_counter_ns
) -> DeviceTimes:
    """Time the parts of a call, `calls` times each, all with the same `inputs`.

    A part that fails has the samples it got until then, and the reason stands in `options` as `PART failed`; that of
    the CUDA graph in `graph_reason`. The CUDA graph is tried last, beside further `resident` calls, because a failed
    capture can leave the device unusable.

    Raises:
        Exception: whatever `session.run` raises, when not even the host-to-host call works.
    """
    device = "cpu" if session.provider == "cpu" else "cuda"
    wait = _wait_for_nothing if device == "cpu" else _wait_for_cuda
    answers = session.run(inputs)
    found = _Findings()

    def host() -> dict[str, Part]:
        return {"sync": lambda: _after_return(session, inputs, wait, clock)}

    def on_device() -> dict[str, Part]:
        return _Bound(session.native, session, inputs, answers, device, wait, clock).parts()

    def graph() -> dict[str, Part]:
        bound = _Bound(_graph_session(session), session, inputs, answers, device, wait, clock)
        return {"graph": bound.resident}

    parts = found.prepared(("sync",), host) | found.prepared(("resident", "h2d", "d2h", "submit"), on_device)
    found.take(parts, calls, seed=0)
    captured = found.prepared(("graph",), graph)
    if captured and "resident" in parts:
        found.take({"resident": parts["resident"], **captured}, calls, seed=1)
    return found.report(_options(session))


class _Findings:
    """Samples of each part, and why those that failed did."""

    def __init__(self) -> None:
        self.samples: dict[str, list[int]] = {}
        self.failed: dict[str, str] = {}

    def prepared(self, names: Iterable[str], build: Callable[[], dict[str, Part]]) -> dict[str, Part]:
        """The parts that `build` makes, warmed up; without those that fail, and none when `build` does."""
        try:
            parts = build()
        except Exception as error:
            self.failed |= dict.fromkeys(names, _short(error))
            return {}
        return {name: part for name, part in parts.items() if self._warm(name, part)}

    def take(self, parts: dict[str, Part], calls: int, seed: int) -> None:
        """One sample of every part a round, in shuffled order; a part that fails is not called again."""
        shuffle = random.Random(seed).shuffle
        for _ in range(calls):
            names = [name for name in parts if name not in self.failed]
            shuffle(names)
            for name in names:
                took = self._call(name, parts[name])
                if took is not None:
                    self.samples.setdefault(name, []).append(took)

    def _warm(self, name: str, part: Part) -> bool:
        return all(self._call(name, part) is not None for _ in range(WARM_UP))

    def _call(self, name: str, part: Part) -> int | None:
        try:
            return part()
        except Exception as error:
            self.failed[name] = _short(error)
            return None

    def report(self, options: dict[str, str]) -> DeviceTimes:
        failed = {f"{name} failed": reason for name, reason in self.failed.items() if name != "graph"}
        return DeviceTimes(
            **{f"{name}_ns": tuple(values) for name, values in self.samples.items()},
            graph_reason=self.failed.get("graph", ""),
            options=options | failed,
        )


class _Bound:
    """A session whose inputs and outputs stay on the device. Raises when its answer is not that of `session.run`."""

    def __init__(
        self,
        native: Any,
        session: OnnxRuntimeSession,
        inputs: Sequence[Array],
        answers: Sequence[Array],
        device: str,
        wait: Callable[[], None],
        clock: Clock,
    ) -> None:
        import onnxruntime

        self._native, self._wait, self._clock = native, wait, clock
        self._host_inputs = inputs
        self._inputs = [_on_device(array, device) for array in inputs]
        self._outputs = [_on_device(np.zeros_like(answer), device) for answer in answers]
        self._binding = native.io_binding()
        for name, value in zip(session.input_names, self._inputs, strict=True):
            self._binding.bind_ortvalue_input(name, value)
        for name, value in zip(session.output_names, self._outputs, strict=True):
            self._binding.bind_ortvalue_output(name, value)
        self._waiting = onnxruntime.RunOptions()
        self._not_waiting = onnxruntime.RunOptions()
        self._not_waiting.add_run_config_entry(DO_NOT_WAIT, "1")
        for options in (self._waiting, self._not_waiting):
            options.add_run_config_entry(*GRAPH_ID)
        self._check(answers)

    def _check(self, answers: Sequence[Array]) -> None:
        """That a call once warm, such as the replay of a graph, really writes its outputs."""
        for _ in range(WARM_UP):
            self.resident()
        for value, answer in zip(self._outputs, answers, strict=True):
            value.update_inplace(np.zeros_like(answer))
        self.resident()
        for value, answer in zip(self._outputs, answers, strict=True):
            if not _same(value.numpy(), answer):
                raise RuntimeError("its answer is not that of the host-to-host call")

    def parts(self) -> dict[str, Part]:
        return {"resident": self.resident, "h2d": self.to_device, "d2h": self.to_host, "submit": self.submit}

    def resident(self) -> int:
        """A whole call, until the result is there."""
        before = self._clock()
        self._native.run_with_iobinding(self._binding, self._waiting)
        self._wait()
        return self._clock() - before

    def submit(self) -> int:
        """Until a call that does not wait for the device returns."""
        before = self._clock()
        self._native.run_with_iobinding(self._binding, self._not_waiting)
        took = self._clock() - before
        self._wait()
        return took

    def to_device(self) -> int:
        before = self._clock()
        for value, array in zip(self._inputs, self._host_inputs, strict=True):
            value.update_inplace(array)
        self._wait()
        return self._clock() - before

    def to_host(self) -> int:
        before = self._clock()
        copies = [value.numpy() for value in self._outputs]
        took = self._clock() - before
        del copies
        return took


def _after_return(session: OnnxRuntimeSession, inputs: Sequence[Array], wait: Callable[[], None], clock: Clock) -> int:
    """How long the device works on after `session.run` returned."""
    outputs = session.run(inputs)
    before = clock()
    wait()
    took = clock() - before
    del outputs
    return took


def _graph_session(session: OnnxRuntimeSession) -> Any:
    """A second session that captures its calls as a CUDA graph. Raises when that is impossible."""
    option = GRAPH_OPTION.get(session.provider)
    if option is None:
        raise RuntimeError(f"there are no CUDA graphs on {session.provider}")
    native = session.open_another({option: "1"})
    if native.get_providers() != session.native.get_providers():  # it was left out, which ONNX Runtime does not raise
        raise RuntimeError(f"the session with {option} runs on {', '.join(native.get_providers())}")
    return native


def _on_device(array: Array, device: str) -> Any:
    """An OrtValue on `device` that holds a copy of `array`."""
    import onnxruntime

    value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(array.shape, array.dtype.type, device, 0)
    value.update_inplace(array)
    return value


def _same(one: Array, other: Array) -> bool:
    """Whether two arrays differ by less than SAME_ANSWER of the second, both taken as vectors."""
    a, b = (np.asarray(array, np.float64).ravel() for array in (one, other))
    return a.shape == b.shape and bool(np.linalg.norm(a - b) <= SAME_ANSWER * np.linalg.norm(b))


def _wait_for_nothing() -> None:
    """A call on the CPU is over when it returns."""


def _wait_for_cuda() -> None:
    """Wait until every stream of this thread's CUDA context is idle. Raises RuntimeError and OSError."""
    error = _driver().cuCtxSynchronize()
    if error:
        raise RuntimeError(f"cuCtxSynchronize: CUDA error {error}")


@cache
def _driver() -> ctypes.CDLL:
    return ctypes.CDLL("libcuda.so.1")


def _options(session: OnnxRuntimeSession) -> dict[str, str]:
    """The settings of the timed session that matter; those that ONNX Runtime does not tell are left out."""
    given = session.provider_options()
    switches = {"tf32": given.get("use_tf32"), "cuda_graph": given.get(GRAPH_OPTION.get(session.provider, ""))}
    if session.provider == "tensorrt":
        switches["tf32"] = "1"  # it has no option for that, and its builder allows TF32
    if os.environ.get("NVIDIA_TF32_OVERRIDE") == "0" and switches["tf32"]:
        switches["tf32"] = "0"
    try:
        switches["spinning"] = session.native.get_session_options().get_session_config_entry(SPINNING)
    except RuntimeError:  # not set, which means allowed
        switches["spinning"] = "1"
    found = {name: "off" if value.lower() in ("0", "false") else "on" for name, value in switches.items() if value}
    if search := given.get("cudnn_conv_algo_search"):
        found["cudnn_conv_algo_search"] = search
    return found


def _short(error: Exception) -> str:
    """The first line of an error without ONNX Runtime's prefix, at most 200 characters."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error).strip())
    first = text.splitlines()[0] if text else type(error).__name__
    return first if len(first) <= 200 else first[:199] + "…"

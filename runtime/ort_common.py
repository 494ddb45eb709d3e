"""What the three ONNX Runtime providers share.

The trap they guard against: a session whose provider could not be loaded is a working session on the CPU, and
`get_available_providers()` lists providers that cannot run. ONNX Runtime's Python package adds one of its own: when
opening or running fails on a provider it prints a line and goes on without that provider, so that is forbidden.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from keronyx.external_data import refuse_escaping_data
from keronyx.runtime.ort_device import device_times
from keronyx.runtime.ort_recorded import recorded
from keronyx.types import Array, DeviceTimes, Placement, SessionRequest, TensorSpec

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
SHORT = {long: short for short, long in PROVIDERS.items()}


class OnnxRuntimeSession:
    """An InferenceSession with all options at their defaults but the threads and what the file itself asks for
    (`ort_recorded`), and the record of who got which node."""

    def __init__(self, request: SessionRequest, options: Mapping[str, str] | None = None) -> None:
        self._request = request
        self._provider_options = dict(options or {})
        refuse_escaping_data(Path(request.path))
        self._recorded = recorded(Path(request.path))
        self._session = self._open()
        self._names = [spec.name for spec in request.spec.outputs]
        self._input_names = [spec.name for spec in request.spec.inputs]
        self.inputs = _specs(self._session.get_inputs(), self._input_names)
        self.outputs = _specs(self._session.get_outputs(), self._names)
        self.loaded = {SHORT.get(name, name) for name in self._session.get_providers()}

    def _open(self, profile_prefix: str | None = None, further: Mapping[str, str] | None = None) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._request.threads
        options.log_severity_level = 3
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        self._recorded.set_on(options)
        if profile_prefix is not None:
            options.enable_profiling = True
            options.profile_file_prefix = profile_prefix
        provider = (PROVIDERS[self._request.provider], {**self._provider_options, **(further or {})})
        return onnxruntime.InferenceSession(
            self._request.path,
            options,
            providers=[provider],
            enable_fallback=False,
            disabled_optimizers=list(self._recorded.disabled_optimizers),
        )

    @property
    def provider(self) -> str:
        return self._request.provider

    @property
    def native(self) -> Any:
        """The `onnxruntime.InferenceSession` itself."""
        return self._session

    @property
    def input_names(self) -> Sequence[str]:
        return self._input_names

    @property
    def output_names(self) -> Sequence[str]:
        return self._names

    def provider_options(self) -> dict[str, str]:
        """What the provider says its options are, defaults included."""
        return dict(self._session.get_provider_options().get(PROVIDERS[self.provider], {}))

    def open_another(self, further: Mapping[str, str]) -> Any:
        """A second InferenceSession of the same model on the same terms, with `further` provider options."""
        return self._open(further=further)

    def prepare(self) -> None:
        """Nothing: ONNX Runtime compiles while it loads."""

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        names = self._input_names
        # zip and its check take half a microsecond, which a model of a few would show
        feed = {names[0]: inputs[0]} if len(inputs) == 1 else dict(zip(names, inputs, strict=True))
        outputs: Sequence[Array] = self._session.run(self._names, feed)
        return outputs

    def placement(self) -> Placement:
        """Nodes as assigned at load, and kernel time as executed in a second session that profiles one call."""
        wanted = self._request.provider
        assigned: Counter[str] = Counter()
        elsewhere = []
        for subgraph in self._session.get_provider_graph_assignment_info():
            owner = SHORT.get(subgraph.ep_name, subgraph.ep_name)
            nodes = subgraph.get_nodes()
            assigned[owner] += len(nodes)
            if owner != wanted:
                elsewhere += [f"{node.op_type} {node.name} ({owner})" for node in nodes]
        return Placement(dict(assigned), {}, tuple(elsewhere))

    def profiled(self, inputs: Sequence[Array]) -> Placement:
        """`placement` with the share of kernel time each provider really had, from a profiled session of its own."""
        with tempfile.TemporaryDirectory() as folder:
            session = self._open(str(Path(folder) / "profile"))
            feed = dict(zip(self._input_names, inputs, strict=True))
            session.run(self._names, feed)
            session.run(self._names, feed)
            events = json.loads(Path(session.end_profiling()).read_text())
        return replace(self.placement(), executed=kernel_shares(events))

    def device_times(self, inputs: Sequence[Array]) -> DeviceTimes | None:
        """The parts of a call on the GPU, outside all rounds; None on the CPU, where a call has no such parts."""
        return None if self.provider == "cpu" else device_times(self, inputs)


def kernel_shares(events: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Share of kernel time per provider in an ONNX Runtime profile (events of category Node that name a provider)."""
    spent: Counter[str] = Counter()
    for event in events:
        provider = event.get("args", {}).get("provider")
        if event.get("cat") == "Node" and provider:
            spent[SHORT.get(provider, provider)] += int(event.get("dur", 0))
    total = sum(spent.values())
    return {name: time / total for name, time in spent.items()} if total else {}


def _specs(arguments: Sequence[Any], wanted: Sequence[str]) -> tuple[TensorSpec, ...]:
    """What the graph has, in the order of the names that calls ask for; names nobody asks for come last."""
    found = [
        TensorSpec(a.name, tuple(size if isinstance(size, int) else None for size in a.shape), _dtype(a.type))
        for a in arguments
    ]
    return tuple(sorted(found, key=lambda spec: wanted.index(spec.name) if spec.name in wanted else len(wanted)))


def _dtype(onnx_type: str) -> str:
    """`tensor(float)` -> float32."""
    inner = onnx_type.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64", "float16": "float16"}.get(inner, inner)

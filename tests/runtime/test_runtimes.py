"""Every runtime that runs on the CPU gives the numbers of a forward pass written in numpy."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest

from keronyx.errors import UnavailableError, UsageError
from keronyx.export import folder
from keronyx.runtime import RUNTIMES, find
from keronyx.runtime.handle import Worker
from keronyx.types import SessionRequest

ON_CPU = [runtime for runtime in RUNTIMES if runtime.provider == "cpu"]


@pytest.mark.slow
@pytest.mark.parametrize("network", ["segmenter", "two_headed"])
@pytest.mark.parametrize("runtime", ON_CPU, ids=lambda runtime: runtime.name)
def test_every_runtime_answers_as_numpy_does(runtime, network, request, tiny_networks, tmp_path):
    if missing := runtime.missing():
        pytest.skip(missing.reason)
    exported: Path = request.getfixturevalue(f"{network}_export")
    manifest = folder.read(exported)
    spec = manifest.spec
    random = np.random.default_rng(1)
    scale = 255 if network == "segmenter" else 1
    inputs = [random.random((3, *tensor.shape), "float32") * np.float32(scale) for tensor in spec.inputs]
    files = [tmp_path / f"input-{k}.npy" for k in range(len(inputs))]
    for path, array in zip(files, inputs, strict=True):
        np.save(path, array)
    path = exported / manifest.artifact(runtime.artifacts[0]).path
    worker = Worker("row", runtime.name, SessionRequest(str(path), spec, "cpu", 1), 120)
    try:
        opened = worker.open(files, 3, tmp_path, lambda calls: len(calls) >= 4)
        placement = worker.profile()
    finally:
        worker.close()
    assert opened.inputs == spec.inputs
    assert opened.outputs == spec.outputs
    for i, paths in enumerate(opened.files):  # each input its own answer, kept after the next call
        wanted = getattr(tiny_networks, f"{network}_in_numpy")(*(array[i] for array in inputs))
        assert len(paths) == len(wanted) == len(spec.outputs)
        for tensor, file, right in zip(spec.outputs, paths, wanted, strict=True):
            got = np.load(file)
            assert got.shape == tensor.shape and got.dtype.name == tensor.dtype == "float32"
            np.testing.assert_allclose(got, right, rtol=2e-4, atol=2e-5)
    assert set(placement.assigned) == {"cpu"} and set(placement.executed) <= {"cpu"}


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ON_CPU, ids=lambda runtime: runtime.name)
def test_a_dynamic_batch_takes_three_items_and_then_one(runtime, dynamic_export, tiny_networks, monkeypatch):
    if hasattr(runtime, "start"):  # TensorFlow's threads can only be set once a process, and this is not its first use
        monkeypatch.setattr(runtime, "start", lambda request: None)
    manifest = folder.read(dynamic_export)
    path = dynamic_export / manifest.artifact(runtime.artifacts[0]).path
    runtime.import_library()
    session = runtime.open(SessionRequest(str(path), manifest.spec, "cpu", 1))
    session.prepare()
    random = np.random.default_rng(1)
    for batch in (3, 1):
        inputs = [random.random((batch, *tensor.shape[1:]), "float32") for tensor in manifest.spec.inputs]
        answers = session.run(inputs)
        for item in range(batch):
            wanted = tiny_networks.two_headed_in_numpy(*(array[item : item + 1] for array in inputs))
            for got, right in zip(answers, wanted, strict=True):
                assert got.shape[0] == batch
                np.testing.assert_allclose(got[item : item + 1], right, rtol=2e-4, atol=2e-5)


def test_the_two_headed_network_is_not_in_alphabetical_order(two_headed_export):
    spec = folder.read(two_headed_export).spec
    assert [t.name for t in spec.inputs] == ["zeta", "alpha"] and [t.name for t in spec.outputs] == ["why", "first"]


def test_names_and_providers_are_unique_and_found():
    pairs = [(runtime.name, runtime.provider) for runtime in RUNTIMES]
    assert len(set(pairs)) == len(pairs)
    assert all(find(*pair) is runtime for pair, runtime in zip(pairs, RUNTIMES, strict=True))
    assert {name for name, _ in pairs} == {
        "tf-eager", "tf-graph", "tf-optimized", "tf-xla", "ort", "litert", "openvino"
    }  # fmt: skip
    assert {provider for name, provider in pairs if name == "ort"} == {"cpu", "cuda", "tensorrt"}
    with pytest.raises(UsageError, match="no runtime ort/tpu"):
        find("ort", "tpu")


def test_every_runtime_has_a_file_of_its_own():
    files = {}
    for runtime in RUNTIMES:
        files.setdefault(inspect.getfile(type(runtime)), set()).add(type(runtime))
    assert all(len(classes) == 1 for classes in files.values())
    assert len(files) == len({type(runtime) for runtime in RUNTIMES})


def test_eager_calls_the_model_itself_and_never_predict():
    import keronyx.runtime.tf_common as tf_common

    source = inspect.getsource(tf_common)
    assert "training=False" in source and ".predict(" not in source


def test_tensorflow_outputs_left_on_the_cpu_are_no_cuda_row():
    from types import SimpleNamespace

    from keronyx.runtime.tf_common import TensorFlowSession
    from keronyx.types import ModelSpec

    request = SessionRequest("", ModelSpec("m", "m", (), (), 0, ""), "cuda", 1)
    outputs = [SimpleNamespace(device="/job:localhost/replica:0/task:0/device:CPU:0")]
    session = TensorFlowSession(request, lambda *_: outputs, device="cuda")
    assert session.profiled([]).executed == {"cpu": 1.0}
    outputs += [SimpleNamespace(device="/job:localhost/replica:0/task:0/device:GPU:0")]
    assert session.profiled([]).executed == {"cpu": 0.5, "cuda": 0.5}


def test_a_session_without_its_provider_is_refused(monkeypatch):
    """The trap: ONNX Runtime opens a working CPU session when CUDA cannot be loaded."""
    from types import SimpleNamespace

    from keronyx.runtime import ort_cuda, ort_tensorrt

    for module, provider in ((ort_cuda, "cuda"), (ort_tensorrt, "tensorrt")):
        fallen_back = SimpleNamespace(loaded={"cpu"})
        monkeypatch.setattr(module, "OnnxRuntimeSession", lambda request, back=fallen_back: back)
        with pytest.raises(UnavailableError, match="could not load"):
            find("ort", provider).open(None)
        honest = SimpleNamespace(loaded={provider, "cpu"})
        monkeypatch.setattr(module, "OnnxRuntimeSession", lambda request, real=honest: real)
        assert find("ort", provider).open(None) is honest

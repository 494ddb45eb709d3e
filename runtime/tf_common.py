"""What the TensorFlow runtimes share: loading the Keras file, threads, and calling with host arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from keronyx.custom_objects import import_custom_objects
from keronyx.errors import UnavailableError
from keronyx.in_graph import as_in_graph
from keronyx.runtime.libraries import tensorflow_cuda_missing, tensorflow_missing
from keronyx.types import Array, Missing, Placement, SessionRequest, TensorSpec
from keronyx.unsafe import refuse_unsafe_saved_model


class TensorFlowRuntime:
    """Base of the four: one of them on one provider (cpu or cuda)."""

    name = ""
    artifacts: tuple[str, ...] = ("keras", "saved_model")
    package = "tensorflow"

    def __init__(self, provider: str) -> None:
        self.provider = provider

    def missing(self) -> Missing | None:
        return tensorflow_cuda_missing() if self.provider == "cuda" else tensorflow_missing()

    def import_library(self) -> None:
        import keras
        import tensorflow

        del keras, tensorflow

    def start(self, request: SessionRequest) -> None:
        """Set the threads and make sure the provider's device is there. Before any tensor exists."""
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(request.threads)
        tf.config.threading.set_inter_op_parallelism_threads(request.threads)
        if self.provider == "cuda":
            if not tf.config.list_physical_devices("GPU"):
                raise UnavailableError("TensorFlow sees no GPU", 'pip install "keronyx[gpu]" and check the driver')
        else:
            tf.config.set_visible_devices([], "GPU")


class TensorFlowSession:
    """A callable of flat tensors, called with host arrays.

    Args:
        function: takes the flat input tensors, returns the flat outputs.
        trace: called once by `prepare`; compiles what is compiled ahead of the first call.
    """

    def __init__(
        self,
        request: SessionRequest,
        function: Callable[..., Sequence[Any]],
        trace: Callable[[], object] = lambda: None,
        device: str = "cpu",
    ) -> None:
        self.inputs: tuple[TensorSpec, ...] = request.spec.inputs
        self.outputs: tuple[TensorSpec, ...] = request.spec.outputs
        self._function = function
        self._trace = trace
        self._device = device

    def prepare(self) -> None:
        self._trace()

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        return [tensor.numpy() for tensor in self._function(*inputs)]

    def placement(self) -> Placement:
        return Placement(assigned={self._device: 1})

    def profiled(self, inputs: Sequence[Array]) -> Placement:
        """Where the outputs were left by the operators that made them, as shares: TensorFlow tells no kernel times.

        It places operators without a kernel for the device elsewhere in silence; outputs on the CPU give that away.
        """
        names = {"GPU": "cuda", "CPU": "cpu"}
        kinds = [str(tensor.device).rpartition("device:")[2].partition(":")[0] for tensor in self._function(*inputs)]
        shares = {names.get(kind, kind): kinds.count(kind) / len(kinds) for kind in sorted(set(kinds))}
        return replace(self.placement(), executed=shares)


def load_flat_function(request: SessionRequest) -> Callable[..., list[Any]]:
    """The model as a function of flat tensors to a flat list of tensors, from a `.keras` file or a SavedModel folder.

    Raises:
        UnavailableError: the file cannot be loaded by this process.
    """
    return flat_function(load(request), request)


def load(request: SessionRequest) -> Any:
    """The `keras.Model` of a `.keras` file, or the serving signature of a SavedModel folder."""
    import keras
    import tensorflow as tf

    if Path(request.path).is_dir():
        if not request.trust:
            refuse_unsafe_saved_model(Path(request.path), request.spec.name)
        loaded = tf.saved_model.load(request.path)
        key = "serving_default" if "serving_default" in loaded.signatures else sorted(loaded.signatures)[0]
        signature = loaded.signatures[key]
        signature.loaded = loaded  # whose variables live no longer than it
        return signature
    return keras.saving.load_model(
        request.path,
        compile=False,
        safe_mode=not request.trust,
        custom_objects=import_custom_objects(request.custom_objects),
    )


def flat_function(model: Any, request: SessionRequest) -> Callable[..., list[Any]]:
    """What `load` returned as a function of flat tensors to a flat list of tensors, in the order of the ModelSpec."""
    import keras
    import tensorflow as tf

    if not isinstance(model, keras.Model):
        input_names = [spec.name for spec in request.spec.inputs]
        names = [spec.name for spec in request.spec.outputs]

        def call_signature(*flat: Any) -> list[Any]:
            named = {name: tf.convert_to_tensor(x) for name, x in zip(input_names, flat, strict=True)}
            outputs = model(**named)
            return [outputs[name] for name in names]

        return call_signature

    def call_model(*flat: Any) -> list[Any]:
        # A Sequential takes one tensor, and has no `input` once it was loaded from a file.
        plain = isinstance(model, keras.Sequential)
        given = flat[0] if plain else keras.tree.pack_sequence_as(model.input, list(flat))
        with as_in_graph():  # else the eager row's preprocessing layers would answer otherwise than every other row's
            outputs = keras.tree.flatten(model(given, training=False))
        return [tf.cast(x, tf.float32) if x.dtype == tf.bfloat16 else x for x in outputs]  # numpy has no bfloat16

    return call_model


def input_specs(request: SessionRequest) -> list[Any]:
    """TensorFlow's TensorSpecs of the model's inputs."""
    import tensorflow as tf

    return [tf.TensorSpec(spec.shape, spec.dtype) for spec in request.spec.inputs]

"""Artifact -> Session. Every way keronyx can execute a model, in the order reports list them."""

from keronyx.errors import UsageError
from keronyx.runtime.litert import LiteRt
from keronyx.runtime.openvino import OpenVino
from keronyx.runtime.ort_cpu import OnnxRuntimeCpu
from keronyx.runtime.ort_cuda import OnnxRuntimeCuda
from keronyx.runtime.ort_tensorrt import OnnxRuntimeTensorRt
from keronyx.runtime.tf_eager import TensorFlowEager
from keronyx.runtime.tf_graph import TensorFlowGraph
from keronyx.runtime.tf_optimized import TensorFlowOptimized
from keronyx.runtime.tf_xla import TensorFlowXla
from keronyx.types import Runtime

RUNTIMES: tuple[Runtime, ...] = (
    TensorFlowEager("cpu"),
    TensorFlowGraph("cpu"),
    TensorFlowOptimized("cpu"),
    TensorFlowXla("cpu"),
    OnnxRuntimeCpu(),
    LiteRt(),
    OpenVino(),
    TensorFlowEager("cuda"),
    TensorFlowGraph("cuda"),
    TensorFlowOptimized("cuda"),
    TensorFlowXla("cuda"),
    OnnxRuntimeCuda(),
    OnnxRuntimeTensorRt(),
)


def find(name: str, provider: str) -> Runtime:
    """The runtime of that name on that provider. Raises UsageError."""
    for runtime in RUNTIMES:
        if (runtime.name, runtime.provider) == (name, provider):
            return runtime
    raise UsageError(f"there is no runtime {name}/{provider}")

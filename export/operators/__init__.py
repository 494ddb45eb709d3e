"""TensorFlow operators that tf2onnx does not know, or converts wrongly, written in ONNX.

One file a family. They hold for the operator wherever it comes from, a SavedModel too; what Keras alone does another
way is a substitution (`export/substitutions`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

Handler = Callable[[Any, Any, str, Sequence[Any]], None]
"""(tf2onnx graph, node, its name, unused): replaces the node."""


MODULES = (
    "bounds",
    "carried",
    "conv_transpose",
    "division",
    "einsum",
    "elementwise",
    "fourier",
    "max_pool_indices",
    "one_hot",
    "pooling",
    "resize",
    "reverse",
    "select",
    "sign_bit",
    "update",
)
"""What is in this folder and has HANDLERS."""


def handlers() -> dict[str, Handler]:
    """TensorFlow operator -> what converts it."""
    modules = [import_module(f"{__name__}.{name}") for name in MODULES]
    return {operator: handler for module in modules for operator, handler in module.HANDLERS.items()}


class Builder:
    """Replaces a node of tf2onnx's graph: takes it out, then makes nodes under its name; `finish` makes the last."""

    def __init__(self, graph: Any, node: Any) -> None:
        self.graph, self.name = graph, node.name
        self.inputs, self._outputs = list(node.input), list(node.output)
        self._shapes, self._dtypes = node.output_shapes, node.output_dtypes
        self.dtype, self.made = graph.get_dtype(node.input[0]), graph.get_dtype(node.output[0])
        graph.remove_node(node.name)

    def make(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """One ONNX node; the name of its output."""
        made = self.graph.make_node(operator, list(inputs), attr=attributes, op_name_scope=self.name)
        return str(made.output[0])

    def constant(self, value: Any, dtype: Any = None) -> str:
        """A constant; without a dtype (numpy's), that of the node's first input."""
        import numpy as np
        from tf2onnx import utils

        kind = utils.map_onnx_to_numpy_type(self.dtype) if dtype is None else dtype
        return str(self.graph.make_const(utils.make_name(self.name), np.array(value, kind)).output[0])

    def finish(self, operator: str, *inputs: str, **attributes: Any) -> None:
        """The node that gives what the replaced one gave."""
        self.graph.make_node(
            operator,
            list(inputs),
            attr=attributes,
            name=self.name,
            outputs=self._outputs,
            shapes=self._shapes,
            dtypes=self._dtypes,
        )

    def finish_each(self, *made: tuple[str, Sequence[str], dict[str, Any]]) -> None:
        """The nodes (operator, inputs, attributes) that give the outputs of the replaced one, in its order."""
        for i, (operator, inputs, attributes) in enumerate(made):
            self.graph.make_node(
                operator,
                list(inputs),
                attr=attributes,
                name=self.name if i == 0 else f"{self.name}_{i}",
                outputs=[self._outputs[i]],
                shapes=[self._shapes[i]],
                dtypes=[self._dtypes[i]],
            )

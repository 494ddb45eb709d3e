"""Graph passes on the converted model, one file each.

A pass is an `onnx_ir.passes.InPlacePass`: `call` says whether it changed anything, `requires` raises
PreconditionError, `ensures` PostconditionError. Nodes it makes carry the Keras layer of those they replace
(`layers.LAYER` in their metadata).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Applied:
    """What one pass did: nodes of the whole model, those of subgraphs included, before and after it."""

    name: str
    nodes_before: int
    nodes_after: int
    changed: bool


def passes() -> tuple[ir.passes.InPlacePass, ...]:
    """All passes, in the order they are run."""
    from keronyx.export.rewrite.batchnorm import MulAddToBatchNormalization
    from keronyx.export.rewrite.drop_no_ops import DropNoOps
    from keronyx.export.rewrite.fold_batchnorm import FoldBatchNormalization
    from keronyx.export.rewrite.fuse_prelu import FusePRelu
    from keronyx.export.rewrite.keep_layout import KeepLayout
    from keronyx.export.rewrite.layer_normalization import FuseLayerNormalization
    from keronyx.export.rewrite.max_for_prelu import MaxForPRelu
    from keronyx.export.rewrite.pooling_pads import PoolingPads
    from keronyx.export.rewrite.sink_squeeze import SinkSqueeze
    from keronyx.export.rewrite.softmax_last import SoftmaxLast
    from keronyx.export.rewrite.split_conv import SplitConv
    from keronyx.export.rewrite.transpose_first import TransposeFirst

    return (
        SinkSqueeze(),
        DropNoOps(),
        FuseLayerNormalization(),
        KeepLayout(),
        TransposeFirst(),
        FusePRelu(),
        MulAddToBatchNormalization(),
        FoldBatchNormalization(),
        SplitConv(),
        PoolingPads(),
        SoftmaxLast(),
        MaxForPRelu(),
        DropNoOps(),
    )


def rewrite(model: ir.Model, skip: Collection[str] = ()) -> tuple[Applied, ...]:
    """Run every pass but those named in `skip` (by class name) on the model, in place."""
    applied = []
    for one in passes():
        name = type(one).__name__
        if name in skip:
            continue
        before = count_nodes(model)
        changed = one(model).modified
        applied.append(Applied(name, before, count_nodes(model), changed))
    return tuple(applied)


def count_nodes(model: ir.Model) -> int:
    """Nodes of the graph and of all graphs inside its nodes."""
    return sum(1 for _ in model.graph.all_nodes())

"""Which of ONNX Runtime's own graph optimizers spoils a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

OPTIMIZERS = (
    "Pad_Fusion",
    "ConvActivationFusion",
    "ConvAddFusion",
    "ConvBNFusion",
    "ConvMulFusion",
    "ConvAddActivationFusion",
    "MatMul_BatchNormalization_Fusion",
    "MatMulAddFusion",
    "MatMulScaleFusion",
    "MatMulActivationFusion",
    "MatmulTransposeFusion",
    "GemmActivationFusion",
    "GemmSumFusion",
    "GemmTransposeFusion",
    "LayerNormFusionL1",
    "LayerNormFusionL2",
    "SimplifiedLayerNormFusion",
    "SkipLayerNormFusion",
    "BiasSkipLayerNormFusion",
    "EmbedLayerNormFusion",
    "AttentionFusion",
    "GroupQueryAttentionFusion",
    "GeluFusionL1",
    "GeluFusionL2",
    "FastGeluFusion",
    "QuickGeluFusion",
    "BiasGeluFusion",
    "BiasSoftmaxFusion",
    "BiasDropoutFusion",
    "DivMulFusion",
    "ReshapeFusion",
    "NotWhereFusion",
    "FuseReluClip",
    "ClipQuantRewrite",
    "SliceConcatToSpaceToDepthFusion",
    "GatherSliceToSplitFusion",
    "GatherToSliceFusion",
    "LabelEncoderFusion",
    "ConstantSharing",
    "ConstantFolding",
    "CommonSubexpressionElimination",
    "CastElimination",
    "CastChainElimination",
    "ExpandElimination",
    "UnsqueezeElimination",
    "NoopElimination",
    "PreShapeNodeElimination",
    "EliminateIdentity",
    "EliminateSlice",
    "EliminateDropout",
    "TransposeOptimizer",
    "NchwcTransformer",
    "NhwcTransformer",
    "DynamicQuantizeMatMulFusion",
    "MatMulIntegerToFloatFusion",
    "QDQPropagationTransformer",
    "QDQSelectorActionTransformer",
)
"""ONNX Runtime 1.31's graph optimizers under the names `disabled_optimizers` takes, likeliest culprit first."""


def find_guilty(wrong: Callable[[Sequence[str]], bool]) -> tuple[str, ...]:
    """A small set of optimizers without which nothing is wrong, and none can be left out; empty if there is none.

    Args:
        wrong: whether something is when ONNX Runtime does without the named ones.
    """
    if not wrong(OPTIMIZERS[:1]):
        return OPTIMIZERS[:1]
    guilty: tuple[str, ...] = OPTIMIZERS
    if wrong(guilty):
        return ()
    size = len(guilty)
    while size >= 1:
        for start in range(0, len(guilty), size):
            rest = guilty[:start] + guilty[start + size :]
            if rest and not wrong(rest):
                guilty = rest
                break
        else:
            size //= 2
    return guilty

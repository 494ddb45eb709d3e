"""TensorFlow eager: `model(x, training=False)`, operator by operator. Never `predict`: its data pipeline dominates."""

from __future__ import annotations

from keronyx.runtime.tf_common import TensorFlowRuntime, TensorFlowSession, load_flat_function
from keronyx.types import Session, SessionRequest


class TensorFlowEager(TensorFlowRuntime):
    name = "tf-eager"
    artifacts = ("keras",)  # a SavedModel holds graphs, no layers to call one by one

    def open(self, request: SessionRequest) -> Session:
        self.start(request)
        return TensorFlowSession(request, load_flat_function(request), device=self.provider)

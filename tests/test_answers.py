"""A row's answers are judged by what the model's precision allows."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from keronyx.pipeline import answers
from keronyx.types import ModelSpec, TensorSpec, Verdict

SPEC = ModelSpec("m", "m", (), (TensorSpec("y", (1, 50), "float32"),), 0, "")


def _opened(folder: Path, name: str, arrays: list[Any]) -> Any:
    files = []
    for i, array in enumerate(arrays):
        path = folder / f"{name}-{i}.npy"
        np.save(path, array)
        files.append([str(path)])
    return SimpleNamespace(outputs=SPEC.outputs, files=files)


@pytest.mark.parametrize(
    ("precision", "verdict"),
    [("float64", Verdict.FAIL), ("float32", Verdict.FAIL), ("float16", Verdict.PASS), ("bfloat16", Verdict.PASS)],
)
def test_the_models_precision_decides_how_far_a_row_may_be_from_keras(
    precision: str, verdict: Verdict, tmp_path: Path
) -> None:
    manifest = SimpleNamespace(spec=SPEC, precision=precision, artifact=lambda kind: kind == "keras" or None)
    bench: Any = SimpleNamespace(
        exported=SimpleNamespace(manifest=manifest), blank=lambda runtime: SimpleNamespace(id=runtime.name)
    )
    random = np.random.default_rng(0)
    right = [random.normal(size=(1, 50)).astype("float32") for _ in range(2)]
    opened = {
        "tf-eager": _opened(tmp_path, "eager", right),
        "ort": _opened(tmp_path, "ort", [array * np.float32(1.003) for array in right]),  # more than float32 rounds
    }
    found = answers.check(bench, opened)
    assert found["ort"].verdict is verdict
    assert found["ort"].reference == f"Keras {precision} (eager)"

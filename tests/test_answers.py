"""Rows are judged on the inputs they answered, by a yardstick of the precision they compute in."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from keronyx.accuracy import Fixed, Truth
from keronyx.errors import KeronyxError, WorkerMemoryError
from keronyx.parity import Answers
from keronyx.pipeline import answers
from keronyx.types import ModelSpec, TensorSpec, Verdict

SPEC = ModelSpec("m", "m", (), (TensorSpec("y", (1, 50), "float32"),), 0, "")
EXACT = [np.random.default_rng(i).normal(size=(1, 50)) for i in range(4)]
ROUNDING = {"float32": 1e-7, "tf32": 1e-3}


def _off(by: float, seed: int) -> list[list[Any]]:
    random = np.random.default_rng(seed)
    return [[(x * (1 + random.normal(0, by, x.shape))).astype("float32")] for x in EXACT]


def _opened(folder: Path, name: str, arrays: list[Any]) -> Any:
    files = []
    for i, (array,) in enumerate(arrays):
        path = folder / f"{name}-{i}.npy"
        np.save(path, array)
        files.append([str(path)])
    return SimpleNamespace(outputs=SPEC.outputs, files=files)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the oracle is asked for; it answers with truths of each precision."""
    seen: list[Any] = []

    def truths(bench: Any, count: int, precisions: tuple[str, ...]) -> dict[str, Truth]:
        seen.append((count, precisions))
        keras = Answers(SPEC.outputs, _off(1e-7, 1)[:3])  # a slow model: three inputs were enough
        found = {}
        for precision in precisions:
            moved = [_off(ROUNDING[precision], seed)[:3] for seed in (2, 3)]
            found[precision] = Truth([[x] for x in EXACT[:3]], keras, moved, "oracle", precision)
        return found

    monkeypatch.setattr(answers, "truths", truths)
    return seen


BENCH: Any = SimpleNamespace(exported=SimpleNamespace(manifest=SimpleNamespace(spec=SPEC)))


def test_rows_on_a_gpu_are_judged_by_tf32_rounding_and_others_by_float32(asked: list[Any], tmp_path: Path) -> None:
    opened = {
        "ort/cuda/fp32/b1": _opened(tmp_path, "cuda", _off(1e-3, 5)),
        "ort/cpu/fp32/b1": _opened(tmp_path, "cpu", _off(1e-7, 6)),
        "litert/cpu/fp32/b1": _opened(tmp_path, "coarse", _off(1e-3, 7)),
    }
    found = answers.check(BENCH, opened)
    assert [found[row].verdict for row in opened] == [Verdict.PASS, Verdict.PASS, Verdict.FAIL]
    assert [found[row].yardstick for row in opened] == ["tf32", "float32", "float32"]
    assert asked == [(4, ("tf32", "float32"))] and list(found) == list(opened)


def test_a_slow_row_is_judged_on_the_inputs_it_answered(asked: list[Any], tmp_path: Path) -> None:
    opened = {"a/cpu/fp32/b1": _opened(tmp_path, "a", _off(1e-7, 5)[:2]), "b/cpu/fp32/b1": _opened(tmp_path, "b", [])}
    found = answers.check(BENCH, {"a/cpu/fp32/b1": opened["a/cpu/fp32/b1"]})
    assert found["a/cpu/fp32/b1"].inputs == 2 and found["a/cpu/fp32/b1"].verdict is Verdict.PASS


def test_the_users_own_tolerances_stand_in_for_the_yardstick(asked: list[Any], tmp_path: Path) -> None:
    opened = {"a/cpu/fp32/b1": _opened(tmp_path, "a", _off(1e-3, 5))}
    assert answers.check(BENCH, opened, fixed=Fixed(0.1, 0))["a/cpu/fp32/b1"].verdict is Verdict.PASS
    assert answers.check(BENCH, opened)["a/cpu/fp32/b1"].verdict is Verdict.FAIL


def test_no_oracle_is_started_where_none_may_be(asked: list[Any]) -> None:
    with pytest.raises(KeronyxError, match="interrupted"):
        answers.check(BENCH, {}, may_start=False)
    assert not asked


def test_an_oracle_that_runs_out_of_memory_is_asked_again_without_float64(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Oracle:
        def __init__(self, *_: Any) -> None: ...

        def open(self) -> None: ...

        def truth(self, *terms: Any) -> str:
            asked.append(terms[-1])
            if not terms[-1]:
                raise WorkerMemoryError("the oracle was killed")
            return "truth"

        def close(self) -> None: ...

    monkeypatch.setattr(answers, "Oracle", Oracle)
    bench: Any = SimpleNamespace(
        exported=SimpleNamespace(manifest=SimpleNamespace(artifact=lambda kind: kind)),
        artifact=lambda runtime: (Path("model.keras"), 1, ()),
        request=lambda runtime, path: path,
        options=SimpleNamespace(memory_limit_mib=None, timeout_s=1.0),
        scratch=tmp_path,
        files=(),
    )
    assert answers.truths(bench, 4, ("float32",)) == {"float32": "truth"}
    assert asked == ["", "it ran out of memory"]

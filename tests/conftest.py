"""Two tiny networks, exported once for the whole test run; runs of fake runtimes instead of real ones."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from keronyx.accuracy import Truth
from keronyx.types import Missing, Row

if TYPE_CHECKING:
    from keronyx.pipeline.opening import Bench

HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--parity-size", default="96x128", metavar="HxW", help="image size of the accuracy parity suite")


@pytest.fixture(scope="session")
def tiny_networks() -> Iterator[ModuleType]:
    sys.path.insert(0, str(HERE))
    import tiny_networks

    yield tiny_networks
    sys.path.remove(str(HERE))


def _export(name: str, target: Path, batch: int | None = 1) -> Path:
    from keronyx import pipeline

    before = Path.cwd()
    os.chdir(HERE)  # where the process that converts finds tiny_networks.py
    try:
        source = dataclasses.replace(pipeline.resolve(f"tiny_networks:{name}"), custom_objects=None)
        exported = pipeline.export(source, kinds=("keras", "onnx", "frozen", "litert"), target=target, batch=batch)
    finally:
        os.chdir(before)
    assert not exported.failed
    return target


@pytest.fixture(scope="session")
def segmenter_export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export folder of `tiny_networks.segmenter` at batch 1, for reading only."""
    return _export("segmenter", tmp_path_factory.mktemp("exports") / "segmenter")


@pytest.fixture(scope="session")
def two_headed_export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export folder of `tiny_networks.two_headed` at batch 1, for reading only."""
    return _export("two_headed", tmp_path_factory.mktemp("exports") / "two_headed")


@pytest.fixture(scope="session")
def dynamic_export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export folder of `tiny_networks.two_headed` with a dynamic batch, for reading only."""
    return _export("two_headed", tmp_path_factory.mktemp("exports") / "dynamic", batch=None)


@pytest.fixture
def segmenter_copy(segmenter_export: Path, tmp_path: Path) -> Path:
    """An export folder of one's own to write to."""
    return Path(shutil.copytree(segmenter_export, tmp_path / "segmenter"))


@dataclasses.dataclass(frozen=True)
class FakeByName:
    """A runtime of keronyx.runtime.fake, by the name that its worker finds it under."""

    attribute: str
    provider: str = "cpu"
    lacks: Missing | None = None
    artifacts: tuple[str, ...] = ("keras",)
    package: str = "numpy"

    @property
    def name(self) -> str:
        return f"keronyx.runtime.fake:{self.attribute}"

    def missing(self) -> Missing | None:
        return self.lacks


class Fakes:
    """Called with names in keronyx.runtime.fake, makes runs use these runtimes alone.

    What they are judged by are the answers of the first of them, without TensorFlow.
    """

    of = FakeByName

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, *runtimes: str | FakeByName) -> None:
        from keronyx import pipeline
        from keronyx.pipeline import answers, certifying, live, resume

        used = tuple(FakeByName(one) if isinstance(one, str) else one for one in runtimes)
        for module in (pipeline, certifying, sys.modules[live.__module__], sys.modules[resume.__module__]):
            self._monkeypatch.setattr(module, "RUNTIMES", used)
        self._monkeypatch.setattr(answers, "truths", lambda *asked: _answers_of(used[0], *asked))


def _answers_of(runtime: FakeByName, bench: Bench, count: int, precisions: tuple[str, ...]) -> dict[str, Truth]:
    """A fake runtime's answers in the oracle's place."""
    from keronyx.pipeline import answers
    from keronyx.runtime.handle import Worker

    found = bench.artifact(runtime)
    assert not isinstance(found, Row)
    worker = Worker("oracle", runtime.name, bench.request(runtime, found[0]), 60.0)  # none of those that tests count
    try:
        given = answers.answers_of(bench.warm_up(worker))
    finally:
        worker.close()
    truth = Truth(given.arrays, given, [], "a fake oracle", "the fake's own error").first(count)
    return dict.fromkeys(precisions, truth)


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Fakes:
    return Fakes(monkeypatch)

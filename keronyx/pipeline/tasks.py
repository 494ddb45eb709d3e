"""What a model is worth on labelled data, through any runtime's worker: streamed, so memory does not grow with them.

    task = tasks.find(["data/val"], metric=None)            # or ["scenes:50"], ["arrays.npz"], "module:callable"
    task.check(spec)
    mine = task.evaluate(worker, spec, progress)            # a worker that is open or loaded
    scores = task.compare(mine, task.evaluate(other, spec, progress))

Without a metric, the zoo's scores are taken (zoo/scores.py), of a model with one output (N, height, width, 3): the
probabilities of road, car, other. A metric is the user's `metric(outputs, label) -> float`: outputs by name, without
batch axis; higher is better; its score is the mean over items.
"""

from __future__ import annotations

import hashlib
import math
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keronyx.custom_objects import import_module
from keronyx.errors import DataError, UsageError
from keronyx.pipeline import labelled
from keronyx.pipeline.labelled import Labelled, Scenes
from keronyx.pipeline.progress import Progress
from keronyx.process import first_line
from keronyx.profiles.inputs import Draw
from keronyx.runtime.handle import Worker
from keronyx.types import Array, ModelSpec, TaskScore
from keronyx.zoo import scores
from keronyx.zoo.labels import IGNORED
from keronyx.zoo.scenes import CAR, OTHER, ROAD
from keronyx.zoo.scores import Scores

Outputs = Mapping[str, Array]

KNOWN = (ROAD, CAR, OTHER, IGNORED)
"""What a label may hold where the zoo's scores are taken."""


@dataclass(frozen=True)
class Metric:
    """A function of the user's, and what they called it."""

    name: str
    function: Callable[[Outputs, Array], float]

    def __call__(self, outputs: Outputs, label: Array, where: str) -> float:
        """Raises DataError when it fails or gives no number."""
        try:
            value = float(self.function(outputs, label))
        except (Exception, SystemExit) as error:
            raise DataError(f"metric {self.name} failed on {where}: {first_line(error)}", "mend the metric") from error
        if not math.isfinite(value):
            raise DataError(f"metric {self.name} gave {value} on {where}", "a score is a finite number")
        return value


@dataclass(frozen=True)
class Collected:
    """What one model got on the data: `segmentation` counts or one of `values` an item; `item_ms` is the median time
    a call took for each of its items, beside whatever else the machine did: no benchmark.
    """

    items: int
    item_ms: float
    segmentation: Scores | None = None
    metric: str = ""
    values: tuple[float, ...] = ()
    sha256: str = ""
    """Of the inputs and labels of all items."""

    def figures(self) -> dict[str, float]:
        """Every score by name."""
        if self.segmentation is not None:
            return self.segmentation.figures()
        return {self.metric: statistics.fmean(self.values)}


@dataclass(frozen=True)
class Task:
    """Labelled data and how answers to them are scored."""

    data: Labelled
    metric: Metric | None = None

    @property
    def data_name(self) -> str:
        return self.data.name

    @property
    def metric_name(self) -> str:
        return self.metric.name if self.metric else "soft F, official F, IoU"

    @property
    def draw(self) -> Draw | None:
        """Images of the data for other purposes: (count, height, width) -> (count, height, width, 3); None for arrays.

        Where there are fewer, they are repeated, every other time mirrored: no two neighbours are the same.
        """
        if not isinstance(self.data, Scenes):
            return None
        found = self.data.found

        def draw(count: int, height: int, width: int) -> Array:
            images = [found.pair(i, height, width)[0] for i in range(min(count, len(found)))]
            repeated = [images[i % len(images)][:, :: -1 if i // len(images) % 2 else 1] for i in range(count)]
            return np.stack(repeated)

        return draw

    def inputs(self, spec: ModelSpec, count: int, batch: int = 1) -> list[Array] | None:
        """The first items of arrays as `count` inputs, (count, batch, ...) for each of the model's; repeated where
        there are fewer. None for images, which `draw` gives."""
        if isinstance(self.data, Scenes):
            return None
        size = spec.inputs[0].shape[0] or batch
        items = [self.data.item(i % len(self.data), spec)[0] for i in range(count * size)]
        stacked = [np.stack(arrays) for arrays in zip(*items, strict=True)]
        return [array.reshape(count, size, *array.shape[1:]) for array in stacked]

    def check(self, spec: ModelSpec) -> None:
        """Raises UsageError or DataError when the model does not take the data, or its answers cannot be scored."""
        self.data.check(spec)
        if self.metric is not None:
            return
        one = spec.outputs[0]
        if len(spec.outputs) > 1 or len(one.shape) != 4 or one.shape[3] != 3:
            raise UsageError(
                f"{spec.name} does not answer with one map of road, car and other, so no score is known for it",
                "say how its answers are scored: --metric module:callable",
            )

    def evaluate(self, worker: Worker, spec: ModelSpec, progress: Progress, batch: int = 1) -> Collected:
        """Feed all items to a worker and score what it answers.

        Args:
            worker: open or loaded; asked for one call a batch.
            batch: items a call where the model leaves that open; the last call is filled up with its last item.

        Raises:
            WorkerError: the worker failed.
            DataError, SourceError: an item cannot be read, the answers do not fit the labels, the metric failed.
        """
        batch = spec.inputs[0].shape[0] or batch
        segmentation, values, taken = Scores(), list[float](), list[float]()
        digest = hashlib.sha256()
        with tempfile.TemporaryDirectory(prefix="keronyx-") as scratch:
            for start in range(0, len(self.data), batch):
                progress.items(start, len(self.data), "scoring")
                numbers = range(start, min(start + batch, len(self.data)))
                items = [self.data.item(number, spec) for number in numbers]
                for inputs, label in items:
                    for array in (*inputs, label):
                        digest.update(np.ascontiguousarray(array).tobytes())
                answers, milliseconds = _call(worker, [inputs for inputs, _ in items], batch, Path(scratch))
                if len(answers) != len(spec.outputs):
                    raise DataError(f"{len(answers)} outputs, the model has {len(spec.outputs)}")
                taken.append(milliseconds / batch)
                for place, (number, (_, label)) in enumerate(zip(numbers, items, strict=True)):
                    own = [answer[place] for answer in answers]
                    if self.metric is None:
                        segmentation.add(*_map(own[0], label, self.data.where(number)))
                    else:
                        named = {one.name: answer for one, answer in zip(spec.outputs, own, strict=True)}
                        values.append(self.metric(named, label, self.data.where(number)))
            progress.items(len(self.data), len(self.data), "scoring")
        item_ms = statistics.median(taken)
        if self.metric is None:
            return Collected(len(self.data), item_ms, segmentation, sha256=digest.hexdigest())
        return Collected(len(self.data), item_ms, None, self.metric.name, tuple(values), digest.hexdigest())

    def compare(self, mine: Collected, reference: Collected) -> tuple[TaskScore, ...]:
        """Every score beside the reference's on the same items, with paired 95 % intervals (NaN for fewer than four).

        Raises:
            UsageError: the two were not collected on equally many items by the same scores.
        """
        if (mine.items, mine.metric) != (reference.items, reference.metric):
            raise UsageError("scores of different data or metrics cannot be compared")
        if mine.segmentation is not None and reference.segmentation is not None:
            return scores.paired(mine.segmentation, reference.segmentation)
        low, high = scores.mean_interval(np.subtract(mine.values, reference.values))
        value, wanted = mine.figures()[mine.metric], reference.figures()[mine.metric]
        return (TaskScore(mine.metric, value, wanted, low, high, mine.items),)


def find(data: Sequence[str], metric: str | None = None) -> Task:
    """The task that `--data` and `--metric` name.

    Raises:
        UsageError: no such data, or `metric` is not `module:callable`.
        SourceError, DataError: the data cannot be read, or the module cannot be imported.
    """
    return Task(labelled.find(data), _metric(metric) if metric is not None else None)


def _metric(text: str) -> Metric:
    module, _, name = text.partition(":")
    if not module or not name:
        raise UsageError(f"--metric must be module:callable, not {text!r}", "for example my_metrics:accuracy")
    function = getattr(import_module(module), name, None)
    if not callable(function):
        raise UsageError(f"module {module} has no callable {name}", "define metric(outputs, label) -> float")
    return Metric(text, function)


def _call(worker: Worker, items: Sequence[tuple[Array, ...]], batch: int, scratch: Path) -> tuple[list[Array], float]:
    """One call with a full batch: the outputs, (batch, ...) each, and what it took in milliseconds."""
    full = [*items, *[items[-1]] * (batch - len(items))]
    files = []
    for place, arrays in enumerate(zip(*full, strict=True)):
        files.append(scratch / f"input-{place}.npy")
        np.save(files[-1], np.stack(arrays), allow_pickle=False)
    answer = worker.answer(files, scratch)
    outputs = [np.load(file, allow_pickle=False) for file in answer.files]
    for output in outputs:
        if output.ndim == 0 or len(output) != batch:
            raise DataError(f"the model answers {batch} items with {output.shape}", "its outputs need a batch axis")
    return outputs, answer.milliseconds


def _map(answer: Array, label: Array, where: str) -> tuple[Array, Array]:
    """One item's probabilities and label, each as a batch of one. Raises DataError when they do not fit."""
    if answer.shape != (*label.shape, 3):
        raise DataError(
            f"the answer to {where} is {'x'.join(map(str, answer.shape))}, its label {'x'.join(map(str, label.shape))}",
            "say how its answers are scored: --metric module:callable",
        )
    if not np.isin(label, KNOWN).all():
        raise DataError(
            f"the label of {where} has other values than 0 road, 1 car, 2 other, {IGNORED} ignored",
            "say how its answers are scored: --metric module:callable",
        )
    return answer[None], label[None].astype(np.uint8)

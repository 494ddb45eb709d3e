"""`evaluate`: the scores of a model on labelled data, as Keras runs it and through further runtimes."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from keronyx.errors import KeronyxError
from keronyx.export.convert import Exported
from keronyx.pipeline import opening
from keronyx.pipeline.asked import ProfileOptions, Setting
from keronyx.pipeline.opening import Bench
from keronyx.pipeline.placing import judge_placement
from keronyx.pipeline.progress import Progress
from keronyx.pipeline.reporting import Prepare, artifact_kinds
from keronyx.pipeline.tasks import Collected, Task
from keronyx.profiles import environment, plan
from keronyx.profiles.grid import Grid
from keronyx.profiles.inputs import Inputs
from keronyx.runtime import RUNTIMES, find
from keronyx.types import TIMED, Row, Runtime, Status, TaskScore

KERAS = ("tf-graph", "cpu")
"""The row that stands for Keras: what `predict` runs."""


@dataclass(frozen=True)
class EvaluateOptions:
    """What `evaluate` was asked for; a thread count of 0 means all usable cores."""

    runtimes: tuple[str, ...] = (KERAS[0],)
    providers: tuple[str, ...] = (KERAS[1],)
    batch: int = 1
    threads: int = 0
    timeout_s: float = 300.0


@dataclass(frozen=True)
class Scored:
    """One runtime on one provider. `item_ms` is the median time of a call for each item in it: no benchmark.

    `scores` are by name, empty where it could not run, and `reason` says why; `differences` are to Keras.
    """

    runtime: str
    provider: str
    status: Status
    reason: str = ""
    remedy: str = ""
    scores: dict[str, float] | None = None
    item_ms: float | None = None
    differences: tuple[TaskScore, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.runtime}/{self.provider}"


@dataclass(frozen=True)
class Evaluation:
    """The scores of one model; Keras' row is the first."""

    model: str
    source: str
    content_hash: str
    data: str
    items: int
    metric: str
    image_size: tuple[int, int] | None
    threads: int
    rows: tuple[Scored, ...]
    notes: tuple[str, ...] = ()


def evaluate(prepare: Prepare, task: Task, options: EvaluateOptions, progress: Progress) -> Evaluation:
    """Score Keras, then every further runtime on the same items, one process after the other.

    Raises:
        KeronyxError: the source or the data cannot be read, they do not fit together, or Keras itself fails. What
            befalls a further runtime is in its row instead.
    """
    keras = find(*KERAS)
    further = [one for one in plan.choose(RUNTIMES, options.providers, options.runtimes) if one is not keras]
    exported = prepare(options.batch, artifact_kinds([keras, *further]))
    spec = exported.manifest.spec
    task.check(spec)
    setting = Setting(options.batch, options.threads or environment.usable_cores())
    with opening.scratch_folder() as scratch:
        asked = ProfileOptions(timeout_s=options.timeout_s)
        bench = Bench(exported, setting, asked, Inputs((), ""), (), 1, Path(scratch))
        first, reference = _row(bench, keras, task, progress)
        if reference is None:
            raise KeronyxError(f"Keras itself could not be scored: {first.reason}", first.remedy)
        rows = [first]
        for runtime in further:
            row, collected = _row(bench, runtime, task, progress)
            rows.append(replace(row, differences=task.compare(collected, reference)) if collected else row)
    return Evaluation(
        spec.name,
        spec.source,
        spec.content_hash,
        task.data_name,
        len(task.data),
        task.metric_name,
        _image_size(exported),
        setting.threads,
        tuple(rows),
        exported.manifest.notes,
    )


def _row(bench: Bench, runtime: Runtime, task: Task, progress: Progress) -> tuple[Scored, Collected | None]:
    """One row, and what was collected of it."""
    row = bench.blank(runtime)
    progress.phase(f"{runtime.name}/{runtime.provider}: loading")
    if missing := runtime.missing():
        return _unscored(replace(row, reason=missing.reason, remedy=missing.remedy)), None
    found = bench.artifact(runtime)
    if isinstance(found, Row):
        return _unscored(found), None
    worker = bench.worker(row.id, runtime, found[0])
    try:
        row = judge_placement(replace(row, placement=worker.load()))
        if row.status not in TIMED:
            return _unscored(row), None
        progress.phase(f"{runtime.name}/{runtime.provider}: scoring")
        collected = task.evaluate(worker, bench.exported.manifest.spec, progress, bench.setting.batch)
    except KeronyxError as error:
        if runtime is find(*KERAS):
            raise
        return _unscored(opening.failed(row, error)), None
    finally:
        worker.close()
    scored = Scored(
        row.runtime, row.provider, row.status, scores=collected.figures(), item_ms=round(collected.item_ms, 4)
    )
    return scored, collected


def _unscored(row: Row) -> Scored:
    return Scored(row.runtime, row.provider, row.status, row.reason, row.remedy)


def _image_size(exported: Exported) -> tuple[int, int] | None:
    shape = exported.manifest.spec.inputs[0].shape
    return (shape[1], shape[2]) if len(shape) == 4 and shape[1] and shape[2] else None


def grid(found: Evaluation) -> Grid:
    """A row a score, a column a runtime; beside all but Keras' the difference with its paired 95 % interval."""
    scored = [row for row in found.rows if row.scores is not None]
    columns = ["score"]
    for place, row in enumerate(scored):
        columns += [row.name, f"{row.name} - Keras [95 %]"] if place else [f"Keras ({row.name})"]
    lines = []
    for name in scored[0].scores or {}:
        line = [name]
        for place, row in enumerate(scored):
            line.append(f"{(row.scores or {})[name]:.4f}")
            if place:
                line.append(_difference(next(one for one in row.differences if one.name == name)))
        lines.append(tuple(line))
    line = ["ms per item, no benchmark"]
    for place, row in enumerate(scored):
        line += [f"{row.item_ms:.4g}", ""] if place else [f"{row.item_ms:.4g}"]
    lines.append(tuple(line))
    size = f" at {found.image_size[0]}x{found.image_size[1]}" if found.image_size else ""
    notes = [f"{found.model} on {found.items} items of {found.data}{size}, {found.threads} threads."]
    official = (scored[0].scores or {}).get("official F")
    if official is not None:
        notes.append(
            "soft F: of each batch of 2 images, sums of probabilities, mean over batches; official F: hard masks of "
            "all frames pooled at 600x800; IoU: of all images pooled. car F2, road F0.5."
        )
        notes.append(f"challenge: {100 * official:.2f} points, less what an answer is slower than 10 frames a second.")
    for row in found.rows:
        if row.scores is None:
            notes.append(f"{row.name}: {row.status}, {row.reason}" + (f" ({row.remedy})" if row.remedy else ""))
    return Grid(tuple(columns), tuple(lines), (*notes, *(f"note: {note}" for note in found.notes)))


def _difference(one: TaskScore) -> str:
    change = f"{one.value - one.reference:+.4f}"
    return change if math.isnan(one.low) else f"{change} [{one.low:+.4f}, {one.high:+.4f}]"


def as_json(found: Evaluation) -> dict[str, Any]:
    """JSON-like values; what is not a number is None."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [plain(one) for one in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    made: dict[str, Any] = plain({"schema": 1, **asdict(found)})
    return made

"""From a runtime's name to a warm, parked worker, or to the row that says why there is none."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from keronyx.control_groups import available_memory_mib
from keronyx.errors import KeronyxError, UnavailableError, WorkerError, WorkerTimeoutError
from keronyx.export.convert import Exported
from keronyx.pipeline.asked import ProfileOptions, Setting
from keronyx.profiles import environment, inputs, plan, warmup
from keronyx.profiles.inputs import Inputs
from keronyx.runtime.handle import Opened, Worker
from keronyx.types import Array, Row, Runtime, SessionRequest, Status
from keronyx.zoo import scenes

PARITY_INPUTS = 4
"""Inputs whose answers are compared at most; a slow row is warmed up with fewer."""


@dataclass(frozen=True)
class Bench:
    """What every row of one setting is opened with: the export, the terms, the inputs as files."""

    exported: Exported
    setting: Setting
    options: ProfileOptions
    fed: Inputs
    files: tuple[Path, ...]
    rotation: int
    scratch: Path

    def blank(self, runtime: Runtime) -> Row:
        """The row before anything is known of it."""
        return blank(runtime, self.setting)

    def open(self, row: Row, runtime: Runtime) -> tuple[Worker, Opened] | Row:
        """A worker that is warm and parked; or the row, with what went wrong."""
        if missing := runtime.missing():
            return replace(row, reason=missing.reason, remedy=missing.remedy)
        found = self.artifact(runtime)
        if isinstance(found, Row):
            return replace(row, status=found.status, reason=found.reason, remedy=found.remedy)
        row = replace(row, artifact_bytes=found[1], evidence=found[2])
        try:
            worker = self.worker(row.id, runtime, found[0])
        except OSError as error:
            return failed(row, WorkerError(f"no process could be started: {error.strerror}", "free some memory"))
        try:
            return worker, self.warm_up(worker, self.setting.concurrency)
        except KeronyxError as error:
            worker.close()
            return failed(row, error)
        except BaseException:
            worker.close()
            raise

    def warm_up(self, worker: Worker, callers: int = 1) -> Opened:
        """Open a worker's session and call it until its steady state. Raises WorkerError."""
        keep = min(PARITY_INPUTS, self.fed.rotation)
        return worker.open(self.files, keep, self.scratch, warmup.finished, self.rotation, callers)

    def artifact(self, runtime: Runtime) -> tuple[Path, int, tuple[str, ...]] | Row:
        """The file a runtime loads, its bytes and evidence; or a row that says why there is none."""
        manifest, problems = self.exported.manifest, self.exported.failed
        for kind in runtime.artifacts:
            if artifact := manifest.artifact(kind):
                return (self.exported.folder / artifact.path).resolve(), artifact.bytes, artifact.evidence
        row = self.blank(runtime)
        for kind in runtime.artifacts:
            if kind in problems:
                return replace(row, status=Status.FAILED, reason=problems[kind].message, remedy=problems[kind].remedy)
        return replace(
            row,
            reason=f"it loads {' or '.join(runtime.artifacts)} files; this source has none",
            remedy="name the model's .keras file",
        )

    def worker(self, row: str, runtime: Runtime, path: Path) -> Worker:
        """A process for one row, which has not loaded anything yet."""
        limit = self.options.memory_limit_mib or available_memory_mib() * 0.9
        return Worker(row, runtime.name, self.request(runtime, path), self.options.timeout_s, limit)

    def request(self, runtime: Runtime, path: Path) -> SessionRequest:
        """The terms on which a runtime opens the file."""
        manifest, source = self.exported.manifest, self.exported.source
        return SessionRequest(
            path=str(path),
            spec=manifest.spec,
            provider=runtime.provider,
            threads=self.setting.threads,
            batch=self.setting.batch,
            trust=source.trust,
            custom_objects=source.custom_objects,
        )


def bench(
    exported: Exported,
    setting: Setting,
    options: ProfileOptions,
    scratch: Path,
    count: int | None = None,
    draw: inputs.Draw | None = None,
    words: str = "",
) -> Bench:
    """Draw the inputs and store them where workers find them.

    Args:
        count: how many distinct ones, else what `options` ask for.
        draw: where images come from that `options` name no folder for, else procedural scenes; `words` says what.

    Raises:
        DataError: there are none, or they do not fit.
    """
    specs = exported.manifest.spec.inputs
    rotation = inputs.rotation(specs, setting.batch, environment.last_level_cache_bytes(), options.hot)
    # Parity needs two at least: one input cannot tell a row that always gives the same answer.
    count = count or max(rotation, 2)

    def scene(images: int, height: int, width: int) -> Array:
        return scenes.batch(images, height, width, options.seed)[0]

    fed = inputs.make(specs, setting.batch, count, draw or scene, options.data, options.seed)
    if draw is not None:
        fed = replace(fed, description=fed.description.replace("procedural road scenes", words))
    files = tuple(scratch / f"input-{k}.npy" for k in range(len(fed.arrays)))
    for path, array in zip(files, fed.arrays, strict=True):
        np.save(path, array, allow_pickle=False)
    return Bench(exported, setting, options, fed, files, rotation, scratch)


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for inputs and answers, gone when its run is over."""
    return tempfile.TemporaryDirectory(prefix="keronyx-")


def blank(runtime: Runtime, setting: Setting) -> Row:
    """A row of which nothing is known yet."""
    name = plan.row_id(runtime, setting.batch, threads=setting.row_threads, concurrency=setting.concurrency)
    return Row(
        id=name,
        runtime=runtime.name,
        provider=runtime.provider,
        precision=plan.PRECISION,
        batch=setting.batch,
        threads=setting.row_threads,
        concurrency=setting.concurrency,
        status=Status.UNAVAILABLE,
        version=environment.package_version(runtime.package),
    )


def without_run(runtime: Runtime, setting: Setting, error: KeronyxError) -> Row:
    """The row of a runtime that was not started, because of `error` or of what it lacks."""
    missing, row = runtime.missing(), blank(runtime, setting)
    return failed(row, UnavailableError(missing.reason, missing.remedy) if missing else error)


def failed(row: Row, error: KeronyxError) -> Row:
    """The row with the status an error means: UNAVAILABLE, TIMEOUT or FAILED."""
    status = Status.FAILED
    if isinstance(error, UnavailableError):
        status = Status.UNAVAILABLE
    elif isinstance(error, WorkerTimeoutError):
        status = Status.TIMEOUT
    return replace(row, status=status, reason=error.message, remedy=error.remedy)

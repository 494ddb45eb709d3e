"""Two models measured interleaved, round by round: the only comparison a noisy machine cannot spoil."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace

from keronyx.pipeline import opening
from keronyx.pipeline.asked import ProfileOptions, Setting
from keronyx.pipeline.progress import Progress
from keronyx.pipeline.reporting import Prepare, artifact_kinds, check_options, report
from keronyx.pipeline.rounds import take_sets
from keronyx.pipeline.run import SettingRun
from keronyx.profiles import environment, plan, preflight
from keronyx.runtime import RUNTIMES
from keronyx.types import Report


def live(old: Prepare, new: Prepare, options: ProfileOptions, progress: Progress) -> tuple[Report, Report]:
    """Measure two models in the same rounds, at the first batch and thread count of the options.

    Three sets of processes, unless the options say how many: two processes of the same model differ, too.

    Returns:
        Both reports. Each stands by itself; `interleaved` is the same text in both, and says that round i of one is
        round i of the other.

    Raises:
        KeronyxError: as `profile`.
    """
    started = time.perf_counter_ns()
    checks = preflight.preflight()
    runtimes = plan.choose(RUNTIMES, options.providers, options.runtimes)
    check_options(options)
    options = replace(options, processes=options.processes or plan.LEAST_PROCESS_SETS)
    setting = Setting(options.batches[0], options.threads[0] or environment.usable_cores(), options.concurrency[0])
    kinds = artifact_kinds(runtimes)
    sides = {
        "old:": SettingRun(old(setting.batch, kinds), setting, runtimes, options, progress),
        "new:": SettingRun(new(setting.batch, kinds), setting, runtimes, options, progress),
    }
    with opening.scratch_folder() as first, opening.scratch_folder() as second:
        try:
            begun = time.perf_counter_ns()
            for run, folder in zip(sides.values(), (first, second), strict=True):
                run.prepare(folder)
            try:
                for run in sides.values():
                    run.open_all()
                    run.check_answers()
                take_sets(sides, (time.perf_counter_ns() - begun) / 1e9)
                for run in sides.values():
                    run.prove()
            except KeyboardInterrupt:
                for run in sides.values():
                    run.wind_up()
        finally:
            for run in sides.values():
                run.close()
        name = uuid.uuid4().hex
        wall_s = (time.perf_counter_ns() - started) / 1e9
        before, after = (report([run.result()], runtimes, checks, wall_s) for run in sides.values())
    return replace(before, interleaved=name), replace(after, interleaved=name)

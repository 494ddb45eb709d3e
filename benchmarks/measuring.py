"""A live A/A experiment on this machine: how often keronyx calls equal rows different, beside what other methods say.

Each trial measures three equal rows (one twice, the A/A' control) and one that is a tenth slower, in workers of their
own, through keronyx's rounds and rankings; and the equal rows again in blocks one after the other, as most benchmark
tools do it. Processes are fresh every ten trials. To hold: an equal row called different in at most 2 % of the trials.

Exit codes: 0; 1 when the bound is clearly missed (the exact 95 % interval of the share lies above it).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from judging import Count, Spread, counts, report_of, spreads, verdicts
from trials import REFERENCE, ROWS, ProcessSet, Terms, Trial, terms

from keronyx import options
from keronyx.profiles import environment, stats
from keronyx.types import Environment, Plan

ROOT = Path(__file__).resolve().parents[1]
PER_SET = 10
TURN_MS = 20.0
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def main() -> int:
    asked = arguments()
    ends = time.monotonic() + options.duration(asked.limit, "--limit")
    with tempfile.TemporaryDirectory(prefix="keronyx-") as scratch:
        export = asked.export or exported(asked.network, asked.image_size, Path(scratch) / "export")
        made = terms(export, asked.threads, asked.rounds, TURN_MS, Path(scratch))
        machine = environment.read_environment(["onnxruntime-gpu", "numpy"])
        trials = take(made, asked.trials, ends)
    plan = made.plan(0)
    found, varied = counts(trials, plan, machine), spreads(trials)
    page = markdown(found, varied, said_of(asked, made, trials, machine))
    print(page if asked.markdown else plain(page))
    if asked.json:
        asked.json.write_text(json.dumps(stored(trials, found, varied, plan, machine), indent=1) + "\n")
    if asked.write:
        asked.write.write_text(replaced(asked.write.read_text(), page))
    return 1 if any(count.clearly_missed() for count in found) else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=20, help="rounds of a trial")
    parser.add_argument("--threads", type=int, default=1, help="threads of each row")
    parser.add_argument("--network", default="enet", help="network of the zoo")
    parser.add_argument("--image-size", default="96x120", help="height and width of its input")
    parser.add_argument("--export", type=Path, help="export folder to use instead, made with `keronyx export`")
    parser.add_argument("--limit", default="9m", help="no trial is begun that would end after this time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every trial's ratios and verdicts")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="replace what is between the markers of this page")
    return parser.parse_args()


def exported(network: str, image_size: str, target: Path) -> Path:
    export = [sys.executable, str(ROOT / "cli.py"), "export", network, "--image-size", image_size, "-o", str(target)]
    subprocess.run([*export, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    return target


def take(made: Terms, wanted: int, ends: float) -> list[Trial]:
    """The trials there is time for, ten to a set of processes. Ctrl-C ends them; what was taken counts."""
    taken: list[Trial] = []
    longest = 0.0
    with contextlib.suppress(KeyboardInterrupt):
        for first in range(0, wanted, PER_SET):
            begun = time.monotonic()
            if taken and begun + longest * 3 > ends:
                break
            with ProcessSet(made, first // PER_SET + 1) as rows:
                for seed in range(first, min(first + PER_SET, wanted)):
                    begun = time.monotonic()
                    if taken and begun + longest > ends:
                        break
                    taken.append(rows.trial(seed))
                    longest = max(longest, time.monotonic() - begun)
            print(f"{len(taken)} of {wanted} trials", file=sys.stderr, flush=True)
    return taken


def said_of(asked: argparse.Namespace, made: Terms, trials: list[Trial], machine: Environment) -> list[str]:
    """What was run, on what."""
    sets = len({trial.process_set for trial in trials})
    network = asked.export.name if asked.export else f"{asked.network} at {asked.image_size}"
    latency = stats.median([ns / 1e6 for trial in trials for ns in trial.blocks[REFERENCE].wall_ns])
    versions = [f"Python {machine.python}", *(f"{name} {number}" for name, number in machine.packages.items())]
    threads = f"{made.threads} thread" + ("" if made.threads == 1 else "s")
    return [
        f"{len(trials)} trials of {made.rounds} rounds in {sets} sets of processes; {network}, ONNX Runtime on the CPU"
        f", {threads}, {latency:.1f} ms a call" + ("" if len(trials) == asked.trials else f" ({asked.trials} wanted)"),
        f"`{command(asked)}` at commit {commit()}",
        f"{machine.cpu}, {machine.usable_cores} of {machine.logical_cores} cores, load {machine.load_1min:.1f} before, "
        f"{machine.os}, {', '.join(versions)}",
    ]


def command(asked: argparse.Namespace) -> str:
    """What repeats this run, whatever was done with its figures; an export by its folder's name alone."""
    named = f"--network {asked.network} --image-size {asked.image_size}"
    source = f"--export {asked.export.name}" if asked.export else named
    terms_of = f"--trials {asked.trials} --rounds {asked.rounds} --threads {asked.threads}"
    return f"python benchmarks/measuring.py {terms_of} {source}"


def commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" with changes" if changed else "")


def markdown(found: list[Count], varied: list[Spread], lines: list[str]) -> str:
    rows = ["| what | trials | share [95 %] | to hold |", "|---|---|---|---|"]
    for count in found:
        low, high = count.interval()
        share = f"{count.k / count.of:.1%} [{low:.1%}, {high:.1%}]" if count.of else ""
        bound = f"<= {count.most:.0%}: {held(count)}" if count.most is not None else ""
        rows.append(f"| {count.name} | {count.k} of {count.of} | {share} | {bound} |")
    if varied:
        rows += ["", "| ratio whose truth is 1 | varies from set to set by | its interval says | factor |"]
        rows.append("|---|---|---|---|")
        rows += [f"| {one.name} | {one.between:.2%} | {one.within:.2%} | {one.factor:.1f} |" for one in varied]
    return "\n".join([*rows, "", *(f"- {line}" for line in lines)]) + "\n"


def held(count: Count) -> str:
    """Clearly missed, or whether the share itself is within the bound."""
    assert count.most is not None
    if count.clearly_missed():
        return "missed"
    return "met" if count.k <= count.most * count.of else "not met, and not clearly missed"


def plain(page: str) -> str:
    """The page's tables with aligned columns."""
    lines = [line for line in page.splitlines() if not line.startswith("|---")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    widths = [max((len(row[i]) for row in cells if len(row) == 4), default=0) for i in range(4)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        if len(row) == 4
        else line
        for row, line in zip(cells, lines, strict=True)
    )


def replaced(page: str, table: str) -> str:
    """The page with the table between its markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"the page has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{table}{END}{after}"


def stored(
    trials: list[Trial], found: list[Count], varied: list[Spread], plan: Plan, machine: Environment
) -> dict[str, Any]:
    """Everything as JSON: every round's median of every row (nanoseconds), and what was concluded."""
    return {
        "commit": commit(),
        "environment": asdict(machine),
        "plan": asdict(plan),
        "counts": [{**asdict(count), "interval": count.interval()} for count in found],
        "spreads": [{**asdict(one), "factor": one.factor} for one in varied],
        "trials": [_stored(trial, plan, machine) for trial in trials],
    }


def _stored(trial: Trial, plan: Plan, machine: Environment) -> dict[str, Any]:
    rows = {**{row: trial.rounds.samples[row] for row in ROWS}, "control": trial.rounds.control}
    return {
        "process_set": trial.process_set,
        "verdicts": verdicts(report_of([trial], plan, machine)),
        "wall_ns": {row: stats.round_medians(samples.wall_ns) for row, samples in rows.items()},
        "cpu_ns": {row: stats.round_medians(samples.cpu_ns) for row, samples in rows.items()},
        "blocks": {row: {"wall_ns": turn.wall_ns, "cpu_ns": turn.cpu_ns} for row, turn in trial.blocks.items()},
    }


if __name__ == "__main__":
    raise SystemExit(main())

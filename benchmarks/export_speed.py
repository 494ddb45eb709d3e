"""What `export` is held to, in one table: coverage, names, latency, peak memory, CPU seconds, nodes.

`python -m benchmarks.export_speed` from the checkout's root, or `make bench-export`. Ratios are interleaved, in fresh
processes, with their intervals. Parts are kept in build/export-bench.json, so that one can be repeated alone.

Exit codes: 0; 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import coverage, outcomes
from benchmarks.families import FAMILIES, ZOO, Model
from benchmarks.figures import BOUNDS, MISSED, Figure, geometric_mean, ratios, table
from benchmarks.interleaved import Ratio
from benchmarks.machine import described
from benchmarks.rivals import against_raw, against_tensorflow, ask
from keronyx.errors import KeronyxError

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "build" / "export-bench.json"
PAGE = ROOT / "docs" / "export-bench.md"
THREADS = 2
CONVERSIONS = {"unet:16": "unet:16", "enet": "enet", "ResNet50": "keras.applications:ResNet50"}
MEMORY = {"unet": "unet", "VGG16": "keras.applications:VGG16"}
QUICK = ("unet:16", "enet", "keras.applications:MobileNetV2", "benchmarks.families.slow_on_ort:audio_conv1d")

Stored = dict[str, Any]


def main() -> int:
    asked = arguments()
    parts: dict[str, Callable[[], Stored]] = {
        "coverage": from_coverage,
        "export": lambda: exported(asked.quick),
        "rivals": lambda: rivals(asked.quick, asked.rival_budget),
        "latency": lambda: latency(asked.quick, asked.budget, asked.model, kept.get("latency", {})),
    }
    kept = read()
    for name, measure in parts.items():
        if not asked.only or name in asked.only:
            kept[name] = {"machine": described(PACKAGES), "quick": asked.quick, **measure()}
            write(kept)
    figures = figures_of(kept)
    made = page(kept, figures, asked)
    print(made)
    if asked.write:
        asked.write.write_text(coverage.replaced(asked.write.read_text(), made))
    return 1 if any(figure.verdict == MISSED for figure in figures) else 0


PACKAGES = ["tensorflow", "keras", "tf2onnx", "onnxruntime-gpu", "onnx", "onnxslim", "onnxsim", "numpy"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("coverage", "export", "rivals", "latency")
    parser.add_argument("--only", action="append", choices=parts, help="measure this part; others as they were kept")
    parser.add_argument("--model", action="append", metavar="NAME", help="of latency, measure these alone again")
    parser.add_argument("--quick", action="store_true", help="few models")
    parser.add_argument("--budget", default="15s", help="of each model's rounds against TensorFlow")
    parser.add_argument("--rival-budget", type=float, default=60.0, help="seconds for each network against raw tf2onnx")
    parser.add_argument("--write", type=Path, nargs="?", const=PAGE, metavar="PAGE", help="docs/export-bench.md")
    return parser.parse_args()


def from_coverage() -> Stored:
    """Counts out of what `benchmarks.coverage` kept; says how many of them are of other code than today's."""
    kept = coverage.read()
    found = {name: kept[name] for name in FAMILIES if name in kept}
    counted = Counter(outcome.result for outcome in found.values())
    named = ("inputs are ", "outputs are ")
    broken = sum(o.result == outcomes.SILENT and o.note.startswith(named) for o in found.values())
    stale = sum(o.key != coverage.code_hash(FAMILIES[name]) for name, o in found.items()) + len(FAMILIES) - len(found)
    written = counted[outcomes.USABLE] + counted[outcomes.SILENT]
    return {"counts": dict(counted), "written": written, "broken_names": broken, "stale": stale}


def exported(quick: bool) -> Stored:
    """CPU seconds of the whole command and of the conversion in it, peak memory, nodes."""
    found: Stored = {}
    for name, source in CONVERSIONS.items():
        if not quick or name == "unet:16":
            whole = command(source)
            ours = ask("ours", source=source)
            found[f"cpu {name}"] = {"seconds": ours["seconds"], "command_s": whole["cpu_s"]}
            with tempfile.TemporaryDirectory(prefix="keronyx-") as folder:
                try:
                    found[f"cpu {name}"]["raw_s"] = ask("raw", source=source, onnx=f"{folder}/raw.onnx")["seconds"]
                except KeronyxError as error:
                    found[f"cpu {name}"]["raw_problem"] = error.message
            if name == "enet":
                found["nodes enet"] = whole["nodes"]
            progress(f"{name}: {found[f'cpu {name}']}")
    for name, source in MEMORY.items():
        if not quick:
            whole = command(source)
            found[f"memory {name}"] = whole
            if name == "unet":
                found["nodes unet"] = whole["nodes"]
            progress(f"{name}: {whole}")
    return found


def command(source: str) -> dict[str, float]:
    """The whole command on one source: CPU seconds, the largest process' MiB, nodes."""
    with tempfile.TemporaryDirectory(prefix="keronyx-") as folder:
        target = Path(folder) / "out"
        code, said, seconds, peak = coverage.command(Model("", source, source), target, Path(folder) / "log")
        if code != 0:
            raise SystemExit(f"{source}: {said.strip()}")
        manifest = json.loads((target / "manifest.json").read_text())
        artifact = next(one for one in manifest["artifacts"] if one["kind"] == "onnx")
        nodes = ask("nodes", onnx=str(target / artifact["path"]))["nodes"]
        return {"cpu_s": seconds, "peak_mib": peak, "onnx_peak_mib": artifact["peak_mib"], "nodes": nodes}


def rivals(quick: bool, budget_s: float) -> Stored:
    found: dict[str, Ratio] = {}
    problems = {}
    for network in ZOO[:1] if quick else ZOO:
        try:
            found |= against_raw(network, THREADS, budget_s)
            progress(f"{network}: done")
        except (KeronyxError, ValueError) as error:
            problems[network] = str(error)
            progress(f"{network}: {error}")
    return {"ratios": {name: asdict(one) for name, one in found.items()}, "problems": problems, "budget_s": budget_s}


def latency(quick: bool, budget: str, only: list[str] | None, kept: Stored) -> Stored:
    """Against TensorFlow's graph, every model or `only` those named; the rest as it was kept, with where it is from."""
    from benchmarks.families.applications import NAMES

    sources = [
        *ZOO,
        *(f"keras.applications:{name}" for name in NAMES),
        *(model.source for model in FAMILIES.values() if model.family == "slow_on_ort"),
    ]
    named = {source.rpartition(":")[2] if "." in source else source: source for source in (QUICK if quick else sources)}
    if unknown := set(only or ()) - set(named):
        raise SystemExit(f"no such model: {', '.join(sorted(unknown))}")
    found = dict(kept.get("ratios", {})) if only else {}
    problems = dict(kept.get("problems", {})) if only else {}
    for name in only or named:
        ratio = against_tensorflow(named[name], THREADS, budget)
        found.pop(name, None)
        problems.pop(name, None)
        if isinstance(ratio, Ratio):
            found[name] = asdict(ratio)
        else:
            problems[name] = ratio
        progress(f"{name}: {ratio}")
    ordered = {name: found[name] for name in named if name in found}
    said = {"ratios": ordered, "problems": problems, "budget": budget}
    if only and kept:
        again = f"{', '.join(only)}: {described(PACKAGES)}, --budget {budget}"
        said |= {"machine": kept["machine"], "again": [*kept.get("again", []), again]}
    return said


def figures_of(kept: dict[str, Stored]) -> list[Figure]:
    """Every figure of BOUNDS, measured or not."""
    found: dict[str, Figure] = {}
    if counts := kept.get("coverage", {}).get("counts"):
        total, usable = sum(counts.values()), counts.get(outcomes.USABLE, 0)
        named, unnamed = counts.get(outcomes.NAMED, 0), counts.get(outcomes.UNNAMED, 0)
        bad = total - usable - named - unnamed
        written, broken = kept["coverage"]["written"], kept["coverage"]["broken_names"]
        found["usable"] = Figure("usable", 100 * usable / total, f"{usable} of {total} ({usable / total:.0%})")
        share = 100 * named / (named + unnamed) if named + unnamed else 100.0
        found["named"] = Figure("named", share, f"{named} of {named + unnamed}")
        found["silent"] = Figure("silent", bad, f"{bad} of {total}")
        kept_names = 100 * (written - broken) / max(written, 1)
        found["contract"] = Figure("contract", kept_names, f"{written - broken} of {written}")
    if latencies := kept.get("latency", {}).get("ratios"):
        measured = [Ratio(**one) for one in latencies.values()]
        mean = geometric_mean(measured)
        if mean is not None:
            said = f"{mean.value:.3f} [{mean.low:.3f}, {mean.high:.3f}] over {len(measured)} models"
            found["latency"] = Figure("latency", mean.value, said)
        slower = [name for name, one in latencies.items() if one["verdict"] == "slower"]
        failed = list(kept["latency"]["problems"])
        said = f"{len(slower)} of {len(measured)}" + (f": {', '.join(slower)}" if slower else "")
        said += f"; not measured: {', '.join(failed)}" if failed else ""
        found["slower"] = Figure("slower", len(slower) + len(failed), said)
    if pairs := kept.get("rivals", {}).get("ratios"):
        real = {name: one for name, one in pairs.items() if not name.endswith("control")}
        slower = [name for name, one in real.items() if one["verdict"] == "slower"]
        failed = list(kept["rivals"]["problems"])
        said = f"{len(slower)} of {len(real)} pairs" + (f": {', '.join(slower)}" if slower else "")
        said += f"; not measured: {', '.join(failed)}" if failed else ""
        found["rivals"] = Figure("rivals", len(slower) + len(failed), said)
        slim = [Ratio(**one) for name, one in real.items() if name.endswith("onnxslim")]
        if mean := geometric_mean(slim):
            said = f"{mean.value:.3f} [{mean.low:.3f}, {mean.high:.3f}] over {len(slim)} networks"
            found["rivals mean"] = Figure("rivals mean", mean.value, said)
    for key, value in kept.get("export", {}).items():
        if key.startswith("cpu "):
            rest = f"; raw tf2onnx {value['raw_s']:.1f}" if "raw_s" in value else "; raw tf2onnx fails"
            said = f"{value['seconds']:.1f} CPU s (whole command {value['command_s']:.1f}{rest})"
            found[key] = Figure(key, value["seconds"], said)
        elif key.startswith("memory "):
            found[key] = Figure(key, value["peak_mib"], f"{value['peak_mib']:,.0f} MiB")
        elif key.startswith("nodes "):
            found[key] = Figure(key, value)
    return [found.get(key, Figure(key, None)) for key in BOUNDS]


def page(kept: dict[str, Stored], figures: list[Figure], asked: argparse.Namespace) -> str:
    """All tables, and for each part what it was measured at."""
    written = [table(figures)]
    for part, title in (("latency", "over TensorFlow's graph"), ("rivals", "keronyx's file over")):
        if found := kept.get(part, {}).get("ratios"):
            written.append(ratios(title, {name: Ratio(**one) for name, one in found.items()}))
        written += [
            f"- `{name}` was not measured: {why}" for name, why in kept.get(part, {}).get("problems", {}).items()
        ]
    stale = kept.get("coverage", {}).get("stale")
    if stale:
        written.append(
            f"- coverage: {stale} models have no result of today's code; [coverage.md](coverage.md) says of which"
        )
    said = " ".join(["python -m benchmarks.export_speed", *(["--quick"] if asked.quick else [])])
    written.append(f"- `{said}`; {THREADS} threads")
    machines = {}
    for part, stored in kept.items():
        machines.setdefault(stored["machine"], []).append(part)
    written += [f"- {', '.join(parts)}: {machine}" for machine, parts in machines.items()]
    written += [f"- {again}" for again in kept.get("latency", {}).get("again", [])]
    return "\n".join(written) + "\n"


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def read() -> dict[str, Stored]:
    try:
        return dict(json.loads(KEPT.read_text()))
    except (OSError, ValueError):
        return {}


def write(kept: dict[str, Stored]) -> None:
    KEPT.parent.mkdir(exist_ok=True)
    temporary = KEPT.with_suffix(".tmp")
    temporary.write_text(json.dumps(kept, indent=1))
    os.replace(temporary, KEPT)


if __name__ == "__main__":
    raise SystemExit(main())

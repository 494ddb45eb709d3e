"""How often `bisect` names the right layer, where one layer of an ONNX file was made wrong on purpose.

Networks of the zoo get new weights for every seed and are converted; each fault of `injecting` is put into one layer
that the seed picks, and the file is bisected on one road scene. A trial counts as right when that layer is the first
that departs, and as found when it departs at all. Files without a fault are bisected, too: nothing may depart in them.
Faults that change no answer to the scene (a filter whose ReLU gives zeros) are left out: no gate would ask about them.

Exit codes: 0; 1 when fewer than 95 % of the trials are right.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
from injecting import FAULTS, Fault

from keronyx.export import onnx, signature
from keronyx.export.bisection import child
from keronyx.types import Array
from keronyx.zoo import networks, scenes

NETWORKS = ("unet:2", "unet-spatial:2", "unet-dilated:2", "enet:16", "model-v4:8")
RIGHT = 0.95
"""Least share of trials in which the right layer is named."""

NO_FAULT = "none"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclass(frozen=True)
class Trial:
    """One file bisected: the layer the fault is in, the one named, all that depart, seconds in the process."""

    network: str
    fault: str
    seed: int
    layer: str | None
    named: str | None
    departing: tuple[str, ...]
    optimizers: tuple[str, ...]
    seconds: float

    @property
    def right(self) -> bool:
        return self.named == self.layer and not self.optimizers

    @property
    def found(self) -> bool:
        return self.layer is None or self.layer in self.departing


def main() -> int:
    asked = _arguments()
    height, width = (int(size) for size in asked.image_size.split("x"))
    trials: list[Trial] = []
    for network in asked.networks.split(","):
        for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
            for trial in _trials(network, seed, height, width):
                trials.append(trial)
                if asked.verbose or not trial.right:
                    print(trial, file=sys.stderr, flush=True)
    page = table(trials, f"{asked.seeds} seeds, images of {asked.image_size}")
    print(page)
    if asked.json:
        asked.json.write_text(json.dumps([asdict(one) for one in trials], indent=1) + "\n")
    if asked.write:
        before, _, rest = asked.write.read_text().partition(BEGIN)
        asked.write.write_text(f"{before}{BEGIN}\n{page}\n{END}{rest.partition(END)[2]}")
    return 0 if share([one for one in trials if one.layer is not None]) >= RIGHT else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS), help="names of the zoo, separated by commas")
    parser.add_argument("--image-size", default="32x48", help="height x width")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="print every trial, not only the wrong ones")
    parser.add_argument("--json", type=Path, help="store every trial")
    parser.add_argument("--write", type=Path, help="a page to put the table into")
    return parser.parse_args()


def _trials(network: str, seed: int, height: int, width: int) -> Iterator[Trial]:
    """All faults that a network has a place for, and none at all."""
    import onnx as onnx_files

    with tempfile.TemporaryDirectory(prefix="keronyx-bisecting-") as scratch:
        folder = Path(scratch)
        model = networks.build(network, height, width, seed)
        spec = signature.of_keras(model, network, network, 1, None)
        onnx.convert(model, spec, folder / "model.onnx")
        image = scenes.batch(1, height, width, seed + 1000)[0].astype(np.float32)
        proto = onnx_files.load(folder / "model.onnx")
        answers = _answers(proto, image)
        faults: Sequence[Fault | None] = (None, *FAULTS)
        for fault in faults:
            made = fault(proto, np.random.default_rng(seed)) if fault else (proto, None)
            if made is None or (fault and np.array_equal(_answers(made[0], image), answers)):
                continue
            onnx_files.save(made[0], folder / "faulty.onnx")
            yield _bisected(network, fault, seed, made[1], model, image, folder / "faulty.onnx")


def _bisected(
    network: str, fault: Fault | None, seed: int, layer: str | None, model: Any, image: Array, path: Path
) -> Trial:
    began = time.perf_counter_ns()
    found = child.bisected(path, model, [image])  # in this process: to start one takes longer than a small network
    seconds = (time.perf_counter_ns() - began) / 1e9
    departing = tuple(one.layer for one in found.departing())
    return Trial(
        network,
        fault.__name__ if fault else NO_FAULT,
        seed,
        layer,
        found.guilty,
        departing,
        found.optimizers,
        seconds,
    )


def _answers(model: Any, image: Array) -> Array:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    made: Array = session.run(None, {session.get_inputs()[0].name: image})[0]
    return made


def share(trials: Sequence[Trial]) -> float:
    """Share of trials in which the right layer was named; 1 of none."""
    return sum(one.right for one in trials) / len(trials) if trials else 1.0


def table(trials: Sequence[Trial], terms: str) -> str:
    """Right trials of all, by fault and network, as Markdown."""
    names = list(dict.fromkeys(one.network for one in trials))
    lines = [f"| fault | {' | '.join(names)} | all |", "|---" * (len(names) + 2) + "|"]
    for fault in dict.fromkeys(one.fault for one in trials):
        of_fault = [one for one in trials if one.fault == fault]
        cells = [_count([one for one in of_fault if one.network == name]) for name in names]
        lines.append(f"| {fault.replace('_', ' ')} | {' | '.join([*cells, _count(of_fault)])} |")
    faulty = [one for one in trials if one.layer is not None]
    named, met = sum(one.right for one in faulty), sum(one.found for one in faulty)
    lines += [
        "",
        f"{terms}: the right layer was named in {named} of {len(faulty)} files with one fault "
        f"({share(faulty):.1%}), and is among those that depart in {met}.",
    ]
    return "\n".join(lines)


def _count(trials: Sequence[Trial]) -> str:
    return f"{sum(one.right for one in trials)}/{len(trials)}" if trials else ""


if __name__ == "__main__":
    raise SystemExit(main())

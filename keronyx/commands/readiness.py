"""`keronyx export --check tensorrt`: asks, and prints what was found."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keronyx import options, terminal
from keronyx.errors import ExportError, UsageError

if TYPE_CHECKING:
    from keronyx.pipeline.readiness import Readiness, Refusal

SHOWN = 20
"""The most refused nodes that are listed; `--json` has all."""


def asked(check: str | None, compute_capability: str) -> tuple[str, ...]:
    """The compute capabilities to ask about, none without a check. Raises UsageError."""
    if check is None:
        return ()
    if check != "tensorrt":
        raise UsageError(f"--check knows no {check!r}", "write --check tensorrt")
    from keronyx.pipeline.readiness import capabilities

    return capabilities(options.names(compute_capability, "--compute-capability"))


def check(folder: Path, capabilities: Sequence[str], quiet: bool, as_json: bool) -> None:
    """Ask about the model in an export folder and print the answer; as JSON below the manifest's own fields.

    Raises ExportError when the model is not ready.
    """
    from keronyx.pipeline.readiness import ready_for_tensorrt

    with terminal.progress(quiet or as_json) as progress:
        readiness = ready_for_tensorrt(folder, capabilities, progress)
    if as_json:
        found = {name: json.loads((folder / f"{name}.json").read_text()) for name in ("manifest", "tensorrt")}
        print(json.dumps({**found["manifest"], "tensorrt": found["tensorrt"]}, indent=2))
    else:
        show(readiness)
    if not readiness.ready:
        remedy = f"{folder / 'tensorrt.json'} lists what and why"
        if any(build.engine_bytes is not None for build in readiness.builds):
            remedy += "; --compute-capability takes those you ship to"
        raise ExportError(readiness.verdict, remedy)


def show(readiness: Readiness) -> None:
    """A line of verdict, a table of compute capabilities, and the nodes that are refused, by layer."""
    if readiness.version is not None:
        taken = f"refuses {len(readiness.refused)}" if readiness.layers is None else f"{readiness.layers} layers"
        print(f"TensorRT-RTX {readiness.version}: {readiness.nodes} ONNX nodes, {taken}")
        _list(readiness.refused)
        print("  capability  engine MiB  build s")
        for build in readiness.builds:
            size = "-" if build.engine_bytes is None else f"{build.engine_bytes / 2**20:.1f}"
            seconds = "-" if build.seconds is None else f"{build.seconds:.1f}"
            by_table = "; only the operator table answers" if build.table_only else ""
            print(f"  {build.capability:<10}  {size:>10}  {seconds:>7}  {build.said}{by_table}".rstrip())
            _list(build.refused)
    else:
        print(f"{readiness.said}{f' ({readiness.remedy})' if readiness.remedy else ''}: nothing was built")
    says = f"refuses {len(readiness.table)}" if readiness.table else "nothing against the model"
    print(f"{readiness.table_name} (a list, nothing is built): {says}")
    _list(readiness.table)
    if readiness.ready:
        print(readiness.verdict)


def _list(refused: Iterable[Refusal]) -> None:
    nodes = sorted(refused, key=lambda one: (one.layer or "", one.operator))
    for one in nodes[:SHOWN]:
        where = f"layer {one.layer}" if one.layer else one.node
        said = " · ".join(part for part in (where, one.operator, one.why) if part)
        print(f"    {terminal.plain(said)}")
    if len(nodes) > SHOWN:
        print(f"    and {len(nodes) - SHOWN} more")

"""`keronyx export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keronyx import options, terminal
from keronyx.commands import readiness
from keronyx.commands.common import (
    CustomObjects,
    Debug,
    Force,
    ImageSize,
    JsonOutput,
    Quiet,
    SubstituteLayer,
    Trust,
    Weights,
)
from keronyx.errors import UsageError

OPSET = 18
OLDEST_OPSET, NEWEST_OPSET = 15, 24


def export(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            help="Network, .keras, .h5 or .json, SavedModel folder, module:callable, or keras.applications:NAME."
        ),
    ],
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="DIR", help="Folder to write to.")] = None,
    batch: Annotated[
        str,
        typer.Option(
            metavar="N|dynamic",
            help="Batch size of the exported model; without it the one every --shape begins with, or 1.",
        ),
    ] = "1",
    image_size: ImageSize = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SIZES",
            help="Sizes of one input, `image=1x320x400x3`; a name instead of a number leaves that size open, "
            "`image=batch,height,width,3`. For models that do not say: `words=1x20:int32`. May be repeated.",
        ),
    ] = None,
    opset: Annotated[
        int, typer.Option(min=OLDEST_OPSET, max=NEWEST_OPSET, help="ONNX operator set of the file.")
    ] = OPSET,
    check: Annotated[
        str | None,
        typer.Option(
            metavar="tensorrt",
            help="Ask TensorRT whether it takes the model; needs no GPU. SOURCE may be an export folder.",
        ),
    ] = None,
    compute_capability: Annotated[
        str, typer.Option(metavar="LIST", help="GPUs to build engines for in that check, by compute capability.")
    ] = "8.6,8.9,12.0",
    weights: Weights = None,
    substitute_layer: SubstituteLayer = None,
    custom_objects: CustomObjects = None,
    trust: Trust = False,
    save_optimized: Annotated[
        bool,
        typer.Option("--save-optimized", help="Also save ONNX Runtime's optimized graph: it loads faster here."),
    ] = False,
    force: Force = False,
    json: JsonOutput = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Convert a Keras model to ONNX, in a process of its own."""
    with terminal.errors(debug):
        from keronyx import pipeline

        asked = readiness.asked(check, compute_capability)
        if asked and pipeline.is_export(Path(source)):
            readiness.check(Path(source), asked, quiet, json)
            return
        size = options.size(image_size)
        resolved = pipeline.resolve(
            source,
            trust=trust,
            custom_objects=custom_objects,
            weights=weights,
            substitute_layer=substitute_layer or (),
            image_size=size,
        )
        if shape and image_size:
            raise UsageError("--shape and --image-size contradict each other", "leave one of them away")
        fixed = None if batch == "dynamic" else options.positive(batch, "--batch")
        said = context.get_parameter_source("batch")
        fixed = pipeline.batch_of(shape or (), fixed, said is not None and said.name != "DEFAULT")
        with terminal.progress(quiet or json) as progress:
            exported = pipeline.export(
                resolved,
                target=output,
                batch=fixed,
                image_size=size,
                shapes=shape or (),
                leave_open=True,
                opset=opset,
                force=force,
                progress=progress,
            )
        if exported.failed:
            raise next(iter(exported.failed.values()))
        manifest = exported.manifest
        saved = pipeline.save_optimized(exported) if save_optimized else ""
        if json and not asked:
            print((exported.folder / "manifest.json").read_text(), end="")
            return
        if json:
            readiness.check(exported.folder, asked, quiet, json)
            return
        spec = manifest.spec
        print(f"{terminal.plain(spec.name)} · {spec.parameters:,} parameters · opset {manifest.opset}")
        for kind, tensors in (("in", spec.inputs), ("out", spec.outputs)):
            for tensor in tensors:
                sizes = "x".join("?" if size is None else str(size) for size in tensor.shape)
                print(f"  {kind:<3} {terminal.plain(tensor.name)} {sizes} {tensor.dtype}")
        for a in manifest.artifacts:
            facts = " · ".join(
                [f"{a.bytes / 2**20:.1f} MiB", f"{a.seconds:.1f} s", f"peak {a.peak_mib:,.0f} MiB", *a.evidence]
            )
            print(f"  {exported.folder / a.path}  {terminal.plain(facts)}")
        if saved:
            print(f"  {saved}")
        for note in manifest.notes:
            print(f"note: {terminal.plain(note)}")
        if asked:
            readiness.check(exported.folder, asked, quiet, json)

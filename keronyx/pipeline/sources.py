"""From what the user typed to an export folder: joins the zoo and the exporters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from keronyx.errors import SourceError, UsageError
from keronyx.export import convert, dims, finish, folder
from keronyx.export.convert import Exported
from keronyx.export.onnx import OPSET
from keronyx.export.source import Source, hash_path, identify
from keronyx.pipeline.progress import Progress, Silent
from keronyx.zoo import names
from keronyx.zoo import weights as zoo_weights

EXPORTS = Path("exports")
"""Where exports go, and where `profile` without a source looks."""

APPLICATION_SIZES = {"MobileNetV3Small": (224, 224), "MobileNetV3Large": (224, 224)}
"""Height and width of the keras.applications that leave them open: what they were trained on."""

ZOO_BUILDER = "keronyx.zoo.networks:trained"


def resolve(
    text: str,
    *,
    trust: bool = False,
    custom_objects: str | None = None,
    weights: str | None = None,
    substitute_layer: Sequence[str] = (),
    image_size: tuple[int, int] | None = None,
) -> Source:
    """A zoo network's name, or anything `export.source.identify` recognises. Raises UsageError or SourceError.

    A network's name wins over a file or folder called the same: that is named as `./unet`. It has the trained weights
    that come with it, or those of `weights`; where there are none, its note says so, and where
    they come with it, on what terms.
    """
    known = names.names()
    if text.partition(":")[0] not in known:
        return identify(
            text,
            trust=trust,
            custom_objects=custom_objects,
            weights=weights,
            substitute_layer=substitute_layer,
            known=known,
        )
    if substitute_layer:
        raise UsageError("--substitute-layer is for .keras, .h5 and .json files")
    network = names.parse(text)
    height, width = image_size or (320, 400)
    arguments: dict[str, Any] = {"name": text, "image_height": height, "image_width": width}
    if weights and not Path(weights).is_file():
        raise SourceError(f"{weights}: no such weights file")
    shipped = zoo_weights.file_of(text)
    read = shipped if weights is None else Path(weights).resolve()
    if read.suffix == ".npz" and read != shipped:
        arguments["weights"], weights = str(read), None
    return Source(
        kind="callable",
        text=text,
        name=str(network),
        target=ZOO_BUILDER,
        arguments=arguments,
        weights=weights,
        fingerprint=_zoo_fingerprint(read if weights is None else None),
        note=_zoo_note(str(network), shipped) if read == shipped else "",
    )


def _zoo_note(network: str, shipped: Path) -> str:
    """What is to be known of the weights that come with a network: that there are none, or what they were taught."""
    if not shipped.is_file():
        return f"{network} is untrained: its weights are random (seeded), no trained ones come with it"
    card = zoo_weights.card(shipped)
    if not card:
        return ""
    data = ", ".join(dict.fromkeys(map(str, card.get("data", ())))) or "unknown data"
    return f"{network} comes trained on {data}; terms: {card.get('licence') or 'none are said'}"


def _zoo_fingerprint(weights: Path | None) -> str:
    """Stands for what a network of the zoo is: its code, and the file of weights that is read."""
    files = sorted(Path(names.__file__).parent.glob("*.py"))
    if weights is not None and weights.is_file():
        files.append(weights)
    return "".join(hash_path(file) for file in files)


def exported_here(root: Path = EXPORTS) -> list[Path]:
    """Export folders to profile when no source is named: the newest of each model."""
    return folder.newest(root)


def is_export(path: Path) -> bool:
    """Whether a folder is one that `export` made."""
    return (path / folder.MANIFEST).is_file()


def export(
    source: Source,
    *,
    kinds: Sequence[str] = ("onnx",),
    target: Path | None = None,
    batch: int | None = 1,
    image_size: tuple[int, int] | None = None,
    shapes: Sequence[str] = (),
    leave_open: bool = False,
    opset: int = OPSET,
    force: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Convert a source, into `target` or a folder of EXPORTS named by content. Raises KeronyxError."""
    if source.kind == "applications" and image_size is None and not shapes:
        image_size = APPLICATION_SIZES.get(source.target)
    return convert.export(
        source,
        kinds,
        root=EXPORTS,
        folder=target,
        batch=batch,
        image_size=image_size,
        shapes=shapes,
        leave_open=leave_open,
        opset=opset,
        force=force,
        progress=(progress or Silent()).phase,
    )


def batch_of(shapes: Sequence[str], batch: int | None, said: bool) -> int | None:
    """What `--shape` and `--batch` say of the batch together (see `dims.batch_of`). Raises UsageError."""
    return dims.batch_of(dims.parse(shapes), batch, said)


def save_optimized(exported: Exported) -> str:
    """Save ONNX Runtime's optimized graph for this machine into an export folder. Returns what it is, in a line."""
    made = finish.save_optimized(exported.folder, exported.manifest.spec)
    return (
        f"{exported.folder / made['name']}  {made['bytes'] / 2**20:.1f} MiB · loads in {made['optimized_ms']:.3g} ms, "
        f"model.onnx in {made['plain_ms']:.3g} ms · for this processor and version of ONNX Runtime only"
    )


def preparation(
    source: Source | Path,
    image_size: tuple[int, int] | None,
    progress: Progress,
    trust: bool = False,
    custom_objects: str | None = None,
) -> Callable[[int, Sequence[str]], Exported]:
    """How `profile` gets a model's artifacts at a batch: exports a source, or completes an export folder.

    Args:
        trust: whether an export folder's model may execute code (a source carries its own).
        custom_objects: as for `resolve`, for an export folder.
    """

    def of_source(batch: int, kinds: Sequence[str]) -> Exported:
        assert isinstance(source, Source)
        return export(source, kinds=kinds, batch=batch, image_size=image_size, progress=progress)

    def of_folder(batch: int, kinds: Sequence[str]) -> Exported:
        assert isinstance(source, Path)
        manifest = folder.read(source)
        if manifest is not None and manifest.batch not in (batch, None):
            raise UsageError(f"{source} is exported at batch {manifest.batch}, not {batch}", "name its source")
        open_inputs = [t.name for t in manifest.spec.inputs if None in t.shape[1:]] if manifest else []
        if open_inputs:
            raise UsageError(
                f"{source} leaves sizes of its input {open_inputs[0]!r} open, and only fixed ones can be timed",
                "export it with --shape NAME=SIZES",
            )
        return convert.complete(source, kinds, trust=trust, custom_objects=custom_objects, progress=progress.phase)

    return of_folder if isinstance(source, Path) else of_source


def slug(source: str) -> str:
    """A file name for a model's name: `unet:16` -> `unet-16`."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in source).strip(".-") or "model"

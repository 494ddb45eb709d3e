"""From a name to a Keras model: the one place that knows which file builds which network, and where its weights are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from keronyx.errors import UsageError
from keronyx.zoo import enet, initial, model_v4, unet
from keronyx.zoo import weights as stored
from keronyx.zoo.names import NetworkName, parse

if TYPE_CHECKING:
    import keras


def build(name: str, image_height: int = 320, image_width: int = 400, seed: int = 0) -> keras.Model:
    """A zoo network with seeded initial weights, whose output on a road scene is not a flat softmax.

    Args:
        name: what `names.parse` reads, such as `unet` or `unet:16`.
        image_height: pixels; a multiple of 16 for the U-Nets, of 8 for the others.
        image_width: pixels; as `image_height`.
        seed: the same seed gives the same weights.

    Returns:
        A functional model from `image` (N, H, W, 3) float32, raw RGB 0..255, to `probabilities` (N, H, W, 3) float32:
        softmax over road, car, other.

    Raises:
        UsageError: no such network, no such width, or the network cannot take that image size.
    """
    model = architecture(name, image_height, image_width)
    initial.initialise(model, seed)
    return model


def trained(name: str, image_height: int = 320, image_width: int = 400, weights: str | None = None) -> keras.Model:
    """A zoo network with the trained weights that come with it; with seeded ones, as `build` gives, where none do.

    Args:
        name: as for `build`, with the sizes.
        image_height: pixels.
        image_width: pixels.
        weights: a `.npz` that `weights.save` wrote, instead of those that come with the zoo.

    Raises:
        UsageError: as `build`.
        SourceError: the weights are those of another network.
    """
    file = Path(weights) if weights else stored.file_of(name)
    if not weights and not file.is_file():
        return build(name, image_height, image_width)
    model = architecture(name, image_height, image_width)
    stored.load(model, file, str(parse(name)))
    return model


def architecture(name: str, image_height: int = 320, image_width: int = 400) -> keras.Model:
    """As `build`, but with the weights Keras happens to give; for counting and for loading weights into."""
    network = parse(name)
    _check_image_size(network, image_height, image_width)
    shape = (image_height, image_width)
    if network.name == "enet":
        return enet.enet(shape, network.width)
    if network.name.startswith("model-v4"):
        return model_v4.model_v4(shape, network.width, per_pixel=network.name == "model-v4-pixel", name=network.name)
    return unet.unet(
        shape,
        network.width,
        spatial=network.name == "unet-spatial",
        dilated=network.name == "unet-dilated",
        name=network.name,
    )


def _check_image_size(network: NetworkName, height: int, width: int) -> None:
    multiple = network.family.image_multiple
    if height < multiple or width < multiple or height % multiple or width % multiple:
        # A U-Net halves the image four times and an ENet-like three times; each must come out even.
        near = [max(multiple, round(size / multiple) * multiple) for size in (height, width)]
        raise UsageError(
            f"{network} cannot take {height}x{width} images",
            f"height and width must be multiples of {multiple}, such as {near[0]}x{near[1]}",
        )

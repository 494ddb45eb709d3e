"""What a zoo network may be called: `unet`, `unet:16`. Imports nothing heavy, so that listing takes no time."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from keronyx.errors import UsageError

CLASSES = ("road", "car", "other")
"""What the last axis of every network's output holds, in this order."""


@dataclass(frozen=True)
class Family:
    """One network of the zoo at the width it was published with.

    `width` is the number the user may change: filters of the first level of a U-Net, filters at 1/4 of the image's
    resolution in the two ENet-likes. Every other channel count keeps its ratio to it, so it must be a multiple of
    `width_multiple` and at least `min_width`. Height and width of the image must be multiples of `image_multiple`.
    `parameters` (BatchNorm's moving statistics included) and `gmac` (10**9 multiply-accumulates of the convolutions)
    hold for one 320x400 image at the published width. A transposed convolution is counted over its input's positions:
    each of them meets the whole kernel once.
    """

    name: str
    summary: str
    width: int
    min_width: int
    width_multiple: int
    image_multiple: int
    parameters: int
    gmac: float


FAMILIES: tuple[Family, ...] = (
    Family("unet", "four-level U-Net", 64, 1, 1, 16, 31_404_163, 108.97),
    Family("unet-spatial", "U-Net, 3x1 then 1x3 convolutions downwards", 64, 1, 1, 16, 30_372_739, 104.10),
    Family("unet-dilated", "U-Net, every second convolution dilated by 2", 64, 1, 1, 16, 31_404_163, 108.97),
    Family("model-v4", "ENet-like residual net, PReLU slopes shared over H and W", 64, 8, 2, 8, 2_212_003, 9.16),
    Family("model-v4-pixel", "model-v4 as trained, one PReLU slope per pixel", 64, 8, 2, 8, 25_505_859, 9.16),
    # The entry's own table says 0.93 GMAC; the convolutions of its description come to 0.924768.
    Family("enet", "ENet of Paszke et al. 2016 (arXiv 1606.02147)", 64, 16, 16, 8, 370_930, 0.92),
)
MAX_WIDTH = 1024
"""Wider than this is a typing error: a U-Net would have 8 billion parameters."""


@dataclass(frozen=True)
class NetworkName:
    """A network the user asked for: a name of FAMILIES and its width (see Family)."""

    name: str
    width: int

    @property
    def family(self) -> Family:
        """The entry of FAMILIES this name stands for."""
        return next(family for family in FAMILIES if family.name == self.name)

    def __str__(self) -> str:
        """The shortest spelling `parse` reads back: the published width is left out."""
        return self.name if self.width == self.family.width else f"{self.name}:{self.width}"


def names() -> tuple[str, ...]:
    """Every network's name, without widths."""
    return tuple(family.name for family in FAMILIES)


def parse(text: str) -> NetworkName:
    """Read `unet` or `unet:16`.

    Raises:
        UsageError: no network is called that (the remedy names the closest), or the width is not one it can have.
    """
    name, colon, width = text.partition(":")
    family = next((family for family in FAMILIES if family.name == name), None)
    if family is None:
        close = difflib.get_close_matches(name.lower(), names(), n=3, cutoff=0.5)
        meant = f"did you mean {' or '.join(close)}?" if close else f"the zoo has {', '.join(names())}"
        raise UsageError(f"no zoo network is called {name!r}", meant)
    if not colon:
        return NetworkName(name, family.width)
    allowed = f"a multiple of {family.width_multiple}" if family.width_multiple > 1 else "a whole number"
    remedy = f"the width of {name} is {allowed} from {family.min_width} to {MAX_WIDTH}, such as {name}:16"
    if not (width.isascii() and width.isdigit()):
        raise UsageError(f"{width!r} is not a width", remedy)
    number = int(width) if len(width) <= 9 else MAX_WIDTH + 1
    if not family.min_width <= number <= MAX_WIDTH or number % family.width_multiple:
        raise UsageError(f"{name} cannot have width {width}", remedy)
    return NetworkName(name, number)

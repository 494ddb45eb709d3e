"""Label encodings of road scenes, read as this zoo's classes: 0 road, 1 car, 2 other, IGNORED elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keronyx.errors import SourceError
from keronyx.types import Array
from keronyx.zoo.scenes import CAR, OTHER, ROAD

IGNORED = 255
"""Pixels without a class: they count in no loss and no score."""

HOOD = 496 / 600
"""The own car's bonnet begins at row 496 of the challenge's 600; what is car below is other."""


@dataclass(frozen=True)
class Encoding:
    """How one data set writes its classes: how many ids it has, and what each becomes; the rest is other."""

    name: str
    ids: int
    becomes: dict[int, int]
    hood: bool = False

    def read(self, label: Array, where: str) -> Array:
        """Label of this encoding -> this zoo's.

        Args:
            label: (height, width) unsigned integers; of an RGB label, its red channel.
            where: the file's name, for the message.

        Returns:
            (height, width) uint8: ROAD, CAR, OTHER or IGNORED.

        Raises:
            SourceError: the label holds an id the encoding does not have.
        """
        highest = int(label.max(initial=0))
        if highest >= self.ids:
            raise SourceError(
                f"{where} holds class {highest}; {self.name} labels have 0 to {self.ids - 1}",
                "labels are class numbers in a palette, grey, or red channel, not colours",
            )
        table = np.full(self.ids, OTHER, np.uint8)
        for number, meaning in self.becomes.items():
            table[number] = meaning
        read = table[label]
        if self.hood:
            own = read[round(HOOD * len(read)) :]
            own[own == CAR] = OTHER
        return read


CARLA = Encoding("CARLA", 13, {6: ROAD, 7: ROAD, 10: CAR}, hood=True)
CAMVID = Encoding("CamVid", 12, {3: ROAD, 8: CAR, 11: IGNORED})
OWN = Encoding("road, car, other", 3, {0: ROAD, 1: CAR})


def one_hot(label: Array) -> Array:
    """Labels (..., height, width) uint8 as (..., height, width, 3) float32; pixels without a class are all zero."""
    found: Array = label[..., None] == np.arange(3, dtype=label.dtype)
    return found.astype(np.float32)

"""Batches for `fit`: pairs in an order of their own each epoch, shifted, lit and mirrored as the entry's were."""

from __future__ import annotations

from typing import Any

import numpy as np

from keronyx.errors import KeronyxError
from keronyx.types import Array
from keronyx.zoo.labels import IGNORED, one_hot
from keronyx.zoo.pairs import Pairs

SHIFT = 0.12
"""Most vertical shift, as a share of the height."""
BRIGHTNESS = (0.6, 1.4)


def batches(
    data: Pairs,
    size: tuple[int, int],
    batch: int,
    *,
    augment: bool,
    seed: int = 0,
    patch: tuple[int, int] | None = None,
) -> Any:
    """A keras.utils.PyDataset of (images (batch, height, width, 3) float32, truth (same, one-hot)).

    With `augment` it is shuffled every epoch, and what would not fill a batch is left to the next order; where a
    `patch` (height, width) is asked for, each image is cut to one. Its attribute `epoch` decides order and
    augmentations, so that a run that goes on after a kill goes on with the same samples; `images` says how many there
    are, `error` what reading them raised.
    """
    import keras

    class Batches(keras.utils.PyDataset):  # type: ignore[misc,unused-ignore]
        epoch = 0
        images = len(data)
        error: KeronyxError | None = None

        def __len__(self) -> int:
            return max(1, len(data) // batch) if augment else -(-len(data) // batch)

        def __getitem__(self, index: int) -> tuple[Array, Array]:
            order = np.random.default_rng([seed, self.epoch]).permutation(len(data)) if augment else range(len(data))
            chosen = [int(i) for i in order[index * batch : (index + 1) * batch]]
            try:
                pairs = [data.pair(i, *size) for i in chosen]
            except KeronyxError as error:
                self.error = error
                raise
            if augment:
                pairs = [
                    augmented(*pair, np.random.default_rng([seed, self.epoch, i]), patch)
                    for i, pair in zip(chosen, pairs, strict=True)
                ]
            return np.stack([image for image, _ in pairs]), one_hot(np.stack([label for _, label in pairs]))

    return Batches(workers=1)


def augmented(
    image: Array, label: Array, rng: np.random.Generator, patch: tuple[int, int] | None = None
) -> tuple[Array, Array]:
    """One pair shifted up or down (what comes in has no class), brighter or darker, mirrored every second time.

    Args:
        image: (height, width, 3) float32 0..255.
        label: (height, width) uint8.
        patch: height and width to cut out of the shifted image, anywhere; at most its own.
    """
    height = len(label)
    by = int(rng.integers(-int(SHIFT * height), int(SHIFT * height) + 1))
    image, label = np.roll(image, by, axis=0), np.roll(label, by, axis=0)
    if by:
        new = slice(0, by) if by > 0 else slice(by, None)
        label[new], image[new] = IGNORED, 0
    if patch is not None:
        top, left = (int(rng.integers(0, have - want + 1)) for have, want in zip(label.shape, patch, strict=True))
        cut = slice(top, top + patch[0]), slice(left, left + patch[1])
        image, label = image[cut], label[cut]
    image = np.clip(image * np.float32(rng.uniform(*BRIGHTNESS)), 0, 255)
    if rng.uniform() < 0.5:
        image, label = image[:, ::-1], label[:, ::-1]
    return image, label

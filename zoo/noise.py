"""Noise that belongs to an image, not to the run it was drawn in.

Every draw is keyed by (seed, number of the draw) with a counter-based generator (Salmon et al. 2011), on the CPU.
So neither the batch, nor its other images, nor the device can change it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

MAX_SEED = 2**53 - 1
"""The largest seed: the largest integer that every JSON reader keeps exact."""


def unit_noise(seed: int, draw: int, shape: Sequence[int]) -> npt.NDArray[np.float64]:
    """The `draw`-th standard normal array of this seed; draw 0 is the start noise."""
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, draw], dtype=np.uint64)))
    return generator.standard_normal(tuple(shape))


def start_noise(seeds: Sequence[int], shape: Sequence[int]) -> npt.NDArray[np.float64]:
    """Start noise of every image, (n, *shape)."""
    return np.stack([unit_noise(seed, 0, shape) for seed in seeds])


def fingerprint(noise: npt.NDArray[np.float64]) -> str:
    """A short hash of start noise: cells that show the same one started from the same."""
    return hashlib.sha256(noise.astype("<f4").tobytes()).hexdigest()[:16]


class KeyedNoise:
    """The noise of one cell: each call draws the next array for all of its images.

    Args:
        seeds: one per image.
        shape: of one image.
        like: a tensor whose dtype and device the noise gets.
    """

    def __init__(self, seeds: Sequence[int], shape: Sequence[int], like: torch.Tensor) -> None:
        self.seeds, self.shape, self.like = tuple(seeds), tuple(shape), like
        self.drawn = 0

    def __call__(self) -> torch.Tensor:
        import torch

        from zoo.device import sent

        self.drawn += 1
        arrays = np.stack([unit_noise(seed, self.drawn, self.shape) for seed in self.seeds])
        return sent(torch.from_numpy(arrays).to(self.like.dtype), self.like.device)

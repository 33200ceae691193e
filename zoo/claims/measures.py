"""What the pictures of a method score: distance to real pictures, prompt accuracy, diversity.

All pictures are taken together, and again without each group of prompts, so that every number has a jackknife.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch

from zoo.claims.claims import Estimate, Measure
from zoo.claims.points import REAL, Points
from zoo.metrics.distances import frechet_of_moments

FLOORS = 4
"""Samples of real pictures, as large as a method's own, whose mean distance is subtracted from each distance."""

REFERENCE = REAL - 2 * FLOORS
"""Other real pictures of each prompt, which distances are measured to."""

Moments = tuple[torch.Tensor, torch.Tensor]
"""Mean (d,) and covariance (d, d)."""


class Measures:
    """The measures of the first batches of each point.

    Args:
        points: where they are read.
        batches: how many, in each block.
    """

    def __init__(self, points: Points, batches: int) -> None:
        self.points, self.batches = points, batches
        self._distances = functools.cache(self._distance)

    def by_name(self) -> Mapping[str, Measure]:
        """For `judge`."""
        return {"distance": self.distance, "accuracy": self.accuracy, "diversity": self.diversity}

    def distance(self, line: str) -> Estimate:
        """Fréchet distance to real pictures of the same prompts, less that of as many other real ones of them.

        The subtraction leaves 0 for real pictures, on average: it removes both the bias of a finite sample and the
        chance of which prompts were asked.
        """
        return self._distances(line)

    def accuracy(self, line: str) -> Estimate:
        """Share of pictures that show the asked kind."""
        return Estimate.mean(self.points.read(line, self.batches).right[..., 0].float().mean(1).tolist())

    def diversity(self, line: str) -> Estimate:
        """Mean cosine distance, in features, of two pictures of the same prompt."""
        features = self.points.read(line, self.batches).features
        likeness = torch.nn.functional.cosine_similarity(features[:, 0::2], features[:, 1::2], dim=2)
        return Estimate.mean((1 - likeness).mean(1).tolist())

    @functools.cached_property
    def floor(self) -> Estimate:
        """The Fréchet distance of real pictures, mean over `FLOORS` samples."""
        samples = [self._real[:, :, at : at + 2].flatten(1, 2) for at in range(REFERENCE, REAL, 2)]
        return Estimate.of(lambda *values: sum(values) / FLOORS, [self._frechet(one) for one in samples])

    def _distance(self, line: str) -> Estimate:
        found = self._frechet(self.points.read(line, self.batches).features)
        return Estimate.of(lambda value, floor: value - floor, [found, self.floor])

    def _frechet(self, features: torch.Tensor) -> Estimate:
        """Of (G, n, d) to the reference; without a group on either side, so that the prompts stay the same."""
        values = [
            frechet_of_moments(*x, *y) for x, y in zip(_moments(features), self._reference, strict=True)
        ]
        return Estimate(values[0], tuple(values[1:]))

    @functools.cached_property
    def _reference(self) -> list[Moments]:
        return _moments(self._real[:, :, :REFERENCE].flatten(1, 2))

    @functools.cached_property
    def _real(self) -> torch.Tensor:
        return self.points.real(self.batches)


def _moments(groups: torch.Tensor) -> list[Moments]:
    """Mean and covariance of (G, n, d), first of all, then without each group."""
    x = groups.double()
    n = x.shape[0] * x.shape[1]
    sums, products = x.sum(1), x.transpose(1, 2) @ x
    found = []
    for left_out in (None, *range(len(x))):
        if left_out is None:
            count, total, product = n, sums.sum(0), products.sum(0)
        else:
            count = n - x.shape[1]
            total, product = sums.sum(0) - sums[left_out], products.sum(0) - products[left_out]
        mean = total / count
        found.append((mean, (product - count * torch.outer(mean, mean)) / (count - 1)))
    return found

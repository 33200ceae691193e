"""How a network's output becomes a consistency function: the scalings that make f(x, ε) = x by construction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from zoo.schedule import Schedule

Scale = TypeVar("Scale", float, torch.Tensor)


@dataclass(frozen=True)
class Boundary:
    """f(z, σ) = c_skip·z + c_out·F(c_in·z) with z = x/alpha and σ = sigma/alpha, where

        c_skip = σ_d²/((σ − ε)² + σ_d²),    c_out = σ_d·(σ − ε)/√(σ² + σ_d²),    c_in = 1/√(σ² + σ_d²),

    so that f(z, ε) = z. With σ_d = 1 and ε = 0 in a variance-preserving state this is f = alpha·x + sigma·F: the x0
    that a v-prediction v = −F means, the trigonometric form (Lu & Song 2024, arXiv:2410.11081).

    Attributes:
        sigma_data: σ_d, the standard deviation of the data as the network is told of it.
        epsilon: ε, the σ at which the trajectories end.

    References:
        Song, Dhariwal, Chen, Sutskever 2023, "Consistency Models", arXiv:2303.01469, appendix C.
    """

    sigma_data: float = 1.0
    epsilon: float = 0.0

    @property
    def is_v(self) -> bool:
        """Whether F = −v, so that a network which predicts v is a consistency function as it stands."""
        return (self.sigma_data, self.epsilon) == (1.0, 0.0)

    def scalings(self, alpha: Scale, sigma: Scale) -> tuple[Scale, Scale, Scale]:
        """c_skip, c_out and c_in for x itself, whatever its scaling: f = c_skip·x + c_out·F(c_in·x).

        Written so that nothing is divided by alpha, which may be (nearly) 0.

        Args:
            alpha, sigma: of the level, numbers or tensors.
        """
        data, beyond = self.sigma_data * alpha, sigma - self.epsilon * alpha
        width = (sigma**2 + data**2) ** 0.5
        skip = self.sigma_data * data / (beyond**2 + data**2)
        return skip, self.sigma_data * beyond / width, 1 / width


class Scaled:
    """A consistency function made of a network's raw output F, in the clothes of a network that predicts x0.

    Args:
        function: F(x, t, conditions), like a `Network`.
        schedule: the one that its times belong to.
        boundary: the scalings around it.
    """

    prediction = "x0"

    def __init__(
        self,
        function: Callable[[torch.Tensor, torch.Tensor, Sequence[Any]], torch.Tensor],
        schedule: Schedule,
        boundary: Boundary,
    ) -> None:
        self.function, self.schedule, self.boundary = function, schedule, boundary

    def __call__(self, x: torch.Tensor, t: torch.Tensor, conditions: Sequence[Any]) -> torch.Tensor:
        alpha, sigma = level_columns(self.schedule, t, x)
        skip, out, scale = self.boundary.scalings(alpha, sigma)
        return skip * x + out * self.function(scale * x, t, conditions).to(x.dtype)


def level_columns(
    schedule: Schedule, t: torch.Tensor, like: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """alpha and sigma of each row's level, (rows, 1, …), in the dtype of `like`, to multiply it with."""
    levels = [schedule.level(time) for time in t.tolist()]
    column = (-1, *[1] * (like.ndim - 1))
    alpha = like.new_tensor([level.alpha for level in levels]).view(column)
    return alpha, like.new_tensor([level.sigma for level in levels]).view(column)

"""What the samplers of Karras et al. 2022 share: their noise levels, and churn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import Field

from zoo.sampler import Noise, Sampler
from zoo.schedule import SIGMA_MAX, SIGMA_MIN, Level, Levels, Schedule

if TYPE_CHECKING:
    import torch


class KarrasSampler(Sampler):
    """Base of the samplers that solve dz/dσ = (z − x0)/σ = eps in z = x/alpha and σ = sigma/alpha.

    So they suit variance-preserving and variance-exploding models alike.

    References:
        Karras, Aittala, Aila, Laine 2022, "Elucidating the Design Space of Diffusion-Based Generative Models",
        arXiv:2206.00364, algorithm 2 and equation 5.
    """

    class Params(Sampler.Params):
        steps: int = Field(50, ge=1, le=1000, title="Steps", description="N, how many levels are visited")
        churn: float = Field(
            0.0, ge=0, le=100, title="Churn", description="S_churn, fresh noise on the way; 0 = ODE"
        )
        churn_min: float = Field(
            0.05, ge=0, title="Churn from", description="S_tmin: least sigma/alpha with churn"
        )
        churn_max: float = Field(
            50.0, ge=0, title="Churn to", description="S_tmax: greatest sigma/alpha with churn"
        )
        churn_noise: float = Field(
            1.0, ge=0.9, le=1.1, title="Churn noise", description="S_noise: inflates the fresh noise"
        )
        rho: float = Field(7.0, ge=1, le=20, title="ρ", description="the larger, the denser near the data")
        sigma_max: float = Field(
            SIGMA_MAX, gt=0, title="Greatest sigma", description="of sigma/alpha, where the model has it"
        )
        sigma_min: float = Field(
            SIGMA_MIN, gt=0, title="Least sigma", description="of sigma/alpha, where the model has it"
        )

    params: Params

    def levels(self, schedule: Schedule) -> Levels:
        """σ_i = (σ_max^{1/ρ} + i/(N − 1)·(σ_min^{1/ρ} − σ_max^{1/ρ}))^ρ within the schedule's range, then clean."""
        p = self.params
        return schedule.karras_levels(p.steps, p.sigma_min, p.sigma_max, p.rho)

    def is_stochastic(self) -> bool:
        return self.params.churn > 0

    def churned(self, x: torch.Tensor, t: Level, levels: Levels, noise: Noise) -> tuple[torch.Tensor, Level]:
        """Raise x from level t to σ̂ = (1 + γ)·σ with fresh noise, algorithm 2, lines 4 to 6:

        ẑ = z + √(σ̂² − σ²)·S_noise·ε,    γ = min(S_churn/N, √2 − 1) if S_tmin ≤ σ ≤ S_tmax, else 0.

        The noisiest level of the schedule is the most it is raised to; with γ = 0 no noise is drawn.

        Args:
            x: the state, (n, *shape), at level t.
            t: one of `levels`.
            levels: what `self.levels` gave.
            noise: draws unit noise like x.

        Returns:
            The raised state, (n, *shape), and its level.
        """
        p, sigma = self.params, t.sigma / t.alpha
        if p.churn == 0 or not p.churn_min <= sigma <= p.churn_max:
            return x, t
        assert levels.schedule is not None, "churn needs to know the schedule of the levels"
        gamma = min(p.churn / levels.steps, math.sqrt(2) - 1)
        hat = levels.schedule.level_at_sigma((1 + gamma) * sigma)
        added = (hat.sigma / hat.alpha) ** 2 - sigma**2
        if added <= 0:
            return x, t
        return hat.alpha * (x / t.alpha + math.sqrt(added) * p.churn_noise * noise()), hat

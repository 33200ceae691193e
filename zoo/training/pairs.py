"""Pairs of levels on one trajectory, between which a consistency function is to agree, and how far they are apart.

The levels of a chain are counted by j: 0 is the clean level, j that of the timestep t = j − 1. A pair is (j, r) with
r < j; at r = 0 the data itself is the target, which anchors everything above.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from zoo.schedule import DiscreteSchedule, Level
from zoo.training.teacher import LevelTable


class Chain(LevelTable):
    """The levels of a schedule by j = 0 … T.

    Attributes:
        angle: arctan(sigma/alpha), (T + 1,), in [0, π/2]: the time in which x0 and noise turn into each other evenly.
    """

    def __init__(
        self,
        schedule: DiscreteSchedule,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        levels = [Level(1.0, 0.0, None), *(schedule.level(t) for t in range(schedule.timesteps))]
        super().__init__(levels, device, dtype)
        self.timesteps = schedule.timesteps
        angles = [math.atan2(level.sigma, level.alpha) for level in levels]
        self.angle = torch.tensor(angles, dtype=dtype, device=device)

    def towards(self, x: torch.Tensor, x0: torch.Tensor, j: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
        """DDIM from x at j to r, if x0 is what lies behind it: alpha_r·x0 + (sigma_r/sigma_j)·(x − alpha_j·x0)."""
        return self.alpha[r] * x0 + self.sigma[r] / self.sigma[j] * (x - self.alpha[j] * x0)

    def solve(
        self,
        teacher: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        x: torch.Tensor,
        j: torch.Tensor,
        r: torch.Tensor,
        solver: str,
    ) -> torch.Tensor:
        """One step of the probability-flow ODE from x at j to r, by a teacher's predictions.

        Euler's, with Φ = dz/dσ = eps in z = x/alpha and σ = sigma/alpha, is DDIM's:

            z_r = z_j + (σ_r − σ_j)·eps,

        towards the data, since σ_r < σ_j. Heun's solves d(x/sigma)/d(alpha/sigma) = x0, the same ODE in the
        coordinates in which pure noise is a finite place: a DDIM step with the mean of the predictions at j and, after
        a first DDIM step, at r. Onto the clean level, about which no network is asked, it is Euler's.

        Args:
            teacher: predicts x0, unclipped, from (x, j).
            solver: euler or heun.

        References:
            Song, Dhariwal, Chen, Sutskever 2023, "Consistency Models", arXiv:2303.01469, equation 6.
        """
        x0 = teacher(x, j)
        there = self.towards(x, x0, j, r)
        if solver == "euler":
            return there
        noisy = (r > 0).view(-1, 1, 1, 1)
        later = teacher(there, r.clamp(min=1))
        return torch.where(noisy, self.towards(x, (x0 + later) / 2, j, r), there)


class Growth:
    """How many steps N the chain is cut into, as training goes on.

    doubling: N = min(N_0·2^⌊k/K'⌋, N_1), K' = ⌊K/(⌊log2(N_1/N_0)⌋ + 1)⌋   (Song & Dhariwal 2023, arXiv:2310.14189)
    root: N = ⌈√(k/K·((N_1 + 1)² − (N_0 + 1)²) + (N_0 + 1)²) − 1⌉           (Song et al. 2023, arXiv:2303.01469)

    Both papers count the levels, which are N + 1.

    Args:
        first, last: N_0 and N_1; equal ones keep N fixed.
        kind: doubling or root.
        updates: K.
    """

    def __init__(self, first: int, last: int, kind: str, updates: int) -> None:
        self.first, self.last, self.kind, self.updates = first, last, kind, updates

    def steps(self, k: int) -> int:
        """N at update k = 0 … K − 1."""
        if self.kind == "doubling":
            stages = int(math.log2(self.last / self.first)) + 1
            stage = k // max(1, self.updates // stages)
            return min(self.first << min(stage, stages), self.last)
        low, high = (self.first + 1) ** 2, (self.last + 1) ** 2
        return math.ceil(math.sqrt(k / self.updates * (high - low) + low) - 1)

    def decay(self, k: int, initial: float) -> float:
        """μ = exp((N_0 + 1)·ln μ_0/(N + 1)) of the target's weights: slower as N grows (arXiv:2303.01469)."""
        if initial == 0:
            return 0.0
        return math.exp((self.first + 1) * math.log(initial) / (self.steps(k) + 1))


def neighbours(chain: Chain, n: int, i: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Any level, and the one T/n timesteps below it, no lower than the data.

    This is the papers' grid of n + 1 levels, shifted for each row at random: so every timestep is trained, and any of
    them may be a middle level later.

    Args:
        i: the level's timestep, (B,) long.
    """
    j = i + 1
    return j, (j - round(chain.timesteps / n)).clamp(min=0)


def tightening(chain: Chain, n: int, i: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Any level, and one below it that is the nearer the larger n is: easy consistency tuning.

    r = t·(1 − (1 + 8·sigmoid(−tan t))/n), no lower than 0, with t the angle. With n = 2 the data itself is the target
    of most t, and the pair trains a denoiser; as n grows the pairs tighten, first at high noise.

    The paper's t is σ = tan t. Where there is little noise both are the same; where there is much, σ doubles
    while the picture hardly changes, and the chain of pairs from pure noise down would be many times longer.

    Args:
        i: the level's timestep, (B,) long.

    References:
        Geng, Pokle, Luo, Lin, Kolter 2024, "Consistency Models Made Easy", arXiv:2406.14548.
    """
    j = i + 1
    t = chain.angle[j]
    r = t * (1 - (1 + 8 * torch.sigmoid(-t.tan())) / n)
    below = torch.searchsorted(chain.angle, r.clamp(min=0).contiguous(), right=True) - 1
    return j, torch.minimum(below, j - 1)

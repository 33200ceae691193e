"""Restart sampling: the ODE's small discretisation error, and the contraction of errors that fresh noise brings.

Xu, Deng, Cheng, Tian, Liu, Jaakkola 2023, "Restart Sampling for Improving Generative Processes", arXiv:2306.14878,
algorithm 1, with Heun's method as the solver.
"""

from __future__ import annotations

import itertools
import math

from zoo import Field, Query, Sampler


class Restart(Sampler):
    """Heun's method from the noisiest level to the cleanest; where it passes σ_min, it goes K times from there

    up to σ_max with fresh noise,    z = z + √(σ_max² − σ_min²)·ε,    and back down by Heun's method

    in z = x/alpha and σ = sigma/alpha. σ_min is the level of the list nearest to "low". Each restart takes 2·M
    evaluations for its M steps; K = 0 is Heun's method.
    """

    class Params(Sampler.Params):
        steps: int = Field(
            18, ge=2, le=1000, title="Steps", description="N, levels of the main pass, in 2N − 1 NFE"
        )
        restarts: int = Field(2, ge=0, le=20, title="Restarts", description="K, how often it goes back up")
        restart_steps: int = Field(
            4, ge=1, le=100, title="Steps of a restart", description="M, in 2M NFE each"
        )
        low: float = Field(0.1, ge=0.01, le=100, title="Restart from", description="sigma/alpha, about")
        high: float = Field(1.0, ge=0.01, le=100, title="Restart to", description="sigma/alpha")

    params: Params

    def is_stochastic(self):
        return self.params.restarts > 0

    def order(self):
        return None if self.is_stochastic() else 2

    def levels(self, schedule):
        levels = schedule.karras_levels(self.params.steps)
        bottom, high = self.bottom(levels), self.params.high
        if self.is_stochastic() and bottom.sigma / bottom.alpha >= min(high, schedule.sigma_range[1]):
            raise ValueError(
                f"the level nearest to low={self.params.low:g} is {bottom.sigma / bottom.alpha:.3g} in "
                f"{self.params.steps} steps, which is not below high={high:g}: take more steps, or raise high"
            )
        return levels

    def evaluations(self, levels):
        return 2 * levels.steps - 1 + 2 * self.params.restart_steps * self.params.restarts

    def sample(self, x, levels, noise):
        bottom = self.bottom(levels)
        for t, s in levels.pairs():
            x = yield from self.heun(x, t, s)
            if s == bottom:
                for _ in range(self.params.restarts):
                    x = yield from self.restart(x, s, levels.schedule, noise)
        return x

    def bottom(self, levels):
        """The noisy level nearest to "low" that the main pass arrives at."""
        return min(levels[1:-1], key=lambda level: abs(math.log(level.sigma / level.alpha / self.params.low)))

    def restart(self, x, bottom, schedule, noise):
        """Up with fresh noise, and down again; x belongs to the level `bottom`."""
        sigma = bottom.sigma / bottom.alpha
        *way, _ = schedule.karras_levels(self.params.restart_steps + 1, sigma, self.params.high)
        way[-1] = bottom
        top = way[0]
        added = (top.sigma / top.alpha) ** 2 - sigma**2
        x = top.alpha * (x / bottom.alpha + math.sqrt(added) * noise())
        for t, s in itertools.pairwise(way):
            x = yield from self.heun(x, t, s)
        return x

    def heun(self, x, t, s):
        """One step; Euler's onto the clean level."""
        prediction = yield Query(x, t)
        x = s.alpha * prediction.x0 + s.sigma * prediction.eps
        if not s.is_clean:
            eps = (yield Query(x, s)).eps
            x = x + s.alpha * (s.sigma / s.alpha - t.sigma / t.alpha) * (eps - prediction.eps) / 2
        return x

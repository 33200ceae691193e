"""Consistency models: straight to the end of the ODE, then, if wanted, back to less noise and to the end again.

Song, Dhariwal, Chen, Sutskever 2023, "Consistency Models", arXiv:2303.01469, algorithm 1.
Luo, Tan, Huang, Li, Zhao 2023, "Latent Consistency Models", arXiv:2310.04378, algorithm 3.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from zoo import Field, Level, Levels, Query, Sampler, SamplerSpec, hookimpl


def noised(x0: Any, clean: Level, s: Level, noise: Any) -> Any:
    """The forward process from the clean level to s, with fresh noise z:

    x_s = (alpha_s/alpha_c)·x0 + √(sigma_s² − (alpha_s·sigma_c/alpha_c)²)·z,

    which is x0 + √(τ² − ε²)·z where variance explodes and the clean level is ε, and alpha_s·x0 + sigma_s·z where
    variance is preserved and the clean level has no noise.
    """
    ratio = s.alpha / clean.alpha
    return ratio * x0 + math.sqrt(s.sigma**2 - (ratio * clean.sigma) ** 2) * noise()


class Consistency(Sampler):
    """x0 = f(x_t, t), the end of the ODE through x_t; x_s = x0 noised afresh to the next level; x0 = f(x_s, s) …

    One step is deterministic, the others draw noise.
    """

    class Params(Sampler.Params):
        steps: int = Field(1, ge=1, le=8, title="Steps", description="evaluations; 1 is deterministic")
        recipe: Literal["tuning", "distillation", "training", "other"] = Field(
            "tuning", title="Recipe", description="how the network was made; other: it came from elsewhere"
        )
        middle: str = Field(
            "",
            max_length=200,
            title="Middle levels",
            description="sigma/alpha of each step after the first, such as 2.4,1,0.4; empty: evenly in arctan",
        )

    params: Params

    def requires(self):
        return (self.role,)

    @property
    def role(self):
        """A network from elsewhere, alone in its model, does not say how it was made."""
        return "consistency" if self.params.recipe == "other" else f"consistency/{self.params.recipe}"

    def is_stochastic(self):
        return self.params.steps > 1

    def levels(self, schedule):
        """The noisiest level, `middle` or levels evenly in arctan(sigma/alpha), and the clean one."""
        start, clean = schedule.levels(1)
        n = self.params.steps
        if self.params.middle:
            sigmas = _numbers(self.params.middle)
        else:
            sigmas = [math.tan(math.atan2(start.sigma, start.alpha) * (n - i) / n) for i in range(1, n)]
        low, high = schedule.sigma_range
        descending = sigmas == sorted(set(sigmas), reverse=True)
        if len(sigmas) != n - 1 or not descending or not all(low < sigma < high for sigma in sigmas):
            raise ValueError(
                f"middle={self.params.middle!r}: {n} steps need {n - 1} levels there, descending in sigma/alpha "
                f"within {low:.3g} … {high:.3g}, such as 2.4,1,0.4 for 4 steps"
            )
        return Levels([start, *map(schedule.level_at_sigma, sigmas), clean], schedule)

    def sample(self, x, levels, noise):
        for t, s in levels.pairs():
            x0 = (yield Query(x, t, self.role)).x0
            x = x0 if s.is_clean else noised(x0, levels[-1], s, noise)
        return x


class LatentConsistency(Sampler):
    """The same by a network that knows the levels of its distillation only, and gets the guidance scale as an input.

    The levels are `steps` of the timesteps k, 2k, … T (less 1), k = T/distilled_levels, evenly by their index.
    """

    class Params(Sampler.Params):
        steps: int = Field(4, ge=1, le=50, title="Steps", description="evaluations; 1 is deterministic")
        scale: float = Field(
            8.5, ge=0, le=50, title="Guidance scale", description="1 = off; the network's w is scale − 1"
        )
        distilled_levels: int = Field(
            50, ge=1, le=1000, title="Levels of the distillation", description="50 in all published networks"
        )

    params: Params

    def requires(self):
        return ("lcm",)

    def is_stochastic(self):
        return self.params.steps > 1

    def levels(self, schedule):
        total, n, known = getattr(schedule, "timesteps", 0), self.params.steps, self.params.distilled_levels
        if not n <= known <= total:
            raise ValueError(
                f"steps={n}, distilled_levels={known}: the steps are some of the levels of the distillation, and those "
                f"some of the timesteps of a discrete schedule, of which this model has {total}"
            )
        k = total // known
        visited = [(known - i * known // n) * k - 1 for i in range(n)]
        return Levels([*map(schedule.level, visited), schedule.clean], schedule)

    def sample(self, x, levels, noise):
        for t, s in levels.pairs():
            x0 = (yield Query(x, t, "lcm", told_scale=self.params.scale)).x0
            x = x0 if s.is_clean else s.alpha * x0 + s.sigma * noise()
        return x


def _numbers(text: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise ValueError(
            f"middle={text!r}: expected numbers with commas between, such as 2.4,1,0.4"
        ) from None


@hookimpl
def register_samplers():
    return [
        SamplerSpec(
            "consistency",
            Consistency,
            title="Consistency model",
            summary="A network says at once where the probability-flow ODE ends. Each further step puts fresh noise "
            "on its answer, less every time, and asks again.",
            paper="2303.01469",
            equation=r"\hat x_0 = f_\theta(x_t, t), \qquad x_s = \alpha_s\,\hat x_0 + \sigma_s z",
            cost="One evaluation a step, one to a few steps; and the training of its network.",
            when="When one or two evaluations must do. The first jumps to the end; each further one goes back to less "
            "noise and jumps again.",
        ),
        SamplerSpec(
            "lcm",
            LatentConsistency,
            title="Latent consistency",
            summary="A network distilled from a guided teacher says at once where the guided ODE ends. It takes the "
            "guidance scale as an input, and each further step puts fresh noise on its answer and asks again.",
            paper="2310.04378",
            equation=r"\hat x_0 = f_\theta(x_t, t, w), \qquad x_s = \alpha_s\,\hat x_0 + \sigma_s z,"
            r"\quad w = \text{scale} - 1",
            cost="One evaluation a step, guidance included, 1 to 8 steps.",
            when="With a network that was distilled for it. It needs no guidance around it: the scale goes into the "
            "network.",
        ),
    ]

"""How far a deterministic method is from the solution of its own ODE, from the same noise."""

from __future__ import annotations

import math

import torch

from zoo.metric import Absent, Finished, Metric, Score
from zoo.metrics.intervals import mean_interval
from zoo.sampler import Noise, Queries, Query, Sampler
from zoo.schedule import Level, Levels, Schedule

STEPS = 100
"""Of the fine solution, two evaluations each but the last."""


class FineSolution(Sampler):
    """The probability-flow ODE in many second-order steps, from the schedule's noisiest level to its clean one.

    With x0 at t, and x0' at the first-order (DDIM) step's end, the step from level t to s is

        x_s = (sigma_s/sigma_t)·x + (alpha_s − alpha_t·sigma_s/sigma_t)·(x0 + x0')/2,

    the two-stage exponential integrator of Lu et al. 2022 (DPM-Solver++(2S), arXiv:2211.01095) with its second stage
    at the end of the step. The levels are dense near the data: tan φ = sigma/alpha, with √φ evenly spaced.
    """

    class Params(Sampler.Params):
        steps: int = STEPS

    params: Params

    def levels(self, schedule: Schedule) -> Levels:
        noisiest, cleanest, end = schedule.levels(2, "linspace")
        high, low = (math.atan2(level.sigma, level.alpha) for level in (noisiest, cleanest))
        steps = self.params.steps
        between = [low + (high - low) * (i / (steps - 1)) ** 2 for i in range(steps - 2, 0, -1)]
        middle = [schedule.level_at(-2 * math.log(math.tan(angle))) for angle in between]
        return Levels([noisiest, *middle, cleanest, end])

    def evaluations(self, levels: Levels) -> int:
        return 2 * levels.steps - 1

    def sample(self, x: torch.Tensor, levels: Levels, noise: Noise) -> Queries:
        for t, s in levels.pairs():
            x0 = (yield Query(x, t)).x0
            if not s.is_clean:
                x0 = (x0 + (yield Query(_step(x, x0, t, s), s)).x0) / 2
            x = _step(x, x0, t, s)
        return x


class SolutionError(Metric):
    """Root mean square distance of each sample from the fine-step solution from the same noise; the mean over images.

    It tells how well a solver solves, not how good the pictures are: the solution itself is only as good as the
    network. On tinyworld, where clipping makes the ODE less smooth, it is exact to about 0.003 (100 steps against
    200), so that smaller errors cannot be told apart.

    Methods that start at a cleaner level than the schedule's noisiest (leading spacing does) take the same noise
    for a state that it is not, and that counts as error. A distilled network is held against the denoiser's solution.
    """

    solves = True

    def score(self, cell: Finished) -> Score:
        if "denoiser" not in cell.model.roles:
            raise Absent(f"{cell.model.name} has no denoiser to solve with")
        return distance(cell.samples, cell.solution())


def distance(samples: torch.Tensor, exact: torch.Tensor) -> Score:
    """RMSE per image, √(mean over its elements of (sample − exact)²), and its mean over images."""
    errors = (samples.double() - exact.double()).flatten(1).square().mean(1).sqrt()
    mean, low, high = mean_interval(errors)
    return Score(mean, len(errors), low, high, better="lower")


def _step(x: torch.Tensor, x0: torch.Tensor, t: Level, s: Level) -> torch.Tensor:
    ratio = s.sigma / t.sigma
    return ratio * x + (s.alpha - t.alpha * ratio) * x0

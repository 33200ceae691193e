"""The forward process on a picture: noise in one draw and noise step by step, under several schedules.

Ho, Jain, Abbeel 2020, "Denoising Diffusion Probabilistic Models", arXiv:2006.11239, equations 2 and 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zoo.noise import unit_noise
from zoo.schedule import DiscreteSchedule, Level

Array = npt.NDArray[np.float64]

SCHEDULES: Mapping[str, DiscreteSchedule] = {
    "linear": DiscreteSchedule.linear(),
    "scaled linear": DiscreteSchedule.scaled_linear(),
    "cosine": DiscreteSchedule.cosine(),
}
"""The schedules that are set side by side."""


def closed_form(x0: Array, level: Level, eps: Array) -> Array:
    """x_t = alpha_t·x_0 + sigma_t·eps, in one draw (equation 4)."""
    x_t: Array = level.alpha * x0 + level.sigma * eps
    return x_t


def step_by_step(x0: Array, schedule: DiscreteSchedule, seed: int = 0) -> Iterator[Array]:
    """x_t = √(1 − β_t)·x_{t−1} + √β_t·z_t for t = 0 … T − 1, each z_t drawn afresh (equation 2)."""
    x = x0
    for t, beta in enumerate(betas(schedule)):
        x = np.sqrt(1 - beta) * x + np.sqrt(beta) * unit_noise(seed, t + 1, x0.shape)
        yield x


def betas(schedule: DiscreteSchedule) -> Array:
    """β_t = 1 − ᾱ_t/ᾱ_{t−1}, (T,), with ᾱ = 1 before the first step."""
    before = np.append(1.0, schedule.alphas_cumprod[:-1])
    return np.asarray(1 - schedule.alphas_cumprod / before, dtype=np.float64)


@dataclass(frozen=True)
class Noised:
    """A picture at some timesteps of one schedule.

    Attributes:
        levels: k of them, cleanest first.
        direct: noised in one draw, (k, *shape), with the same noise at every level.
        stepped: noised step by step, (k, *shape).
        mean, std: of the noise that is in `stepped`, (x_t − alpha_t·x_0)/sigma_t, at each level: 0 and 1 but for
            chance, if the steps add up to the closed form.
    """

    levels: tuple[Level, ...]
    direct: Array
    stepped: Array
    mean: tuple[float, ...]
    std: tuple[float, ...]


def noised(x0: Array, schedule: DiscreteSchedule, times: Sequence[int], seed: int = 0) -> Noised:
    """A picture at these timesteps, both ways.

    Args:
        x0: within [-1, 1], any shape.
        times: within 0 … T − 1, ascending.
        seed: of the noise.
    """
    eps = unit_noise(seed, 0, x0.shape)
    levels = tuple(schedule.level(t) for t in times)
    stepped = np.stack([x for t, x in enumerate(step_by_step(x0, schedule, seed)) if t in set(times)])
    left = [(x - level.alpha * x0) / level.sigma for x, level in zip(stepped, levels, strict=True)]
    return Noised(
        levels,
        np.stack([closed_form(x0, level, eps) for level in levels]),
        stepped,
        tuple(float(noise.mean()) for noise in left),
        tuple(float(noise.std()) for noise in left),
    )

"""Consistency models in pixels: `ConsistencyModelPipeline`.

Song et al. 2023, "Consistency Models", arXiv:2303.01469, appendix C.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from zoo.models.elsewhere.base import class_rows
from zoo.models.elsewhere.parts import SCHEDULER, inside
from zoo.models.elsewhere.pixel import PixelModel
from zoo.schedule import KarrasSchedule, Level, Schedule


class PixelConsistencyModel(PixelModel):
    """A consistency function over pixels, x = x_0 + sigma·eps, which ends at sigma_min instead of 0."""

    roles = ("consistency",)

    def _set_up(self) -> None:
        self._alone, self._kind = False, "x0"
        self.part("scheduler", "CMStochasticIterativeScheduler")
        defaults = {
            "sigma_min": 0.002,
            "sigma_max": 80.0,
            "sigma_data": 0.5,
            "rho": 7.0,
            "clip_denoised": True,
        }
        given = {**defaults, **self.source.json(inside(self.folder("scheduler", SCHEDULER), SCHEDULER))}
        low, high, self.sigma_data = given["sigma_min"], given["sigma_max"], given["sigma_data"]
        self.schedule = KarrasSchedule(low, high, given["rho"], clean=Level(1.0, low, None))
        self._training = {"clip_sample": given["clip_denoised"]}

    def load(self, role: str, device: torch.device, dtype: torch.dtype) -> Any:
        module = self.module(device, dtype)
        return ConsistencyFunction(module, self.schedule, self.sigma_data, dtype, bool(self.labels))


class ConsistencyFunction:
    """f(x, σ) = c_skip·x + c_out·F(c_in·x, 250·ln σ), which is x itself at ε = sigma_min:

    c_skip = σd²/((σ − ε)² + σd²),    c_out = σd·(σ − ε)/√(σ² + σd²),    c_in = 1/√(σ² + σd²)

    The answer is a sample and no posterior mean.
    """

    prediction = "x0"

    def __init__(
        self, module: Any, schedule: Schedule, sigma_data: float, dtype: torch.dtype, by_class: bool
    ) -> None:
        assert isinstance(schedule, KarrasSchedule)
        self.module, self.schedule, self.dtype, self.by_class = module, schedule, dtype, by_class
        self.sigma_data, self.epsilon = sigma_data, schedule.sigma_min

    def __call__(self, x: torch.Tensor, t: torch.Tensor, conditions: Sequence[int | None]) -> torch.Tensor:
        sigma = t.to(x.dtype).view(-1, *[1] * (x.ndim - 1))
        data, above = self.sigma_data, sigma - self.epsilon
        length = (sigma**2 + data**2).sqrt()
        labels = class_rows(conditions, x.device) if self.by_class else None
        output = self.module(
            (x / length).to(self.dtype, memory_format=torch.channels_last),
            250 * t.clamp(min=math.exp(-80)).log(),
            class_labels=labels,
            return_dict=False,
        )[0]
        skip = data**2 / (above**2 + data**2)
        out = data * above / length
        answer: torch.Tensor = skip * x + out * output.to(x.dtype)
        return answer

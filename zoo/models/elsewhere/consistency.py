"""Consistency models in pixels: `ConsistencyModelPipeline`.

Song et al. 2023, "Consistency Models", arXiv:2303.01469, appendix C.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from zoo.consistency import Boundary, Scaled
from zoo.models.elsewhere.base import class_rows
from zoo.models.elsewhere.parts import SCHEDULER, inside
from zoo.models.elsewhere.pixel import PixelModel
from zoo.schedule import KarrasSchedule, Level


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
        low, high = given["sigma_min"], given["sigma_max"]
        self.schedule = KarrasSchedule(low, high, given["rho"], clean=Level(1.0, low, None))
        self.boundary = Boundary(given["sigma_data"], low)
        self._training = {"clip_sample": given["clip_denoised"]}

    def load(self, role: str, device: torch.device, dtype: torch.dtype) -> Any:
        output = Output(self.module(device, dtype), dtype, bool(self.labels))
        return Scaled(output, self.schedule, self.boundary)


class Output:
    """F(x, 250·ln σ), what diffusers' `UNet2DModel` answers within the scalings of a `Boundary`."""

    def __init__(self, module: Any, dtype: torch.dtype, by_class: bool) -> None:
        self.module, self.dtype, self.by_class = module, dtype, by_class

    def __call__(self, x: torch.Tensor, t: torch.Tensor, conditions: Sequence[int | None]) -> torch.Tensor:
        output: torch.Tensor = self.module(
            x.to(self.dtype, memory_format=torch.channels_last),
            250 * t.log(),
            class_labels=class_rows(conditions, x.device) if self.by_class else None,
            return_dict=False,
        )[0]
        return output

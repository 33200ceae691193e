"""Networks of latent consistency distillation, as a model from elsewhere carries them in its role `lcm`.

Luo, Tan, Huang, Li, Zhao 2023, "Latent Consistency Models", arXiv:2310.04378.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from zoo.consistency import level_columns
from zoo.schedule import DiscreteSchedule


def guidance_embedding(scales: torch.Tensor, width: int) -> torch.Tensor:
    """What the network is told of guidance, with w = scale − 1 and f_i = 10000^(−i/(width/2 − 1)):

        [sin(1000·w·f), cos(1000·w·f)].

    Args:
        scales: guidance scales, 1 is without, (rows,).
        width: of the embedding, even, at least 4; `time_cond_proj_dim` of a `UNet2DConditionModel`.

    References:
        Kingma et al. 2021, arXiv:2107.00630, whose embedding of time it is.
    """
    half = width // 2
    steps = torch.arange(half, dtype=torch.float32, device=scales.device)
    # In the order of operations that networks were trained with: fp32 rounds angles of thousands to 1e-3.
    angles = (1000 * (scales.float() - 1))[:, None] * torch.exp(steps * -(math.log(10_000) / (half - 1)))
    return torch.cat([angles.sin(), angles.cos()], 1)


class LatentConsistencyUNet:
    """diffusers' `UNet2DConditionModel` with an input for guidance as a consistency function:

        f(x, t) = c_skip·x + c_out·x0,    c_skip = σ_d²/((10·t)² + σ_d²),    c_out = 10·t/√((10·t)² + σ_d²),

    where x0 is what its output means, t the timestep and σ_d = 0.5.

    Args:
        module: the network; its embedding of guidance is left out where it has none (`time_cond_proj_dim`).
        schedule: the one that it was distilled on.
        kind: what its output is, mostly eps.
        time_scale: the factor of t, 10 in all published networks.

    References:
        arXiv:2310.04378, appendix D.
    """

    prediction = "x0"
    sigma_data = 0.5

    def __init__(self, module: Any, schedule: DiscreteSchedule, kind: str = "eps", time_scale: float = 10.0):
        if kind not in ("eps", "v", "x0"):
            raise ValueError(f"a network that predicts {kind!r} is not supported; eps, v and x0 are")
        self.module, self.schedule, self.kind, self.time_scale = module, schedule, kind, time_scale

    def __call__(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        conditions: Sequence[torch.Tensor],
        scales: torch.Tensor,
        residuals: Sequence[torch.Tensor] = (),
    ) -> torch.Tensor:
        dtype, width = self.module.dtype, self.module.config.time_cond_proj_dim
        added = [residual.to(dtype) for residual in residuals]
        output = self.module(
            x.to(dtype),
            t,
            timestep_cond=None if width is None else guidance_embedding(scales, width).to(dtype),
            encoder_hidden_states=torch.stack(list(conditions)).to(dtype),
            down_block_additional_residuals=tuple(added[:-1]) if added else None,
            mid_block_additional_residual=added[-1] if added else None,
            return_dict=False,
        )[0].to(x.dtype)
        time = self.time_scale * t.view(-1, *[1] * (x.ndim - 1))
        width_of_time = (time**2 + self.sigma_data**2).sqrt()
        skip, out = (self.sigma_data / width_of_time) ** 2, time / width_of_time
        return skip * x + out * self._x0(output, x, t)

    def _x0(self, output: torch.Tensor, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        alpha, sigma = level_columns(self.schedule, t, x)
        if self.kind == "eps":
            return (x - sigma * output) / alpha
        return output if self.kind == "x0" else alpha * x - sigma * output

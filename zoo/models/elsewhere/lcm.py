"""Latent consistency models: `LatentConsistencyModelPipeline`.

Luo, Tan, Huang, Li, Zhao 2023, "Latent Consistency Models", arXiv:2310.04378.
"""

from __future__ import annotations

from typing import Any

import torch

from zoo.models.elsewhere.latent import StableDiffusion
from zoo.models.lcm import LatentConsistencyUNet
from zoo.schedule import DiscreteSchedule


class LatentConsistencyModel(StableDiffusion):
    """A Stable Diffusion U-Net distilled into a consistency function, which takes the guidance scale as an input."""

    roles = ("lcm", "decoder")

    def prediction_kind(self, role: str) -> str:
        return "x0" if role == "lcm" else ""

    def _load_network(self, role: str, device: torch.device, dtype: torch.dtype) -> Any:
        network = super()._load_network(role, device, dtype)
        if role != "lcm":
            return network
        assert isinstance(self.schedule, DiscreteSchedule)
        scaling = float(self.training.config.get("timestep_scaling", 10.0))
        return LatentConsistencyUNet(network.module, self.schedule, self.training.prediction, scaling)

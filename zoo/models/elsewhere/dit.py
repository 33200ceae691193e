"""Transformers over latents, by class: `DiTPipeline`.

Peebles & Xie 2023, "Scalable Diffusion Models with Transformers", arXiv:2212.09748.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from zoo.models.elsewhere.base import ByClass, class_rows
from zoo.models.elsewhere.labels import Labels
from zoo.models.elsewhere.latent import LatentModel
from zoo.models.elsewhere.parts import Weights, variant_of
from zoo.models.elsewhere.source import Source
from zoo.schedule import Schedule


class DiT(LatentModel, ByClass):
    """A transformer that has learned its variance too; the prompt is one of ImageNet's classes, or none."""

    def __init__(self, source: Source) -> None:
        super().__init__(source, "transformer")
        self.part("transformer", "DiTTransformer2DModel", "Transformer2DModel")
        # One embedding more than there are classes: that of no class.
        self.null = int(self.config["num_embeds_ada_norm"])
        self.labels = Labels(self.null, self.index.get("id2label"))

    def learns_variance(self, role: str) -> bool:
        return role == "denoiser" and self.config.get("out_channels") == 2 * self.shape[0]

    def _load_network(self, role: str, device: torch.device, dtype: torch.dtype) -> Any:
        from diffusers import DiTTransformer2DModel

        weights = Weights.find(self.source, "transformer", variant=variant_of(dtype))
        module = weights.diffusers(DiTTransformer2DModel, dtype).to(device)
        return ClassNetwork(module, self.schedule, self.training.prediction, dtype)


class ClassNetwork:
    """diffusers' `DiTTransformer2DModel` as a network; its conditions are numbers of classes."""

    def __init__(self, module: Any, schedule: Schedule, prediction: str, dtype: torch.dtype) -> None:
        self.module, self.dtype = module, dtype
        self.schedule, self.prediction = schedule, prediction

    def __call__(self, x: torch.Tensor, t: torch.Tensor, conditions: Sequence[int | None]) -> torch.Tensor:
        labels = class_rows(conditions, x.device)
        output: torch.Tensor = self.module(
            x.to(self.dtype), timestep=t, class_labels=labels, return_dict=False
        )[0]
        return output

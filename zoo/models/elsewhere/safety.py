"""The safety checker that some models carry."""

from __future__ import annotations

import torch

from zoo.models.elsewhere.parts import TRANSFORMERS, Weights
from zoo.models.elsewhere.source import Source, matching


class SafetyChecker:
    """Stable Diffusion's own: pictures close to one of its concepts become black.

    Args:
        source: a model with safety_checker/ and feature_extractor/.
        device: where it runs.

    Raises:
        OSError: its files are missing, or pickled.
    """

    def __init__(self, source: Source, device: torch.device) -> None:
        from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
        from transformers import CLIPImageProcessor

        for file in matching(source.files, "feature_extractor"):
            source.path(file)
        self.processor = CLIPImageProcessor.from_pretrained(
            source.path("feature_extractor/preprocessor_config.json").parent
        )
        weights = Weights.find(source, "safety_checker", TRANSFORMERS)
        self.module = weights.transformers(StableDiffusionSafetyChecker, torch.float32).to(device)

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        """The pictures (n, 3, H, W) within [-1, 1], those that it objects to black."""
        from zoo.store import to_pil

        seen = self.processor([to_pil(picture.cpu()) for picture in pictures], return_tensors="pt")
        device = self.module.visual_projection.weight.device
        _, objections = self.module(images=pictures.clone(), clip_input=seen.pixel_values.to(device))
        refused = torch.tensor(objections, device=pictures.device).view(-1, 1, 1, 1)
        return torch.where(refused, -torch.ones_like(pictures), pictures)

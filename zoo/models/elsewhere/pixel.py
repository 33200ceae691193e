"""Pixel models: `DDPMPipeline`, `DDIMPipeline`, or a `UNet2DModel` alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from zoo.models.elsewhere.base import ByClass, class_rows
from zoo.models.elsewhere.labels import Labels
from zoo.models.elsewhere.parts import CONFIG, SCHEDULER, Training, Weights, inside, square, variant_of
from zoo.models.elsewhere.source import Source
from zoo.prediction import clip, dynamic_threshold
from zoo.schedule import Schedule

ALONE = {"_class_name": "DDPMScheduler", "num_train_timesteps": 1000}
"""What a network saved without a scheduler is taken to have been trained on: β linear, eps (Ho et al. 2020)."""


class PixelModel(ByClass):
    """An unconditional or class-conditional U-Net over pixels, grey or in colour.

    Its prompt is a class: a number, or a name where model_index.json has an `id2label`.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        if self.index:
            self.part("unet", "UNet2DModel")
        self._folder = self.folder("unet", CONFIG)
        self.config = source.json(inside(self._folder, CONFIG))
        self.weights = Weights.find(source, self._folder)
        channels = self.config.get("in_channels", 3)
        if channels not in (1, 3):
            raise ValueError(f"{self.name}: pictures have 1 or 3 channels, these {channels}")
        self.shape = (channels, *square(self.config, self.name))
        self.labels = labels_of(self.config, self.index, self.name)
        self._learns_variance: bool = self.config.get("out_channels", 3) == 2 * channels
        self._set_up()

    def _set_up(self) -> None:
        """Schedule and roles; another kind of pixel model has others."""
        self._alone = not self.index
        folder = self.folder("scheduler", SCHEDULER)
        training = Training.of(ALONE, self.name) if self._alone else Training.read(self.source, folder)
        self.schedule: Schedule = training.schedule
        self._training, self._kind = training.config, training.prediction

    def load(self, role: str, device: torch.device, dtype: torch.dtype) -> Any:
        return PixelNetwork(self.module(device, dtype), self.schedule, self._kind, dtype, bool(self.labels))

    def module(self, device: torch.device, dtype: torch.dtype) -> Any:
        """The U-Net itself."""
        from diffusers import UNet2DModel

        weights = Weights.find(self.source, self._folder, variant=variant_of(dtype))
        return weights.diffusers(UNet2DModel, dtype).to(device, memory_format=torch.channels_last)

    def size(self, role: str, dtype: torch.dtype) -> int:
        return self.weights.size(dtype)

    def prediction_kind(self, role: str) -> str:
        return self._kind

    def learns_variance(self, role: str) -> bool:
        return self._learns_variance

    def notices(self, text: str) -> list[str]:
        assumed = (
            f"{self.title} was saved without a scheduler: taken for eps-prediction on DDPM's linear schedule."
        )
        return super().notices(text) + ([assumed] if self._alone else [])

    def project(self, x0: torch.Tensor, threshold: str | float) -> torch.Tensor:
        """As the model's own scheduler does it, where the query leaves that to the model."""
        if threshold != "model":
            return super().project(x0, threshold)
        if self._training.get("thresholding"):
            return dynamic_threshold(x0, self._training["dynamic_thresholding_ratio"])
        if self._training.get("clip_sample", False):
            limit = float(self._training.get("clip_sample_range", 1.0))
            return clip(x0, -limit, limit)
        return x0

    def pictures(self, x: torch.Tensor) -> torch.Tensor:
        return super().pictures(x).expand(-1, 3, -1, -1)


class PixelNetwork:
    """diffusers' `UNet2DModel` as a network; with classes, its conditions are their numbers."""

    def __init__(
        self, module: Any, schedule: Schedule, prediction: str, dtype: torch.dtype, by_class: bool
    ) -> None:
        self.module, self.dtype, self.by_class = module, dtype, by_class
        self.schedule, self.prediction = schedule, prediction

    def __call__(self, x: torch.Tensor, t: torch.Tensor, conditions: Sequence[int | None]) -> torch.Tensor:
        rows = x.to(self.dtype, memory_format=torch.channels_last)
        labels = class_rows(conditions, x.device) if self.by_class else None
        output: torch.Tensor = self.module(rows, t, class_labels=labels, return_dict=False)[0]
        return output


def labels_of(config: dict[str, Any], index: dict[str, Any], name: str) -> Labels | None:
    """The classes that a U-Net's configuration speaks of; None if it is unconditional.

    Raises:
        ValueError: it is conditioned in another way.
    """
    if config.get("class_embed_type") is not None:
        raise ValueError(
            f"{name}: class_embed_type {config['class_embed_type']!r} takes no class by its number"
        )
    count = config.get("num_class_embeds")
    return None if count is None else Labels(count, index.get("id2label"))

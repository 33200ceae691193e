"""The ControlNets of a latent model: its own, those in its folder control/, and those that a list of models adds.

Zhang, Rao, Agrawala 2023, "Adding Conditional Control to Text-to-Image Diffusion Models", arXiv:2302.05543.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import torch

from zoo.models.elsewhere.parts import CONFIG, Weights, inside
from zoo.models.elsewhere.source import Source
from zoo.schedule import Schedule


class ControlNetwork:
    """diffusers' `ControlNetModel`: what it adds to each block of the U-Net that it was copied from."""

    def __init__(self, module: Any, schedule: Schedule, dtype: torch.dtype) -> None:
        self.module, self.schedule, self.dtype = module, schedule, dtype

    def __call__(
        self, x: torch.Tensor, t: torch.Tensor, conditions: Sequence[torch.Tensor], maps: torch.Tensor
    ) -> list[torch.Tensor]:
        """The residuals, (rows, …) each.

        Args:
            x: latents, (rows, C, h, w).
            t: timesteps, (rows,).
            conditions: embeddings of the prompts, one a row.
            maps: control maps at the size of the pictures, (rows, 3, H, W) within [0, 1].
        """
        down, mid = self.module(
            x.to(self.dtype, memory_format=torch.channels_last),
            t,
            encoder_hidden_states=torch.stack(list(conditions)).to(self.dtype),
            controlnet_cond=maps.to(self.dtype, memory_format=torch.channels_last),
            return_dict=False,
        )
        return [*down, mid]


def own_controls(source: Source, index: dict[str, Any]) -> dict[str, Weights]:
    """The ControlNets among a model's files, by role: control/NAME.

    Raises:
        OSError: one of them has no weights, or pickled ones.
    """
    parts = {
        part.as_posix(): part.as_posix()
        for part in (PurePosixPath(file).parent for file in source.files if file.endswith(f"/{CONFIG}"))
        if part.parent.as_posix() == "control"
    }
    if index.get("controlnet") == ["diffusers", "ControlNetModel"]:
        parts[f"control/{control_name(source.json(inside('controlnet', CONFIG)))}"] = "controlnet"
    return {role: Weights.find(source, part) for role, part in parts.items()}


def control_name(config: dict[str, Any]) -> str:
    """What a ControlNet was made for, as the name that it was loaded by tells: `sd-controlnet-canny`; else "map"."""
    words = re.split(r"[-_/\\]", str(config.get("_name_or_path", "")))
    return words[-1] if words[-1].isalpha() and len(words) > 1 else "map"

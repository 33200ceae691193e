"""A classifier of noisy pictures, for classifier guidance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.unets.unet_2d_blocks import DownBlock2D, UNetMidBlock2D
from torch import nn

from zoo.models.saved import load_saved
from zoo.schedule import Schedule

FAINT = 0.06
"""The alpha below which a picture is too faint for a trained classifier's gradient to be more than chance."""


class NoisyClassifier(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """log p(class | x_t): the descending half of diffusers' U-Net, averaged over the picture, and a linear head.

    Args:
        classes: what it chooses from, in the order of its logits.
        channels: width at full resolution, a half, a quarter, …; self-attention at the last.
        layers: residual blocks per resolution.
        norm_groups: groups of the group norms.

    References:
        Dhariwal & Nichol 2021, arXiv:2105.05233, section 4.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        classes: Sequence[str],
        channels: Sequence[int] = (32, 64, 128),
        layers: int = 1,
        norm_groups: int = 8,
    ) -> None:
        super().__init__()
        first, last = channels[0], channels[-1]
        width = 4 * first
        common = {"resnet_groups": norm_groups, "resnet_time_scale_shift": "scale_shift"}
        self.time_proj = Timesteps(first, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(first, width)
        self.conv_in = nn.Conv2d(3, first, 3, padding=1)
        self.down_blocks = nn.ModuleList()
        for i, (before, after) in enumerate(zip((first, *channels[:-1]), channels, strict=True)):
            halve = i < len(channels) - 1
            block = DownBlock2D(before, after, width, num_layers=layers, add_downsample=halve, **common)
            self.down_blocks.append(block)
        self.mid_block = UNetMidBlock2D(
            last, width, attention_head_dim=last // 4, attn_groups=norm_groups, **common
        )
        self.norm_out = nn.GroupNorm(norm_groups, last)
        self.head = nn.Linear(last, len(classes))

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Logits (n, classes).

        Args:
            x: noisy pictures, (n, 3, H, W), in the scaling of the schedule it was trained on.
            t: their timesteps, (n,).
        """
        time = self.time_embedding(self.time_proj(t).to(x.dtype))
        hidden = self.conv_in(x)
        for block in self.down_blocks:
            hidden, _ = block(hidden, time)
        hidden = nn.functional.silu(self.norm_out(self.mid_block(hidden, time)))
        logits: torch.Tensor = self.head(hidden.mean((2, 3)))
        return logits


class FolderClassifier:
    """A `NoisyClassifier` that `zoo train classifier` wrote, as a `zoo.model.Classifier`.

    The exact ∇ log p(class | x_t) vanishes like alpha_t, since noise alone tells nothing, and guidance relies on it: it
    moves x0 by sigma²/alpha_t times the gradient. A network's gradient keeps some noise where alpha_t is nearly 0,
    which would fill x0 with that noise. So its logits count min(1, alpha_t / FAINT).

    In half precision its gradient would underflow: it stays in single precision where float16 is asked for.
    """

    def __init__(self, folder: Path, schedule: Schedule, device: torch.device, dtype: torch.dtype) -> None:
        self.dtype = torch.float32 if dtype == torch.float16 else dtype
        module = load_saved(NoisyClassifier, folder, self.dtype)
        self.module = module.to(device, memory_format=torch.channels_last)
        self.schedule = schedule
        self.classes: Sequence[str] = module.config.classes

    def __call__(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.module(x.to(self.dtype, memory_format=torch.channels_last), t)
        counted = [min(1.0, self.schedule.level(time).alpha / FAINT) for time in t.tolist()]
        return logits * torch.tensor(counted, dtype=logits.dtype, device=logits.device).view(-1, 1)

"""diffusers' U-Net as a network, over pixels and over latents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from zoo.schedule import Schedule


class UNet:
    """diffusers' `UNet2DConditionModel` as a `zoo.model.Network`; its conditions are embeddings of texts.

    It may be given what ControlNets add, as they gave it.

    Args:
        module: the network, on its device, its weights in `dtype` and channels last.
        schedule: the one that it was trained on.
        prediction: what it predicts.
        dtype: of its weights.
    """

    def __init__(self, module: Any, schedule: Schedule, prediction: str, dtype: torch.dtype) -> None:
        self.module, self.dtype = module, dtype
        self.schedule, self.prediction = schedule, prediction

    def __call__(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        conditions: Sequence[torch.Tensor],
        residuals: Sequence[torch.Tensor] = (),
    ) -> torch.Tensor:
        added = [r.to(self.dtype, memory_format=torch.channels_last) for r in residuals]
        output: torch.Tensor = self.module(
            x.to(self.dtype, memory_format=torch.channels_last),
            t,
            encoder_hidden_states=torch.stack(list(conditions)).to(self.dtype),
            down_block_additional_residuals=tuple(added[:-1]) if added else None,
            mid_block_additional_residual=added[-1] if added else None,
            return_dict=False,
        )[0]
        return output

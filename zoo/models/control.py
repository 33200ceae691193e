"""ControlNets: what they add inside a U-Net so that a picture follows a control map."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch

from zoo.schedule import Schedule


class ControlNet:
    """diffusers' `ControlNetModel` as a `zoo.model.ControlNetwork`.

    With F a block of the U-Net and F_c its trained copy, a block's output becomes F(x) + Z2(F_c(x + Z1(c))), where the
    convolutions Z1 and Z2 begin as zero. What is returned is Z2(F_c(x + Z1(c))) of every block that has one.

    Args:
        module: the network, on its device, its weights in `dtype` and channels last.
        schedule: the one that it was trained on.
        dtype: of its weights.

    References:
        Zhang, Rao, Agrawala 2023, arXiv:2302.05543, equation 2.
    """

    def __init__(self, module: Any, schedule: Schedule, dtype: torch.dtype) -> None:
        self.module, self.schedule, self.dtype = module, schedule, dtype

    def __call__(
        self, x: torch.Tensor, t: torch.Tensor, conditions: Sequence[torch.Tensor], maps: torch.Tensor
    ) -> Sequence[torch.Tensor]:
        down, mid = self.module(
            x.to(self.dtype, memory_format=torch.channels_last),
            t,
            encoder_hidden_states=torch.stack(list(conditions)).to(self.dtype),
            controlnet_cond=maps.to(self.dtype, memory_format=torch.channels_last),
            return_dict=False,
        )
        return [*down, mid]


def build_controlnet(unet: Any, channels: Sequence[int] = (16,)) -> Any:
    """An untrained `ControlNetModel` for a U-Net, whose residuals are exactly 0.

    Args:
        unet: a `UNet2DConditionModel`; its weights are copied.
        channels: of the embedding of the control map; each entry after the first halves the resolution, and with
            one the map has the size of the U-Net's own input.
    """
    from diffusers import ControlNetModel

    network = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=tuple(channels))
    if unet.config.addition_embed_type == "text":
        # from_unet takes over the weights of this embedding, but not its number of heads.
        network.register_to_config(addition_embed_type_num_heads=unet.config.addition_embed_type_num_heads)
        network.add_embedding = copy.deepcopy(unet.add_embedding)
    return network

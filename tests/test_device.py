"""Memory formats and transfers, as far as they can be seen without a card."""

from __future__ import annotations

from unittest.mock import Mock

import torch

import zoo
from zoo.device import sent
from zoo.planning import load_model
from zoo.registry import default_registry


def test_what_goes_to_a_card_goes_through_pinned_memory_and_nobody_waits():
    cuda, tensor = torch.device("cuda"), Mock(device=torch.device("cpu"))
    assert sent(tensor, cuda) is tensor.pin_memory().to.return_value
    tensor.pin_memory().to.assert_called_once_with(cuda, non_blocking=True)
    there = Mock(device=cuda)
    sent(there, cuda)
    there.pin_memory.assert_not_called()


def test_the_bundled_network_and_what_it_is_asked_are_channels_last():
    model = load_model("tinyworld", default_registry())
    unet = model.network("denoiser", torch.device("cpu"), torch.float32).module
    asked = []
    hook = unet.register_forward_pre_hook(lambda module, inputs: asked.append(inputs[0]))
    try:
        comparison = zoo.Comparison(prompt="a red mushroom at night", cells=["ddim steps=1"], seeds=(0, 1))
        assert zoo.compare(comparison, device="cpu", dtype="fp32").done
    finally:
        hook.remove()
    convolution = next(
        p for name, p in unet.named_parameters() if name == "down_blocks.0.resnets.0.conv1.weight"
    )
    for tensor in (convolution, *asked):
        assert tensor.is_contiguous(memory_format=torch.channels_last)
        assert not tensor.is_contiguous()
    assert len(asked) == 1

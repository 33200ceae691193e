"""ControlNets of diffusers: where they are found, and that what they add is what diffusers' pipeline adds."""

from __future__ import annotations

import shutil

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers import CPU
from tests.models.elsewhere.tiny import SEEDS, counted, run, stable_diffusion
from zoo.models.elsewhere import open_model
from zoo.noise import start_noise
from zoo.pictures import admit
from zoo.planning import load_model
from zoo.registry import Registry

ENTRY = """
[[model]]
id = "sketches"
title = "Sketches"
source = "folder:base"
licence = "CC0-1.0"
controls = { scribble = "folder:net" }
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A pipeline with a ControlNet, and the folder that it is saved in."""
    folder = tmp_path_factory.mktemp("control")
    base = stable_diffusion(folder / "base")
    torch.manual_seed(6)
    network = diffusers.ControlNetModel.from_unet(base.unet, conditioning_embedding_out_channels=(8, 16))
    for parameter in network.parameters():  # its last convolutions begin at zero
        torch.nn.init.normal_(parameter, std=0.1)
    network.save_pretrained(folder / "net" / "sd-controlnet-canny")
    named = diffusers.ControlNetModel.from_pretrained(folder / "net" / "sd-controlnet-canny").eval()
    pipeline = diffusers.StableDiffusionControlNetPipeline(controlnet=named, **base.components)
    pipeline.save_pretrained(folder / "pipeline")
    return pipeline, folder


@torch.no_grad()
def test_what_it_adds_is_what_the_pipeline_adds(saved):
    pipeline, folder = saved
    model = open_model(f"folder:{folder / 'pipeline'}")
    assert model.roles == ("denoiser", "decoder", "control/canny")
    assert model.prediction_kind("control/canny") == "" and model.picture_size == (16, 16)
    generator = torch.Generator().manual_seed(0)
    x, maps = torch.randn(2, 4, 8, 8, generator=generator), torch.rand(2, 3, 16, 16, generator=generator)
    text, t = [model.condition(prompt, CPU) for prompt in ("a cat", "")], torch.tensor([900.0, 20.0])
    down, mid = pipeline.controlnet(x, t, torch.stack(text), maps, return_dict=False)
    theirs = pipeline.unet(
        x, t, torch.stack(text), down_block_additional_residuals=down, mid_block_additional_residual=mid
    ).sample
    denoiser = model.network("denoiser", CPU, torch.float32)
    residuals = model.network("control/canny", CPU, torch.float32)(x, t, text, maps)
    torch.testing.assert_close(denoiser(x, t, text, residuals), theirs, rtol=0, atol=1e-5)
    assert (denoiser(x, t, text) - theirs).abs().max() > 1e-2


def test_they_are_found_beside_a_model_and_in_a_list(saved, tmp_path):
    _, folder = saved
    net = folder / "net" / "sd-controlnet-canny"
    shutil.copytree(folder / "base", tmp_path / "base")
    shutil.copytree(net, tmp_path / "base" / "control" / "pose")
    shutil.copytree(net, tmp_path / "net")
    (tmp_path / "models.toml").write_text(ENTRY)
    registry = Registry(safe_mode=True, models=tmp_path / "models.toml")
    model = load_model("sketches", registry)
    assert model.roles == ("denoiser", "decoder", "control/pose", "control/scribble")
    for role in model.roles[2:]:
        assert model.network(role, CPU, torch.float32).schedule is model.schedule
    (tmp_path / "models.toml").write_text(ENTRY.replace("folder:net", "folder:base/unet"))
    registry = Registry(safe_mode=True, models=tmp_path / "models.toml")
    with pytest.raises(ValueError, match="holds a UNet2DConditionModel, and has to be a ControlNetModel"):
        load_model("sketches", registry)


def test_a_controlled_picture_is_the_pipelines(saved):
    pipeline, folder = saved
    drawn = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    name, png = admit(Image.fromarray(drawn))
    noise = torch.from_numpy(start_noise(SEEDS, (4, 8, 8))).float()
    with counted(pipeline.controlnet) as calls:
        theirs = pipeline(
            ["a cat"] * 2,
            image=torch.from_numpy(drawn).permute(2, 0, 1)[None].float() / 255,
            negative_prompt=["dog"] * 2,
            latents=noise,
            num_inference_steps=3,
            guidance_scale=5.0,
            controlnet_conditioning_scale=0.7,
            output_type="pt",
        ).images
    (cell,) = run(
        f"folder:{folder / 'pipeline'}",
        f"ddim steps=3 spacing=leading | cfg scale=5 | controlnet annotator=canny image={name} map=true scale=0.7",
        prompt="a cat",
        negative="dog",
        pictures={name: png},
    )
    torch.testing.assert_close(cell.images, 2 * theirs - 1, rtol=0, atol=1e-4)
    assert cell.nfe == {"denoiser": 6, "control/canny": sum(calls) // len(SEEDS), "decoder": 1}

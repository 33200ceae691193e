"""Latent consistency models of diffusers: the network is the pipeline's, guidance embedded, within its scalings."""

from __future__ import annotations

import shutil

import diffusers
import pytest
import torch
from diffusers.schedulers import scheduling_lcm
from PIL import Image

from tests.helpers import CPU
from tests.models.elsewhere.tiny import SCALED, SEEDS, counted, run, stable_diffusion, text_unet, zoo_noise
from zoo.models.elsewhere import open_model
from zoo.noise import start_noise
from zoo.pictures import admit

LATENTS = (4, 8, 8)
PROMPT = "a red cat"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A pipeline, and the name of the folder that it is saved in."""
    folder = tmp_path_factory.mktemp("lcm")
    unet = text_unet(time_cond_proj_dim=8)
    torch.nn.init.normal_(unet.time_embedding.cond_proj.weight)
    base = stable_diffusion(folder / "base", scheduler=diffusers.LCMScheduler(**SCALED), unet=unet)
    pipeline = diffusers.LatentConsistencyModelPipeline(**base.components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(folder / "lcm")
    return pipeline, f"folder:{folder / 'lcm'}"


@torch.no_grad()
@pytest.mark.parametrize("scale", [1.0, 8.5])
def test_one_step_is_the_pipelines(scale, saved):
    pipeline, name = saved
    model = open_model(name)
    x = torch.from_numpy(start_noise(SEEDS, LATENTS)).float()
    theirs = pipeline(
        [PROMPT] * 2, latents=x, num_inference_steps=1, guidance_scale=scale, output_type="latent"
    ).images
    network = model.network("lcm", CPU, torch.float32)
    conditions = [model.condition(PROMPT, CPU)] * 2
    ours = network(x, torch.full((2,), 999.0), conditions, torch.full((2,), scale))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    assert model.roles == ("lcm", "decoder") and model.prediction_kind("lcm") == "x0"


def test_four_steps_are_the_pipelines(saved):
    """Through the engine: fresh noise between the steps, levels of the distillation, the scale as an input."""
    pipeline, name = saved
    x = torch.from_numpy(start_noise(SEEDS, LATENTS)).float()
    with zoo_noise(LATENTS, scheduling_lcm), counted(pipeline.unet) as calls:
        assert torch.equal(scheduling_lcm.randn_tensor(), x)
        images = pipeline(
            [PROMPT] * 2, latents=x, num_inference_steps=4, guidance_scale=3.0, output_type="pt"
        ).images
    (cell,) = run(name, "lcm steps=4 scale=3", prompt=PROMPT)
    torch.testing.assert_close(cell.images, 2 * images - 1, rtol=0, atol=1e-4)
    assert cell.nfe == {"lcm": len(calls), "decoder": 1}


@torch.no_grad()
def test_a_controlnet_adds_inside_it(saved, tmp_path):
    """diffusers has no text-to-image pipeline of both: the same formula by hand, and a picture through the engine."""
    pipeline, name = saved
    shutil.copytree(name.removeprefix("folder:"), tmp_path / "lcm")
    torch.manual_seed(6)
    control = diffusers.ControlNetModel.from_unet(text_unet(), conditioning_embedding_out_channels=(8, 16))
    for parameter in control.parameters():  # its last convolutions begin at zero
        torch.nn.init.normal_(parameter, std=0.1)
    control.eval().save_pretrained(tmp_path / "lcm" / "control" / "canny")
    model = open_model(f"folder:{tmp_path / 'lcm'}")
    assert model.roles == ("lcm", "decoder", "control/canny")
    maps = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    x = torch.from_numpy(start_noise(SEEDS[:1], LATENTS)).float()
    t, text, scale = torch.tensor([999.0]), model.condition(PROMPT, CPU), torch.tensor([3.0])
    down, mid = control(x, t, text[None], maps, return_dict=False)
    told = pipeline.get_guidance_scale_embedding(scale - 1, embedding_dim=8)
    eps = pipeline.unet(
        x,
        t,
        text[None],
        timestep_cond=told,
        down_block_additional_residuals=down,
        mid_block_additional_residual=mid,
    ).sample
    theirs = pipeline.scheduler
    theirs.set_timesteps(1)
    expected = theirs.step(eps, 999, x).denoised
    network = model.network("lcm", CPU, torch.float32)
    residuals = model.network("control/canny", CPU, torch.float32)(x, t, [text], maps)
    ours = network(x, t, [text], scale, residuals)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)
    assert (network(x, t, [text], scale) - ours).abs().max() > 1e-2

    drawn = Image.fromarray((255 * maps[0].permute(1, 2, 0).numpy()).round().astype("uint8"))
    picture, png = admit(drawn)
    line = f"lcm steps=2 scale=3 | controlnet annotator=canny image={picture} map=true"
    free, led = run(
        f"folder:{tmp_path / 'lcm'}", "lcm steps=2 scale=3", line, prompt=PROMPT, pictures={picture: png}
    )
    assert led.nfe == {"lcm": 2, "control/canny": 2, "decoder": 1}
    assert (free.images - led.images).abs().max() > 1e-2

"""Pixel models of diffusers: the zoo's picture is the pipeline's own."""

from __future__ import annotations

import diffusers
import pytest
import torch
from diffusers.pipelines.ddim import pipeline_ddim
from diffusers.pipelines.ddpm import pipeline_ddpm
from diffusers.schedulers import scheduling_ddim, scheduling_ddpm

from tests.helpers import CPU
from tests.models.elsewhere.tiny import SEEDS, counted, quiet, run, unet2d, zoo_noise
from zoo.models.elsewhere import open_model
from zoo.planning import load_model
from zoo.registry import default_registry

SHAPE = (3, 8, 8)


def close(cell, theirs):
    torch.testing.assert_close(cell.images, 2 * theirs - 1, rtol=0, atol=1e-4)


@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("clip", [True, False])
def test_ddpm(variance, clip, tmp_path):
    scheduler = diffusers.DDPMScheduler(100, clip_sample=clip, variance_type=f"fixed_{variance}")
    pipeline = quiet(diffusers.DDPMPipeline(unet2d(), scheduler))
    pipeline.save_pretrained(tmp_path)
    with zoo_noise(SHAPE, pipeline_ddpm, scheduling_ddpm), counted(pipeline.unet) as calls:
        theirs = pipeline(batch_size=2, num_inference_steps=10, output_type="pt").images
    (cell,) = run(f"folder:{tmp_path}", f"ddpm steps=10 spacing=leading variance={variance}")
    close(cell, theirs)
    assert cell.nfe == {"denoiser": len(calls)}


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_ddim(eta, tmp_path):
    pipeline = quiet(diffusers.DDIMPipeline(unet2d(), diffusers.DDIMScheduler(100)))
    pipeline.save_pretrained(tmp_path)
    with zoo_noise(SHAPE, pipeline_ddim, scheduling_ddim), counted(pipeline.unet) as calls:
        theirs = pipeline(
            batch_size=2, num_inference_steps=5, eta=eta, use_clipped_model_output=True, output_type="pt"
        ).images
    (cell,) = run(f"folder:{tmp_path}", f"ddim steps=5 spacing=leading eta={eta}")
    close(cell, theirs)
    assert cell.nfe == {"denoiser": len(calls)}


def test_a_learned_variance(tmp_path):
    """Nichol & Dhariwal's network answers with six channels; diffusers reads the other three as the zoo does."""
    scheduler = diffusers.DDPMScheduler(100, variance_type="learned_range")
    pipeline = quiet(diffusers.DDPMPipeline(unet2d(out_channels=6), scheduler))
    pipeline.save_pretrained(tmp_path)
    with zoo_noise(SHAPE, pipeline_ddpm, scheduling_ddpm):
        theirs = pipeline(batch_size=2, num_inference_steps=10, output_type="pt").images
    learned, small = run(
        f"folder:{tmp_path}",
        "ddpm steps=10 spacing=leading variance=learned",
        "ddpm steps=10 spacing=leading",
    )
    close(learned, theirs)
    assert (learned.images - small.images).abs().max() > 1e-2


def test_a_variance_that_was_not_learned_is_not_possible(tmp_path):
    from zoo import Comparison, compare

    unet2d().save_pretrained(tmp_path)
    comparison = Comparison(model=f"folder:{tmp_path}", cells=["ddpm steps=2 variance=learned"])
    (cell,) = compare(comparison, device="cpu").cells
    assert (cell.status, "has not learned its variance" in cell.error) == ("na", True)


def test_a_network_saved_alone(tmp_path):
    """It has no scheduler: DDPM's own schedule is assumed, and said to be."""
    network = unet2d()
    network.save_pretrained(tmp_path)
    scheduler = diffusers.DDPMScheduler()
    pipeline = quiet(diffusers.DDPMPipeline(network, scheduler))
    with zoo_noise(SHAPE, pipeline_ddpm, scheduling_ddpm):
        theirs = pipeline(batch_size=2, num_inference_steps=5, output_type="pt").images
    (cell,) = run(f"folder:{tmp_path}", "ddpm steps=5 spacing=leading")
    close(cell, theirs)
    assert "taken for eps-prediction" in load_model(f"folder:{tmp_path}", default_registry()).notices("")[0]


def test_the_first_pipelines_had_all_files_in_one_folder(tmp_path):
    """google/ddpm-cifar10-32 and its kin: diffusers looks there too."""
    diffusers.DDPMPipeline(unet2d(), diffusers.DDPMScheduler(100, beta_end=0.1)).save_pretrained(tmp_path)
    (folders,) = run(f"folder:{tmp_path}", "ddim steps=2")
    for part in ("unet", "scheduler"):
        for file in (tmp_path / part).iterdir():
            file.rename(tmp_path / file.name)
        (tmp_path / part).rmdir()
    (flat,) = run(f"folder:{tmp_path}", "ddim steps=2")
    assert torch.equal(flat.images, folders.images)


@torch.no_grad()
def test_classes(tmp_path):
    network = unet2d(num_class_embeds=3)
    pipeline = diffusers.DDPMPipeline(network, diffusers.DDPMScheduler(prediction_type="v_prediction"))
    pipeline.register_to_config(id2label={"0": "sun", "1": "crescent moon, moon", "2": "star"})
    pipeline.save_pretrained(tmp_path)
    model = open_model(f"folder:{tmp_path}")
    assert [model.condition(text, CPU) for text in ("sun", " Moon ", "2")] == [0, 1, 2]
    assert model.prediction_kind("denoiser") == "v"
    x, t = torch.randn(2, *SHAPE), torch.tensor([7.0, 700.0])
    ours = model.network("denoiser", CPU, torch.float32)(x, t, [1, 2])
    torch.testing.assert_close(ours, network(x, t, class_labels=torch.tensor([1, 2])).sample)
    with pytest.raises(ValueError, match=r"no class 'mooon': did you mean 'moon'"):
        model.check_prompt("mooon")
    with pytest.raises(ValueError, match=r"draws nothing without a class.*a number from 0 to 2"):
        model.check_prompt("")
    with pytest.raises(ValueError, match="there is no class '3'"):
        model.check_prompt("3")
    with pytest.raises(ValueError, match="no answer without a class"):
        model.network("denoiser", CPU, torch.float32)(x, t, [1, None])


def test_grey_pictures_are_shown_in_three_channels(tmp_path):
    diffusers.DDPMPipeline(unet2d(in_channels=1, out_channels=1), diffusers.DDPMScheduler()).save_pretrained(
        tmp_path
    )
    (cell,) = run(f"folder:{tmp_path}", "ddim steps=2")
    assert cell.samples.shape == (len(SEEDS), 1, 8, 8)
    assert cell.images.shape == (len(SEEDS), *SHAPE)
    assert "unconditional" in open_model(f"folder:{tmp_path}").notices("a cat")[0]

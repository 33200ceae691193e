"""Consistency models of diffusers: the network in its preconditioning is diffusers' own step."""

from __future__ import annotations

import diffusers
import pytest
import torch
from diffusers.schedulers import scheduling_consistency_models

from tests.helpers import CPU
from tests.models.elsewhere.tiny import counted, quiet, run, unet2d, zoo_noise
from zoo.models.elsewhere import open_model
from zoo.noise import start_noise

SHAPE = (3, 8, 8)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("consistency")
    network = unet2d(num_class_embeds=4, resnet_time_scale_shift="scale_shift")
    scheduler = diffusers.CMStochasticIterativeScheduler(clip_denoised=False)
    pipeline = quiet(diffusers.ConsistencyModelPipeline(network, scheduler))
    pipeline.save_pretrained(folder)
    return pipeline, open_model(f"folder:{folder}")


@torch.no_grad()
def test_one_step_is_the_pipelines(saved):
    pipeline, model = saved
    noise = torch.from_numpy(start_noise((0, 1), SHAPE)).float()
    theirs = pipeline(batch_size=2, class_labels=[1, 3], latents=noise, output_type="pt").images
    start = model.schedule.level(80.0)
    network = model.network("consistency", CPU, torch.float32)
    ours = network(noise * model.schedule.start_scale(start), torch.full((2,), start.t), [1, 3])
    torch.testing.assert_close(ours.clamp(-1, 1), 2 * theirs - 1, rtol=0, atol=1e-4)
    assert model.roles == ("consistency",) and model.prediction_kind("consistency") == "x0"


@torch.no_grad()
@pytest.mark.parametrize("sigma", [0.002, 0.0021, 0.3, 9.0, 80.0])
def test_the_function_at_any_level_is_the_schedulers(sigma, saved):
    pipeline, model = saved
    x = sigma * torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    scheduler = pipeline.scheduler
    scaled = x / (sigma**2 + scheduler.config.sigma_data**2) ** 0.5
    t = torch.tensor(
        [float(scheduler.sigma_to_t(sigma))]
    )  # of a number that is no tensor it would take the integer
    output = pipeline.unet(scaled, t, class_labels=torch.tensor([0, 2])).sample
    skip, out = scheduler.get_scalings_for_boundary_condition(torch.tensor(sigma, dtype=torch.float64))
    ours = model.network("consistency", CPU, torch.float32)(x, torch.full((2,), sigma), [0, 2])
    torch.testing.assert_close(ours, (skip * x + out * output).float(), rtol=0, atol=1e-4)
    if sigma == 0.002:
        torch.testing.assert_close(ours, x, msg="the boundary condition")


def test_it_ends_at_epsilon(saved):
    _, model = saved
    levels = model.schedule.levels(3)
    assert (levels[-1].sigma, levels[-1].is_clean, levels[0].sigma) == (0.002, True, pytest.approx(80.0))


def test_its_data_are_clipped_as_its_scheduler_does(saved, tmp_path):
    _, model = saved
    x = torch.full((1, *SHAPE), 2.0)
    assert model.project(x, "model").max() == 2
    scheduler = diffusers.CMStochasticIterativeScheduler()
    diffusers.ConsistencyModelPipeline(unet2d(), scheduler).save_pretrained(tmp_path)
    assert open_model(f"folder:{tmp_path}").project(x, "model").max() == 1


@pytest.mark.parametrize("steps", [1, 2])
def test_the_sampler_makes_the_pipelines_picture(steps, saved, tmp_path):
    pipeline, _ = saved
    pipeline.save_pretrained(tmp_path)
    with zoo_noise(SHAPE, scheduling_consistency_models), counted(pipeline.unet) as calls:
        noise = scheduling_consistency_models.randn_tensor()
        theirs = pipeline(
            batch_size=2,
            class_labels=[3, 3],
            latents=noise,
            num_inference_steps=steps,
            output_type="pt",
        ).images
    sigmas = pipeline.scheduler.sigmas[1:steps].tolist()
    middle = "".join(f" middle={sigma:.9g}" for sigma in sigmas)
    (cell,) = run(f"folder:{tmp_path}", f"consistency steps={steps} recipe=other{middle}", prompt="3")
    torch.testing.assert_close(cell.images, 2 * theirs - 1, rtol=0, atol=1e-4)
    assert cell.nfe == {"consistency": len(calls)}

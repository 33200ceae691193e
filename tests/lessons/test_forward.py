"""The forward process, step by step, against its closed form; schedules against diffusers'."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from zoo.lessons.forward import SCHEDULES, betas, closed_form, noised, step_by_step
from zoo.noise import unit_noise
from zoo.schedule import DiscreteSchedule


def picture(size: int = 8) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (size, size, 3))


def test_steps_add_up_to_the_closed_form_with_their_noises_summed():
    schedule = DiscreteSchedule.linear(timesteps=20, start=0.01, end=0.2)
    x0, b = picture(), betas(schedule)
    for t, x in enumerate(step_by_step(x0, schedule, seed=4)):
        left = sum(
            math.sqrt(b[s])
            * math.prod(math.sqrt(1 - b[r]) for r in range(s + 1, t + 1))
            * unit_noise(4, s + 1, x0.shape)
            for s in range(t + 1)
        )
        level = schedule.level(t)
        np.testing.assert_allclose(x, closed_form(x0, level, left / level.sigma), atol=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_noise_left_after_the_steps_is_unit_noise(name):
    x0 = picture(32)
    found = noised(x0, SCHEDULES[name], [0, 99, 499, 999])
    for mean, std in zip(found.mean, found.std, strict=True):
        assert abs(mean) < 4 / math.sqrt(x0.size)
        assert abs(std - 1) < 4 / math.sqrt(2 * x0.size)
    assert found.direct.shape == found.stepped.shape == (4, *x0.shape)


@pytest.mark.parametrize(
    ("name", "diffusers"),
    [("linear", "linear"), ("scaled linear", "scaled_linear"), ("cosine", "squaredcos_cap_v2")],
)
def test_one_draw_is_what_diffusers_adds(name, diffusers):
    from diffusers import DDPMScheduler

    ends = {"beta_start": 0.00085, "beta_end": 0.012} if diffusers == "scaled_linear" else {}
    scheduler = DDPMScheduler(beta_schedule=diffusers, **ends)
    x0 = picture()
    found = noised(x0, SCHEDULES[name], [0, 250, 999])
    eps = torch.from_numpy(unit_noise(0, 0, x0.shape))
    for t, x in zip((0, 250, 999), found.direct, strict=True):
        theirs = scheduler.add_noise(torch.from_numpy(x0), eps, torch.tensor(t))
        np.testing.assert_allclose(x, theirs.numpy(), atol=2e-4)

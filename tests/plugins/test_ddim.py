"""DDIM against the exact probability-flow ODE, diffusers' scheduler, and DDPM."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from zoo.builtins.ddim import DDIM

from tests.helpers import (
    PixelModel,
    UnboundedModel,
    angular_levels,
    by_hand,
    leaning_mixture,
    random_network,
    sample,
)
from zoo.noise import unit_noise
from zoo.schedule import KarrasSchedule, Level, Levels

SEEDS = (0, 5)


def ddim(**params) -> DDIM:
    return DDIM(DDIM.Params(**params))


def geometric_levels(steps: int) -> Levels:
    """Variance-exploding levels; the last one has noise left."""
    return Levels([Level(1.0, float(s), float(s)) for s in np.geomspace(10, 0.2, steps + 1)])


@pytest.fixture
def start():
    return torch.randn(32, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("levels", [angular_levels, geometric_levels])
def test_the_error_on_an_exact_gaussian_is_of_first_order(levels, start):
    """Between two positive levels: the step onto the clean end would hide the order."""
    model = leaning_mixture()
    sizes, errors = [16, 32, 64, 128, 256], []
    for steps in sizes:
        visited = levels(steps)
        x = start * visited[0].sigma
        found, _ = by_hand(ddim(steps=steps), x, visited, lambda x, level: model.x0(x, level, 0))
        exact = model.solve(x, visited[0], visited[-1], 0)
        errors.append(float((found - exact).square().mean().sqrt()))
    assert all(finer < coarser for coarser, finer in itertools.pairwise(errors))
    slope = -np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert 0.9 < slope < 1.15


@pytest.mark.parametrize("levels", [angular_levels, geometric_levels])
def test_without_noise_it_is_euler_in_x_over_alpha_and_sigma_over_alpha(levels, start):
    model = leaning_mixture()
    visited = Levels([*levels(7), Level(1.0, 0.0, None)])
    found, _ = by_hand(ddim(steps=8), start, visited, lambda x, level: model.x0(x, level, None))
    z = start / visited[0].alpha
    for t, s in visited.pairs():
        z = z + (s.sigma / s.alpha - t.sigma / t.alpha) * model.eps(z * t.alpha, t)
    torch.testing.assert_close(found, z * visited[-1].alpha, rtol=1e-11, atol=1e-11)


def by_diffusers(model, steps: int, eta: float, clip: bool) -> torch.Tensor:
    """diffusers' DDIM on the model's network and noise, at the model's levels.

    Its step goes to t − T//N instead of the next timestep of its list, which is wrong where N does not divide T:
    the T that it divides is set to the right distance, times N.
    """
    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        clip_sample=clip,
        timestep_spacing="trailing",
    )
    scheduler.set_timesteps(steps)
    ts = [int(level.t) for level, _ in model.schedule.levels(steps).pairs()]
    if 1000 % steps == 0:
        assert scheduler.timesteps.tolist() == ts
    scheduler.alphas_cumprod = torch.tensor(model.schedule.alphas_cumprod)  # float64, as ours
    x = torch.from_numpy(np.stack([unit_noise(seed, 0, model.shape) for seed in SEEDS]))
    for i, (t, s) in enumerate(zip(ts, [*ts[1:], -1], strict=True)):
        output = model(x, torch.full((len(SEEDS),), float(t)), [""] * len(SEEDS))
        noise = torch.from_numpy(np.stack([unit_noise(seed, i + 1, model.shape) for seed in SEEDS]))
        scheduler.register_to_config(num_train_timesteps=(t - s) * steps)
        x = scheduler.step(
            output, t, x, eta=eta, use_clipped_model_output=clip, variance_noise=noise if eta else None
        ).prev_sample
    return x


@pytest.mark.parametrize("clip", [True, False], ids=["clipped", "unclipped"])
@pytest.mark.parametrize("eta", [0, 0.3, 1])
@pytest.mark.parametrize("steps", [1, 2, 13, 61])
def test_it_equals_diffusers(steps, eta, clip):
    model = (PixelModel if clip else UnboundedModel)(random_network())
    found = sample(model, f"ddim steps={steps} eta={eta}", SEEDS)
    torch.testing.assert_close(found, by_diffusers(model, steps, eta, clip), rtol=0, atol=1e-5)


def test_it_equals_diffusers_at_every_timestep():
    model = PixelModel(random_network())
    found = sample(model, "ddim steps=1000 eta=1", SEEDS)
    torch.testing.assert_close(found, by_diffusers(model, 1000, 1, clip=True), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", [PixelModel, UnboundedModel], ids=["clipped", "unclipped"])
@pytest.mark.parametrize("steps", [1, 2, 13, 61])
def test_with_all_noise_it_is_ddpm_with_the_small_variance(kind, steps):
    model = kind(random_network())
    expected = sample(model, f"ddpm steps={steps} variance=small", SEEDS)
    found = sample(model, f"ddim steps={steps} eta=1", SEEDS)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)
    if steps > 1:
        assert (sample(model, f"ddim steps={steps} eta=0.5", SEEDS) - expected).abs().max() > 1e-2


def test_variance_exploding_sampling_reaches_the_exact_solution():
    model = leaning_mixture(KarrasSchedule())
    noise = np.stack([unit_noise(seed, 0, model.shape) for seed in range(16)])
    start, clean = model.schedule.level(80.0), Level(1.0, 0.0, None)
    exact = model.solve(torch.from_numpy(noise * 80.0), start, clean, 1)
    errors = [
        float((sample(model, f"ddim steps={steps}", range(16), prompt="moon") - exact).abs().max())
        for steps in (16, 64, 256)
    ]
    assert errors[1] < errors[0] / 3
    assert errors[2] < errors[1] / 3
    assert errors[2] < 0.02


def test_it_is_stochastic_only_with_eta():
    assert not ddim(eta=0).is_stochastic()
    assert ddim(eta=0.1).is_stochastic()


def test_one_step_is_the_predicted_data():
    model = PixelModel(random_network())
    x = torch.from_numpy(unit_noise(3, 0, model.shape))[None]
    level = model.schedule.level(999)
    v = model(x, torch.tensor([999.0]), [""])
    expected = (level.alpha * x - level.sigma * v).clamp(-1, 1)
    torch.testing.assert_close(sample(model, "ddim steps=1 eta=1", [3]), expected)


def test_noise_is_scaled_by_eta_and_not_by_its_square_root(start):
    """σ = η·√β̃, where the blog form σ² = η·β̃ is wrong between the ends."""
    t, s = Level(0.6, 0.8, 2), Level(0.8, 0.6, 1)
    small_variance = (s.sigma**2 / t.sigma**2) * (1 - t.alpha**2 / s.alpha**2)
    zero = torch.zeros_like(start)
    found, _ = by_hand(ddim(steps=1, eta=0.5), zero, Levels([t, s]), lambda x, level: x, lambda: start)
    torch.testing.assert_close(found, 0.5 * math.sqrt(small_variance) * start)

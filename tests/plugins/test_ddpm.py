"""DDPM against diffusers' scheduler, and against distributions that it must leave as they are."""

from __future__ import annotations

import math

import diffusers.schedulers.scheduling_ddpm as theirs
import numpy as np
import pytest
import torch
from zoo.builtins.ddpm import DDPM

from tests.helpers import (
    PixelModel,
    UnboundedModel,
    assert_moments,
    by_hand,
    leaning_mixture,
    random_network,
    sample,
    unit_gaussian_draws,
)
from zoo.noise import unit_noise
from zoo.schedule import DiscreteSchedule, KarrasSchedule, Level, Levels

SEEDS = (0, 5)


def ddpm(**params) -> DDPM:
    return DDPM(DDPM.Params(**params))


def by_diffusers(model, steps: int, variance: str, clip: bool, monkeypatch) -> torch.Tensor:
    """diffusers' DDPM on the model's network and noise, at the model's levels.

    It masks the noise on t > 0 instead of "the next level is clean": with trailing spacing its last step would
    leave noise in the picture, so that step draws zeros here.
    """
    scheduler = theirs.DDPMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        clip_sample=clip,
        variance_type=variance,
    )
    ts = [int(level.t) for level, _ in model.schedule.levels(steps).pairs()]
    scheduler.set_timesteps(timesteps=ts)
    scheduler.alphas_cumprod = torch.tensor(model.schedule.alphas_cumprod)  # float64, as ours
    x = torch.from_numpy(np.stack([unit_noise(seed, 0, model.shape) for seed in SEEDS]))
    for i, t in enumerate(ts):
        draw = np.stack([unit_noise(seed, i + 1, model.shape) for seed in SEEDS]) * (i < steps - 1)
        monkeypatch.setattr(theirs, "randn_tensor", lambda *_, draw=draw, **__: torch.from_numpy(draw))
        output = model(x, torch.full((len(SEEDS),), float(t)), [""] * len(SEEDS))
        x = scheduler.step(output, t, x).prev_sample
    return x


@pytest.mark.parametrize("clip", [True, False], ids=["clipped", "unclipped"])
@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("steps", [1, 2, 13, 61])
def test_it_equals_diffusers(steps, variance, clip, monkeypatch):
    model = (PixelModel if clip else UnboundedModel)(random_network())
    found = sample(model, f"ddpm steps={steps} variance={variance}", SEEDS)
    expected = by_diffusers(model, steps, f"fixed_{variance}", clip, monkeypatch)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_it_equals_diffusers_at_every_timestep(monkeypatch):
    model = PixelModel(random_network())
    found = sample(model, "ddpm steps=1000 variance=large", SEEDS)
    torch.testing.assert_close(
        found, by_diffusers(model, 1000, "fixed_large", True, monkeypatch), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("variance", ["small", "large"])
def test_the_last_step_adds_no_noise(variance):
    schedule = DiscreteSchedule.linear()
    drawn = []

    def noise():
        drawn.append(1)
        return torch.full((1, 2), 1e3, dtype=torch.float64)

    target = torch.tensor([[0.25, -0.5]], dtype=torch.float64)
    levels = schedule.levels(10)
    assert levels[-2].t > 0, "trailing never visits t = 0, so a mask on t > 0 would fail here"
    found, _ = by_hand(ddpm(variance=variance), torch.zeros_like(target), levels, lambda *_: target, noise)
    torch.testing.assert_close(found, target)
    assert len(drawn) == 9


def test_respaced_betas_are_those_of_the_shortened_chain():
    """β_i = 1 − ᾱ[S_i]/ᾱ[S_{i−1}] (Nichol & Dhariwal 2021), and the network gets the original timestep."""
    schedule = DiscreteSchedule.linear()
    levels = schedule.levels(13)
    kept = [int(level.t) for level, _ in levels.pairs()]
    alphas_cumprod = np.append(schedule.alphas_cumprod[kept], 1.0)
    betas = 1 - alphas_cumprod[:-1] / alphas_cumprod[1:]
    np.testing.assert_allclose(np.cumprod((1 - betas)[::-1])[::-1], schedule.alphas_cumprod[kept])
    nothing = torch.zeros(1, 1, dtype=torch.float64)
    for i, (t, s) in enumerate(list(levels.pairs())[:-1]):
        args = (Levels([t, s]), lambda x, level: 0 * x, lambda: nothing + 1)
        noise, asked = by_hand(ddpm(variance="large"), nothing, *args)
        assert float(noise) == pytest.approx(math.sqrt(betas[i]))
        shrunk, _ = by_hand(ddpm(variance="large"), nothing + 1, *args)
        expected = math.sqrt(1 - betas[i]) * (1 - alphas_cumprod[i + 1]) / (1 - alphas_cumprod[i])
        assert float(shrunk - noise) == pytest.approx(expected)
        assert asked[0].level.t == kept[i]


@pytest.mark.parametrize("condition", [0, None], ids=["gaussian", "mixture"])
def test_many_steps_draw_from_the_data(condition):
    model = leaning_mixture(DiscreteSchedule.linear())
    draw, x = unit_gaussian_draws(4000, 2)
    answer = lambda x, level: model.x0(x, level, condition)  # noqa: E731
    found, _ = by_hand(ddpm(), x, model.schedule.levels(500), answer, draw)
    means, basis = model.means @ model.basis, model.basis
    covariances = basis.T @ torch.diag_embed(model.variances) @ basis
    weights = model.log_weights.exp() if condition is None else torch.eye(3).double()[condition]
    mean = weights @ means
    between = (means - mean)[:, :, None] * (means - mean)[:, None, :]
    assert_moments(found, mean, (weights[:, None, None] * (covariances + between)).sum(0))


def test_the_large_variance_is_exact_for_unit_gaussian_data():
    """x_0 ~ N(0, I) makes x_t ~ N(0, I) at every level, in however few steps."""
    levels = DiscreteSchedule.cosine().levels(5)
    draw, x = unit_gaussian_draws(20_000, 2)
    _, asked = by_hand(ddpm(variance="large"), x, levels, lambda x, level: level.alpha * x, draw)
    assert len(asked) == 5
    for query in asked:
        assert_moments(query.x, torch.zeros(2).double(), torch.eye(2).double())


@pytest.mark.parametrize("schedule", [DiscreteSchedule.linear(), KarrasSchedule(0.1, 20.0)], ids=["VP", "VE"])
def test_the_small_variance_is_exact_for_a_single_data_point(schedule):
    """x_t ~ N(alpha·m, sigma²) at every level, in however few steps."""
    levels = schedule.levels(5)
    m = torch.tensor([1.0, -2.0], dtype=torch.float64)
    draw, x = unit_gaussian_draws(20_000, 2)
    start = levels[0]
    x = start.alpha * m + start.sigma * x
    found, asked = by_hand(ddpm(), x, levels, lambda x, level: m.expand_as(x), draw)
    for query in asked:
        level: Level = query.level
        assert_moments(query.x, level.alpha * m, level.sigma**2 * torch.eye(2).double())
    torch.testing.assert_close(found, m.expand_as(found))


def test_it_is_stochastic():
    assert ddpm().is_stochastic()

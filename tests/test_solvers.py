"""Euler, Heun, DPM-Solver++(2M) and UniPC against the exact probability-flow ODE, diffusers, and each other."""

from __future__ import annotations

import math

import diffusers
import numpy as np
import pytest
import torch
from zoo.builtins.ddim import DDIM

from tests.helpers import (
    UnboundedModel,
    assert_moments,
    by_hand,
    finish,
    leaning_mixture,
    make_cell,
    random_network,
    sample,
    unit_gaussian_draws,
)
from zoo.method import Method
from zoo.noise import unit_noise
from zoo.planning import resolve
from zoo.registry import default_registry
from zoo.sampler import Sampler
from zoo.schedule import DiscreteSchedule, KarrasSchedule, Level, Levels

SEEDS = (0, 5)
CLEAN = Level(1.0, 0.0, None)
SCHEDULES = pytest.mark.parametrize(
    "schedule", [DiscreteSchedule.linear(), KarrasSchedule()], ids=["VP", "VE"]
)
SOLVERS = pytest.mark.parametrize(
    "line", ["euler", "heun", "dpmpp_2m", "unipc order=1", "unipc order=3", "unipc variant=bh1"]
)


def make(line: str) -> Sampler:
    return resolve(Method.parse(line), default_registry())[0]


@pytest.fixture
def start():
    return torch.randn(32, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@SCHEDULES
@pytest.mark.parametrize("line", ["euler", "heun", "dpmpp_2m spacing=karras", "unipc order=3 spacing=karras"])
def test_many_steps_reach_the_exact_solution(line, schedule, start):
    """But for the last step, first order from the cleanest level, whose error is (sigma/s)²/2 of the deviation."""
    model = leaning_mixture(schedule)
    sampler = make(f"{line} steps=500")
    levels = sampler.levels(schedule)
    x = start * schedule.start_scale(levels[0])
    found, _ = by_hand(sampler, x, levels, lambda x, level: model.x0(x, level, 0))
    exact = model.solve(x, levels[0], CLEAN, 0)
    last = (levels[-2].sigma / levels[-2].alpha) ** 2 / (2 * float(model.variances[0].min()))
    order = 1 if line == "euler" else 2
    torch.testing.assert_close(found, exact, rtol=0, atol=2 * last + 30 / 500**order)


@SCHEDULES
@pytest.mark.parametrize("steps", [1, 2, 13, 61])
def test_evaluations_are_one_a_step_and_for_heun_two_but_at_the_last(steps, schedule):
    model = leaning_mixture(schedule)
    lines = [
        "euler",
        "heun",
        "dpmpp_2m",
        "unipc",
        "unipc order=3 variant=bh1",
        "heun churn=10",
        "euler churn=10",
    ]
    for cell in finish(*(make_cell(model, f"{line} steps={steps}", SEEDS) for line in lines)):
        assert cell.status == "done", cell.traceback
        assert cell.nfe == {"denoiser": 2 * steps - 1 if "Heun" in type(cell.sampler).__name__ else steps}


@SCHEDULES
@SOLVERS
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_last_step_is_first_order(steps, line, schedule, start):
    """Onto a level without noise log-SNR is infinite: the sample is the last predicted data."""
    answers = []

    def answer(x, level):
        answers.append(x.sin())
        return answers[-1]

    sampler = make(f"{line} steps={steps}")
    found, _ = by_hand(sampler, start, sampler.levels(schedule), answer)
    torch.testing.assert_close(found, answers[-1])


@SOLVERS
def test_the_clean_level_may_keep_some_noise(line, start):
    """As in Stable Diffusion; with leading spacing the last step goes nowhere."""
    alphas_cumprod = DiscreteSchedule.scaled_linear().alphas_cumprod
    level = DiscreteSchedule(alphas_cumprod).level(0)
    schedule = DiscreteSchedule(alphas_cumprod, Level(level.alpha, level.sigma, None))
    sampler = make(f"{line} steps=5")
    for levels in (sampler.levels(schedule), schedule.levels(5, "leading")):
        found, _ = by_hand(sampler, start, levels, lambda x, level: torch.ones_like(x))
        noise = (start - levels[0].alpha) / levels[0].sigma
        torch.testing.assert_close(found, level.alpha + level.sigma * noise, rtol=1e-6, atol=1e-9)


@SCHEDULES
def test_euler_is_ddim_at_the_same_levels(schedule):
    model = UnboundedModel(random_network(), schedule=schedule)
    levels = make("euler steps=13").levels(schedule)
    x = torch.from_numpy(np.stack([unit_noise(seed, 0, model.shape) for seed in SEEDS]))
    x = x * schedule.start_scale(levels[0])

    def answer(x, level):
        output = model(x, torch.full((len(x),), level.t, dtype=x.dtype), [""] * len(x))
        return (level.alpha * x - level.sigma * output) / (level.alpha**2 + level.sigma**2)

    expected, _ = by_hand(DDIM(), x, levels, answer)
    torch.testing.assert_close(sample(model, "euler steps=13", SEEDS), expected, rtol=1e-9, atol=1e-9)


def by_diffusers(scheduler, model, levels: Levels) -> torch.Tensor:
    """A scheduler of diffusers on the model's network and noise, at our levels and in our float64."""
    sigmas = [level.sigma / level.alpha for level in levels]
    ts = [level.t for level in levels[:-1]]
    scheduler.set_timesteps(len(ts))
    if isinstance(scheduler, diffusers.HeunDiscreteScheduler):
        sigmas = [sigmas[0], *np.repeat(sigmas[1:-1], 2), sigmas[-1]]
        ts = [ts[0], *np.repeat(ts[1:], 2)]
    scheduler.sigmas, scheduler.timesteps = torch.tensor(sigmas).double(), torch.tensor(ts).double()
    scheduler.set_begin_index(0)
    x = torch.from_numpy(np.stack([unit_noise(seed, 0, model.shape) for seed in SEEDS]))
    if isinstance(scheduler, diffusers.EulerDiscreteScheduler | diffusers.HeunDiscreteScheduler):
        x = x / levels[0].alpha
    for t in scheduler.timesteps:
        output = model(scheduler.scale_model_input(x, t), t.expand(len(SEEDS)), [""] * len(SEEDS))
        x = scheduler.step(output, t, x).prev_sample
    return x


@pytest.mark.parametrize("steps", [1, 2, 13, 61])
@pytest.mark.parametrize(
    ("line", "name", "options"),
    [
        ("euler", "EulerDiscreteScheduler", {}),
        ("heun", "HeunDiscreteScheduler", {}),
        ("dpmpp_2m", "DPMSolverMultistepScheduler", {"final_sigmas_type": "zero"}),
        *((f"unipc order={p}", "UniPCMultistepScheduler", {"solver_order": p}) for p in (1, 2, 3)),
    ],
)
@pytest.mark.parametrize("schedule", [DiscreteSchedule.linear(), DiscreteSchedule.cosine()])
def test_it_equals_diffusers(line, name, options, steps, schedule):
    model = UnboundedModel(random_network(), schedule=schedule)
    scheduler = getattr(diffusers, name)(prediction_type="v_prediction", **options)
    expected = by_diffusers(scheduler, model, make(f"{line} steps={steps}").levels(model.schedule))
    found = sample(model, f"{line} steps={steps}", SEEDS)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("steps", [2, 13, 61])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_unipc_bh1_asks_what_that_of_diffusers_asks(order, steps):
    """Its scheduler multiplies B(h) = ∞ by 0 in the last step, so that its sample is NaN."""
    model = UnboundedModel(random_network(), schedule=DiscreteSchedule.linear())
    line = f"unipc order={order} steps={steps} variant=bh1"
    scheduler = diffusers.UniPCMultistepScheduler(
        prediction_type="v_prediction", solver_order=order, solver_type="bh1"
    )
    spoilt = by_diffusers(scheduler, model, make(line).levels(model.schedule))
    assert spoilt.isnan().all()
    theirs = [x for x, _, _ in model.calls]
    model.calls.clear()
    sample(model, line, SEEDS)
    torch.testing.assert_close([x for x, _, _ in model.calls], theirs, rtol=0, atol=1e-5)


@SCHEDULES
@pytest.mark.parametrize("line", ["euler", "heun"])
def test_levels_are_those_of_karras_as_far_as_the_model_has_them(line, schedule):
    levels = make(f"{line} steps=7 rho=3 sigma_max=300 sigma_min=0.0001").levels(schedule)
    least, greatest = schedule.sigma_range
    ramp = np.linspace(greatest ** (1 / 3), least ** (1 / 3), 7) ** 3
    np.testing.assert_allclose([level.sigma / level.alpha for level in levels], [*ramp, 0], rtol=1e-7)
    for level in levels[:-1]:
        assert schedule.level(level.t).sigma == pytest.approx(level.sigma)


@pytest.mark.parametrize("line", ["euler", "heun", "dpmpp_2m", "unipc"])
def test_impossible_steps_are_refused(line):
    with pytest.raises(ValueError, match="steps must be within 1 … 10 on this model, got 11"):
        make(f"{line} steps=11").levels(DiscreteSchedule.linear(10))
    assert make(f"{line} steps=1").levels(DiscreteSchedule([0.5])).steps == 1


@pytest.mark.parametrize(
    "line", ["euler sigma_max=0.005", "heun sigma_min=5 sigma_max=4", "heun sigma_min=1000"]
)
def test_impossible_ranges_are_refused(line):
    with pytest.raises(ValueError, match=r"no \d+ levels lie between sigma_min=.* within 0.01 … 157"):
        make(line).levels(DiscreteSchedule.linear())


def test_they_are_stochastic_only_with_churn(start):
    levels = make("heun steps=3").levels(DiscreteSchedule.linear())
    for line in ("euler", "heun", "dpmpp_2m", "unipc"):
        assert not make(line).is_stochastic()
        by_hand(make(f"{line} steps=3"), start, levels, lambda x, level: 0.5 * x, noise=None)
    assert make("euler churn=0.1").is_stochastic()
    assert make("heun churn=5").is_stochastic()


@SCHEDULES
@pytest.mark.parametrize(("churn", "gamma"), [(4, 4 / 12), (40, math.sqrt(2) - 1)])
@pytest.mark.parametrize("line", ["euler", "heun"])
def test_churn_raises_the_level_within_its_range(line, churn, gamma, schedule, start):
    sampler = make(f"{line} steps=12 churn={churn} churn_min=0.5 churn_max=1000 sigma_max=1000")
    levels = sampler.levels(schedule)
    _, asked = by_hand(sampler, start, levels, lambda x, level: 0 * x, lambda: start)
    asked = asked if line == "euler" else [asked[0], *asked[2::2]]  # the first of each of Heun's pairs
    for query, level in zip(asked, levels, strict=False):
        sigma = level.sigma / level.alpha
        raised = min((1 + gamma) * sigma, schedule.sigma_range[1]) if sigma >= 0.5 else sigma
        assert query.level.sigma / query.level.alpha == pytest.approx(raised)
        assert schedule.level(query.level.t).log_snr == pytest.approx(query.level.log_snr)


@SCHEDULES
@pytest.mark.parametrize("line", ["euler", "heun"])
def test_churn_keeps_a_single_data_point_exact(line, schedule):
    """x_t ~ N(alpha·m, sigma²) at every level, in however few steps."""
    sampler = make(f"{line} steps=6 churn=2 churn_min=0.1 churn_max=20")
    levels = sampler.levels(schedule)
    m = torch.tensor([1.0, -2.0], dtype=torch.float64)
    draw, x = unit_gaussian_draws(4000, 2)
    x = levels[0].alpha * m + levels[0].sigma * x
    found, asked = by_hand(sampler, x, levels, lambda x, level: m.expand_as(x), draw)
    for query in asked:
        assert_moments(query.x, query.level.alpha * m, query.level.sigma**2 * torch.eye(2).double())
    torch.testing.assert_close(found, m.expand_as(found))


def test_churn_noise_scales_what_is_added(start):
    levels = Levels([Level(1.0, 2.0, 2.0), CLEAN], KarrasSchedule())
    line = "euler steps=1 churn=0.1 churn_min=0 churn_noise=1.05"
    _, asked = by_hand(make(line), 0 * start, levels, lambda x, level: 0 * x, lambda: start)
    assert asked[0].level.sigma == pytest.approx(2.2)
    torch.testing.assert_close(asked[0].x, 1.05 * math.sqrt(2.2**2 - 2**2) * start)


@SCHEDULES
@pytest.mark.parametrize("line", ["euler steps=200", "heun steps=40"])
def test_churned_samples_are_those_of_the_data(line, schedule):
    model = leaning_mixture(schedule)
    sampler = make(f"{line} churn=8 churn_max=100")
    draw, x = unit_gaussian_draws(4000, 2)
    levels = sampler.levels(schedule)
    x = x * schedule.start_scale(levels[0])
    found, _ = by_hand(sampler, x, levels, lambda x, level: model.x0(x, level, 0), draw)
    mean, covariance = model.means[0] @ model.basis, model.basis.T @ model.variances[0].diag() @ model.basis
    assert_moments(found, mean, covariance)

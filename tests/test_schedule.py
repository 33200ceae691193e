"""Schedules and spacings agree with diffusers where it is right, and keep their promises where it is not."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from diffusers import DDIMScheduler, EDMEulerScheduler, EulerDiscreteScheduler

from zoo.method import Method
from zoo.planning import resolve
from zoo.registry import default_registry
from zoo.schedule import SPACINGS, DiscreteSchedule, KarrasSchedule, Level, Levels

FLOAT32 = float(np.finfo(np.float32).eps)
# diffusers' float arange yields one timestep too many for these, the last of them −1: the noisiest level.
TROUBLESOME = [n for n in range(1, 1001) if len(np.arange(1000, 0, -1000 / n)) != n]


def timesteps(levels: Levels) -> list[float]:
    return [level.t for level, _ in levels.pairs()]


@pytest.mark.parametrize(
    ("schedule", "options"),
    [
        (DiscreteSchedule.linear(), {"beta_schedule": "linear"}),
        (
            DiscreteSchedule.linear(500, 1e-3, 0.03),
            {"beta_start": 1e-3, "beta_end": 0.03, "num_train_timesteps": 500},
        ),
        (
            DiscreteSchedule.scaled_linear(),
            {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
        ),
        (DiscreteSchedule.cosine(), {"beta_schedule": "squaredcos_cap_v2"}),
        (DiscreteSchedule.cosine(100), {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 100}),
    ],
    ids=["linear", "linear-500", "scaled_linear", "cosine", "cosine-100"],
)
def test_alphas_cumprod_are_those_of_diffusers(schedule, options):
    theirs = DDIMScheduler(**options)
    a = schedule.alphas_cumprod
    betas = 1 - a / np.concatenate([[1.0], a[:-1]])
    np.testing.assert_allclose(betas, theirs.betas.numpy(), rtol=0, atol=4 * FLOAT32)
    # One rounding a factor; a capped β of 0.999 leaves 0.001, whose float32 error is a thousandfold.
    bound = FLOAT32 * (len(a) + 1 / (1 - betas.max()))
    np.testing.assert_allclose(a, theirs.alphas_cumprod.numpy(), rtol=bound)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [1, 2, 13, 61, 1000])
def test_every_spacing_visits_exactly_n_levels_from_the_noisiest_to_clean(spacing, steps):
    levels = DiscreteSchedule.cosine().levels(steps, spacing)
    ts = timesteps(levels)
    assert len(ts) == levels.steps == steps
    assert all(t > s for t, s in itertools.pairwise(ts))
    assert levels[-1] == Level(1.0, 0.0, None)
    assert levels[-1].is_clean
    if spacing == "karras":
        assert levels[0].sigma / levels[0].alpha == pytest.approx(80)
    elif spacing != "leading" or steps in (1, 1000):
        assert ts[0] == pytest.approx(999, abs=1e-9)
    if spacing not in ("trailing", "karras") and steps > 1:
        assert ts[-1] == 0


def test_trailing_is_right_where_a_float_arange_is_not():
    assert len(TROUBLESOME) == 62
    assert TROUBLESOME[:3] == [61, 103, 121]
    schedule = DiscreteSchedule.linear()
    for steps in TROUBLESOME:
        ts = timesteps(schedule.levels(steps))
        assert len(ts) == steps
        assert ts[0] == 999
        assert min(ts) >= 0
        assert (np.diff(ts) < 0).all()


@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace"])
def test_spacings_are_those_of_diffusers(spacing):
    schedule = DiscreteSchedule.linear()
    theirs = DDIMScheduler(timestep_spacing=spacing, steps_offset=0)
    some = {2, 3, 4, 7, 13, 20, 50, 99, 333, 750, 1000, *range(5, 1000, 45)} - set(TROUBLESOME)
    if spacing == "linspace":
        # For odd N a timestep may lie halfway, where diffusers' float decides by its error.
        some = {steps for steps in some if steps % 2 == 0}
    for steps in some:
        theirs.set_timesteps(steps)
        assert timesteps(schedule.levels(steps, spacing)) == theirs.timesteps.tolist()


@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace", "quadratic"])
def test_one_step_starts_from_pure_noise(spacing):
    assert timesteps(DiscreteSchedule.linear(1000).levels(1, spacing)) == [999]


def test_quadratic_is_dense_near_the_data():
    ts = timesteps(DiscreteSchedule.linear().levels(11, "quadratic"))
    assert ts == [round(999 * (i / 10) ** 2) for i in range(10, -1, -1)]


@pytest.mark.parametrize("steps", [2, 13, 61])
def test_karras_sigmas_are_those_of_diffusers(steps):
    theirs = EDMEulerScheduler(sigma_min=0.002, sigma_max=80.0, rho=7.0)
    theirs.set_timesteps(steps)
    ours = KarrasSchedule().levels(steps)
    np.testing.assert_allclose([level.sigma for level in ours], theirs.sigmas.numpy(), rtol=1e-5)
    assert all(level.alpha == 1 for level in ours)
    assert [level.t for level in ours] == [*(level.sigma for level in ours[:-1]), None]


@pytest.mark.parametrize("steps", [2, 13, 61])
def test_karras_spacing_on_a_chain_is_that_of_diffusers(steps):
    theirs = EulerDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, use_karras_sigmas=True
    )
    theirs.set_timesteps(steps)
    ours = DiscreteSchedule.scaled_linear().levels(steps, "karras")
    np.testing.assert_allclose([x.sigma / x.alpha for x in ours], theirs.sigmas.numpy(), rtol=2e-4)
    np.testing.assert_allclose(timesteps(ours), theirs.timesteps.numpy(), atol=0.05)


@pytest.mark.parametrize(
    "schedule", [DiscreteSchedule.linear(), DiscreteSchedule.cosine()], ids=["linear", "cosine"]
)
@pytest.mark.parametrize("t", [0, 0.5, 17, 500.25, 998.9, 999])
def test_level_at_finds_the_level_of_a_log_snr(schedule, t):
    level = schedule.level(t)
    assert level.alpha**2 + level.sigma**2 == pytest.approx(1, abs=1e-12)
    found = schedule.level_at(level.log_snr)
    assert found.t == pytest.approx(t, abs=1e-5)
    assert found.log_snr == pytest.approx(level.log_snr, abs=1e-6)


@pytest.mark.parametrize("timesteps", [1, 2, 7, 100, 1000])
def test_karras_levels_end_at_the_chains_own_or_at_karras_s(timesteps):
    for make in (DiscreteSchedule.linear, DiscreteSchedule.scaled_linear, DiscreteSchedule.cosine):
        schedule = make(timesteps)
        levels = schedule.levels(min(timesteps, 13), "karras")
        if schedule.sigma_range[1] <= 80:
            assert levels[0] == schedule.level(timesteps - 1)
        else:
            assert levels[0].sigma / levels[0].alpha == pytest.approx(80)
        if timesteps > 1:
            assert levels[-2] == schedule.level(0)
        assert schedule.level_at_sigma(1e9) == schedule.level(timesteps - 1)
        assert schedule.level_at_sigma(1e-9) == schedule.level(0)
        assert levels.schedule is schedule


@pytest.mark.parametrize("line", ["euler", "heun"])
def test_karras_is_one_list_whoever_takes_it(line):
    """Spread over all of the cosine schedule, sigma/alpha 0.0064 … 20,291, more than half would be lost above 80."""
    for schedule in (DiscreteSchedule.cosine(), DiscreteSchedule.scaled_linear(), KarrasSchedule()):
        (sampler, _) = resolve(Method.parse(f"{line} steps=10"), default_registry())
        ours, theirs = schedule.levels(10, "karras"), sampler.levels(schedule)
        np.testing.assert_allclose([x.sigma / x.alpha for x in ours], [x.sigma / x.alpha for x in theirs])
    everywhere = DiscreteSchedule.cosine().karras_levels(10, 0.0, math.inf)
    assert sum(level.sigma / level.alpha > 80 for level in everywhere) == 6


def test_karras_levels_keep_within_the_asked_range():
    for schedule in (DiscreteSchedule.cosine(), KarrasSchedule()):
        levels = schedule.karras_levels(13, sigma_min=0.1, sigma_max=5, rho=3)
        sigmas = [level.sigma / level.alpha for level in levels]
        np.testing.assert_allclose(
            sigmas, [*np.linspace(5 ** (1 / 3), 0.1 ** (1 / 3), 13) ** 3, 0], rtol=1e-7
        )


def test_fractional_levels_lie_between_their_neighbours():
    schedule = DiscreteSchedule.cosine()
    log_snrs = [schedule.level(t).log_snr for t in (12, 12.25, 12.5, 13)]
    assert log_snrs[1] == pytest.approx(0.75 * log_snrs[0] + 0.25 * log_snrs[3])
    assert log_snrs == sorted(log_snrs, reverse=True)


def test_level_at_outside_the_chain_is_its_nearest_end():
    schedule = DiscreteSchedule.linear()
    assert schedule.level_at(1e3) == schedule.level(0)
    assert schedule.level_at(-1e3) == schedule.level(999)


@pytest.mark.parametrize("sigma", [0.002, 1.0, 80.0])
def test_karras_level_at_finds_sigma(sigma):
    schedule = KarrasSchedule()
    assert schedule.level_at(schedule.level(sigma).log_snr).sigma == pytest.approx(sigma)


def test_start_noise_is_scaled_to_the_first_level():
    chain, karras = DiscreteSchedule.linear(), KarrasSchedule()
    assert chain.start_scale(chain.levels(10)[0]) == 1
    assert karras.start_scale(karras.levels(10)[0]) == 80


def test_log_snr_is_that_of_alpha_and_sigma():
    assert Level(0.6, 0.8, 1).log_snr == pytest.approx(math.log(0.36 / 0.64))
    assert Level(1, 0, None).log_snr == math.inf


def test_the_clean_level_may_be_the_models_own():
    alphas_cumprod = DiscreteSchedule.linear().alphas_cumprod
    clean = Level(1.0, 0.001, None)
    assert DiscreteSchedule(alphas_cumprod, clean).levels(7)[-1] == clean
    with pytest.raises(ValueError, match="levels must descend in noise"):
        DiscreteSchedule(alphas_cumprod, Level(0.9, 0.4, None)).levels(1000)


def test_levels_refuse_what_does_not_descend():
    a, b = Level(0.6, 0.8, 5), Level(0.8, 0.6, 4)
    assert Levels([a, b]).steps == 1
    with pytest.raises(ValueError, match="levels must descend in noise"):
        Levels([b, a])
    with pytest.raises(ValueError, match="levels must descend in noise"):
        Levels([a, a])
    with pytest.raises(ValueError, match="a start and an end, got 1"):
        Levels([a])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DiscreteSchedule.linear(10).levels(11), "steps must be within 1 … 10 on this model, got 11"),
        (lambda: DiscreteSchedule.linear(10).levels(0), "steps must be within 1 … 10 on this model, got 0"),
        (
            lambda: DiscreteSchedule.linear().levels(5, "even"),
            "unknown spacing 'even'; there are trailing, leading",
        ),
        (lambda: KarrasSchedule().levels(5, "even"), "unknown spacing 'even'; there are trailing, leading"),
        (lambda: KarrasSchedule().levels(0), "steps must be at least 1, got 0"),
        (lambda: KarrasSchedule(2.0, 1.0), "0 < sigma_min < sigma_max is needed, got 2.0 and 1.0"),
        (
            lambda: DiscreteSchedule.linear().karras_levels(5, sigma_max=0.005),
            "no 5 levels lie between sigma_min=0.002 and sigma_max=0.005 on this model, whose sigma/alpha is",
        ),
        (lambda: KarrasSchedule().karras_levels(0), "steps must be at least 1, got 0"),
        (lambda: DiscreteSchedule.linear(10).karras_levels(11), "steps must be within 1 … 10 on this model"),
        (lambda: DiscreteSchedule.linear().level(1000), "t must be within 0 … 999, got 1000"),
        (lambda: DiscreteSchedule.linear().level(-1), "t must be within 0 … 999, got -1"),
        (lambda: DiscreteSchedule([0.5, 0.6]), "strictly descending list within"),
        (lambda: DiscreteSchedule([0.5, 0.0]), "strictly descending list within"),
        (lambda: DiscreteSchedule([]), "strictly descending list within"),
    ],
)
def test_impossible_requests_say_what_is_possible(make, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        make()

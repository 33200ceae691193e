"""diffusers' schedulers as samplers: against their own plain loop, and against the exact solution."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import subprocess
import sys

import diffusers.schedulers
import numpy as np
import pytest
import torch

from tests.helpers import (
    PixelModel,
    UnboundedModel,
    finish,
    leaning_mixture,
    make_cell,
    random_network,
    rowwise,
    sample,
)
from zoo.method import Method
from zoo.noise import unit_noise
from zoo.planning import resolve
from zoo.registry import Registry, default_registry
from zoo.sampler import Sampler
from zoo.schedule import DiscreteSchedule, KarrasSchedule

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SEEDS = (0, 5)
ONES = [
    "CogVideoXDDIM",
    "DDIM",
    "DDIMParallel",
    "DPMSolverMultistep",
    "DPMSolverSinglestep",
    "DEISMultistep",
    "EDMDPMSolverMultistep",
    "EDMEuler",
    "EulerDiscrete",
    "LMSDiscrete",
    "UniPCMultistep",
]
"""Deterministic schedulers that ask once a step."""
TWOS = ["HeunDiscrete", "KDPM2Discrete", "KDPM2AncestralDiscrete"]
"""Those that ask twice a step, but for the last."""
SCALED = DiscreteSchedule.scaled_linear()
STOCHASTIC = ["DDPM", "DDPMParallel", "EulerAncestralDiscrete", "KDPM2AncestralDiscrete", "SASolver"]
RUNNABLE = sorted({*ONES, *TWOS, *STOCHASTIC, "PNDM"})
FAILING = {("PNDM", 1), ("PNDM", 2)}
"""Fewer steps than its Runge-Kutta start needs."""


def unit(draw: int, shape, seeds=SEEDS) -> torch.Tensor:
    return torch.from_numpy(np.stack([unit_noise(seed, draw, shape) for seed in seeds]))


def line(name: str, steps: int, more: str = "") -> str:
    return f"diffusers/{name}Scheduler steps={steps} {more}"


@functools.cache
def bridge(name: str, steps: int) -> Sampler:
    """One sampler for all tests: some schedulers take long to be made."""
    return resolve(Method.parse(line(name, steps)), default_registry())[0]


def reason(method: str, schedule=None) -> str:
    """Why a method is N/A, "" if it is not."""
    return reason_of(
        resolve(Method.parse(method), default_registry())[0], schedule or DiscreteSchedule.cosine()
    )


def reason_of(sampler: Sampler, schedule) -> str:
    try:
        sampler.levels(schedule)
    except ValueError as error:
        return str(error)
    return ""


def plain_loop(name: str, model: PixelModel, steps: int, monkeypatch, seeds=SEEDS, **options) -> torch.Tensor:
    """What diffusers' documentation shows, on the model's network and the zoo's noise, in diffusers' own words."""
    cls = getattr(diffusers.schedulers, f"{name}Scheduler")
    a = model.schedule.alphas_cumprod
    sigmas = np.sqrt((1 - a) / a)
    wanted = {
        "num_train_timesteps": len(a),
        "trained_betas": 1 - a / np.append(1.0, a[:-1]),
        "prediction_type": {"v": "v_prediction", "x0": "sample"}[model.prediction],
        "clip_sample": False,
        "set_alpha_to_one": True,
        "snr_shift_scale": 1.0,
    }
    accepted = inspect.signature(cls.__init__).parameters
    if name.startswith("EDM"):
        wanted |= {"sigma_data": 1.0, "sigma_min": sigmas[0], "sigma_max": sigmas[-1]}
    scheduler = cls(**{key: value for key, value in wanted.items() if key in accepted}, **options)
    scheduler.set_timesteps(steps)
    draws = iter(range(1, 2000))
    module = importlib.import_module(cls.__module__)

    def drawn(shape, dtype=None, **_):
        return unit(next(draws), model.shape, seeds).to(dtype)

    x = unit(0, model.shape, seeds) * scheduler.init_noise_sigma
    for i, t in enumerate(scheduler.timesteps):
        time = float(t)
        if name.startswith("EDM"):  # its t is ln(sigma)/4, the network's a place in the chain
            time = float(np.interp(4 * float(t), np.log(sigmas), np.arange(len(a))))
        rows = torch.full((len(seeds),), time, dtype=torch.float64)
        output = model(scheduler.scale_model_input(x, t), rows, [""] * len(seeds))
        more = {}
        if name == "UnCLIP":
            more["prev_timestep"] = [*scheduler.timesteps[1:], None][i]
        with monkeypatch.context() as patch:
            patch.setattr(module, "randn_tensor", drawn, raising=False)
            x = scheduler.step(output, t, x, **more).prev_sample
    return x


@pytest.mark.parametrize("steps", [1, 2, 13, 61])
@pytest.mark.parametrize("name", RUNNABLE)
def test_it_equals_the_scheduler_in_its_own_loop(name, steps, monkeypatch):
    model = UnboundedModel(random_network(), schedule=SCALED)
    if (name, steps) in FAILING:
        assert f"{steps} steps" in reason(line(name, steps), model.schedule)
        return
    found = sample(model, bridge(name, steps), SEEDS)
    expected = plain_loop(name, model, steps, monkeypatch)
    torch.testing.assert_close(found, expected.to(found.dtype), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["EulerDiscrete", "HeunDiscrete", "DPMSolverMultistep", "UniPCMultistep"])
def test_karras_spacing_is_its_karras_sigmas(name, monkeypatch):
    model = UnboundedModel(random_network(), schedule=SCALED)
    found = sample(model, line(name, 13, "spacing=karras"), SEEDS)
    expected = plain_loop(name, model, 13, monkeypatch, use_karras_sigmas=True)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert (found - sample(model, line(name, 13), SEEDS)).abs().max() > 1e-3


def test_further_options_reach_the_scheduler(monkeypatch):
    model = UnboundedModel(random_network(), schedule=SCALED)
    method = line("DPMSolverMultistep", 13, "config=algorithm_type=sde-dpmsolver++,solver_order=3")
    found = sample(model, method, SEEDS)
    options = {"algorithm_type": "sde-dpmsolver++", "solver_order": 3}
    expected = plain_loop("DPMSolverMultistep", model, 13, monkeypatch, **options)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert make_cell(model, method).sampler.is_stochastic()


def test_unclip_runs_on_the_only_schedule_that_it_has(monkeypatch):
    model = UnboundedModel(random_network(), prediction="x0")
    found = sample(model, line("UnCLIP", 13), SEEDS)
    torch.testing.assert_close(found, plain_loop("UnCLIP", model, 13, monkeypatch), rtol=1e-5, atol=1e-5)
    assert "a noise schedule of its own" in reason(line("UnCLIP", 13), DiscreteSchedule.linear())


@pytest.mark.parametrize("kind", [PixelModel, UnboundedModel], ids=["clipped", "unclipped"])
@pytest.mark.parametrize(("ours", "theirs"), [("ddim", "DDIM"), ("ddpm", "DDPM")])
def test_it_makes_the_pictures_of_our_own_sampler(ours, theirs, kind):
    """Where ⌊T/N⌋ divides T nothing is wrong with either: same levels, same noise, same clipping."""
    model = kind(random_network())
    expected = sample(model, f"{ours} steps=20 spacing=leading", SEEDS)
    torch.testing.assert_close(sample(model, line(theirs, 20), SEEDS), expected, rtol=1e-5, atol=1e-5)


def test_every_scheduler_runs_or_says_why():
    names = [name.removeprefix("diffusers/") for name in default_registry().samplers if "diffusers/" in name]
    assert set(names) == {
        name for name in dir(diffusers.schedulers) if name.endswith("Scheduler") and "Flax" not in name
    }
    reasons = {name: reason_of(bridge(name.removesuffix("Scheduler"), 13), SCALED) for name in names}
    assert {name.removesuffix("Scheduler") for name in names if not reasons[name]} >= set(RUNNABLE)
    for name, why in reasons.items():
        assert not why or why.startswith(f"{name} ")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("FlowMatchEulerDiscrete", "flow matching"),
        ("VQDiffusion", "discrete tokens"),
        ("LCM", "distilled"),
        ("DDIMInverse", "data to noise"),
        ("DPMSolverSDE", "Brownian tree"),
        ("RePaint", "original_image, mask"),
        ("KarrasVe", "sigma_hat"),
        ("ScoreSdeVe", "has no step"),
        ("IPNDM", "schedule of its own"),
        ("DDIM", "chain of timesteps"),
    ],
)
def test_the_reason_is_the_schedulers_own(name, why):
    assert why in reason(line(name, 5), KarrasSchedule() if name == "DDIM" else None)


@pytest.mark.parametrize(
    ("method", "why"),
    [
        (line("PNDM", 2), "cannot be set to 2 steps"),
        (line("KDPM2AncestralDiscrete", 2), "got nan"),
        (line("DDIM", 61, "spacing=trailing"), "got -1"),
        (line("EulerDiscrete", 61, "spacing=trailing"), "got -1"),
        (line("DEISMultistep", 1, "spacing=karras"), "x0 = 0.5, it ends at 1"),
        (line("DDIM", 5, "spacing=karras"), "has no use_karras_sigmas"),
        (line("EDMEuler", 5, "spacing=trailing"), "has no timestep_spacing"),
        (line("DDIM", 5, "config=eta=1"), "no option eta to choose; it has steps_offset"),
        (line("DDIM", 5, "config=beta_start=0.1"), "no option beta_start"),
        (line("DDIM", 5, "config=clip_sample=true"), "no option clip_sample"),
        (line("DDIM", 5, "config=eta"), "option=value"),
        (line("DPMSolverMultistep", 5, "config=solver_type=best"), "best is not implemented"),
    ],
)
def test_what_a_scheduler_cannot_do_is_refused_before_anything_runs(method, why):
    assert why in reason(method)


def test_more_steps_than_the_chain_has_are_refused():
    assert "1 … 10" in reason(line("DDIM", 11), DiscreteSchedule.linear(10))


class Future(diffusers.schedulers.DDIMScheduler):
    """Fits, like one that diffusers might add."""


class FutureRandom(Future):
    def step(self, model_output, timestep, sample):
        output = super().step(model_output, timestep, sample)
        output.prev_sample = output.prev_sample + torch.rand(sample.shape)
        return output


class FutureWrong(Future):
    def step(self, model_output, timestep, sample):
        output = super().step(model_output, timestep, sample)
        output.prev_sample = output.prev_sample + 1
        return output


@pytest.mark.parametrize(
    ("cls", "why"), [(Future, ""), (FutureRandom, "torch.rand"), (FutureWrong, "it ends at")]
)
def test_a_scheduler_that_nobody_has_seen_is_tried(cls, why, monkeypatch):
    from zoo.builtins.diffusers_schedulers import DiffusersScheduler

    monkeypatch.setattr(diffusers.schedulers, cls.__name__, cls, raising=False)
    sampler = type(cls.__name__, (DiffusersScheduler,), {"scheduler": cls.__name__})()
    if why:
        with pytest.raises(ValueError, match=why):
            sampler.levels(DiscreteSchedule.linear())
        return
    model = UnboundedModel(random_network())
    torch.testing.assert_close(sample(model, sampler, SEEDS), sample(model, line("DDIM", 50), SEEDS))


@pytest.mark.parametrize("name", STOCHASTIC)
def test_noise_is_each_images_own(name):
    """Neither batch partners nor another cell at work at the same time matter, nor is the global generator touched."""
    model = UnboundedModel(rowwise, schedule=SCALED)
    method = bridge(name, 13)
    torch.manual_seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    alone = sample(model, method, [5])
    first, second = finish(make_cell(model, method, (0, 5)), make_cell(model, method, (5, 1, 2)))
    torch.testing.assert_close(first.samples[1:], alone, rtol=0, atol=1e-6)
    torch.testing.assert_close(second.samples[:1], alone, rtol=0, atol=1e-6)
    assert (first.samples[0] - first.samples[1]).abs().max() > 1e-2
    assert torch.equal(torch.get_rng_state(), before[0]) and (np.random.get_state()[1] == before[1]).all()
    assert first.sampler.is_stochastic()


@pytest.mark.parametrize("name", [*ONES, "PNDM", "HeunDiscrete", "KDPM2Discrete"])
def test_two_runs_of_one_sampler_do_not_interact(name):
    model = UnboundedModel(rowwise, schedule=SCALED)
    cells = [make_cell(model, bridge(name, 13), (seed,)) for seed in SEEDS]
    assert not cells[0].sampler.is_stochastic()
    alone = sample(model, bridge(name, 13), (SEEDS[1],))
    torch.testing.assert_close(finish(*cells)[1].samples, alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "nfe"),
    [*((name, 13) for name in (*ONES, "DDPM", "SASolver")), *((name, 25) for name in TWOS), ("PNDM", 22)],
)
def test_evaluations_are_counted(name, nfe):
    """Heun asks twice but at the clean end; PNDM starts with three Runge-Kutta steps of four."""
    (cell,) = finish(make_cell(UnboundedModel(rowwise, schedule=SCALED), bridge(name, 13)))
    assert cell.nfe["denoiser"] == nfe
    assert cell.step == cell.steps


def test_guidance_goes_around_it():
    model = UnboundedModel(random_network(), schedule=SCALED)
    (cell,) = finish(make_cell(model, line("DPMSolverMultistep", 7, "| cfg scale=3"), prompt="a sun"))
    assert cell.nfe["denoiser"] == 14
    plain = sample(model, line("DPMSolverMultistep", 7), prompt="a sun")
    assert (cell.samples - plain).abs().max() > 1e-2


def error(method: str, scale: float = 1.0, model=None) -> float:
    """Root mean square distance from the exact probability-flow ODE, started from `scale` times the unit noise."""
    model = model or leaning_mixture(SCALED)
    start = model.schedule.level(model.schedule.timesteps - 1)
    exact = model.solve(scale * unit(0, model.shape, range(32)), start, model.schedule.clean, 0)
    return float((sample(model, method, range(32), prompt="sun") - exact).square().mean().sqrt())


@pytest.mark.parametrize(
    ("name", "more"),
    [
        *(
            (name, "spacing=trailing")
            for name in ONES
            if "DPMSolverSinglestep" not in name and "EDM" not in name
        ),
        *((name, "") for name in ("DPMSolverSinglestep", "EDMDPMSolverMultistep", "EDMEuler")),
        *((name, "spacing=trailing") for name in ("HeunDiscrete", "KDPM2Discrete", "PNDM")),
    ],
)
def test_it_converges_to_the_exact_solution(name, more):
    coarse, fine = error(line(name, 20, more)), error(line(name, 100, more))
    assert fine < 0.03
    assert fine < coarse / 2.5


def test_ddim_steps_by_the_quotient_and_not_along_its_list():
    """Its step goes to t − ⌊T/N⌋: where the list's steps are wider it removes less noise than the next level lacks."""
    ours = [error(f"ddim steps={steps}") for steps in (50, 256)]
    theirs = [error(line("DDIM", steps, "spacing=trailing")) for steps in (50, 256)]
    assert theirs[0] == pytest.approx(ours[0], rel=1e-3)
    assert ours[1] < ours[0] / 3
    assert theirs[1] > 3 * theirs[0]


def test_ddpm_with_the_large_variance_adds_noise_to_the_finished_picture():
    """It masks noise on t > 0 and not on "the next level is clean"; trailing spacing ends above t = 0."""
    model = UnboundedModel(lambda x, t, texts: torch.zeros_like(x), "x0", SCALED)
    assert sample(model, "ddpm steps=10 variance=large").abs().max() == 0
    theirs = sample(model, line("DDPM", 10, "spacing=trailing config=variance_type=fixed_large"))
    last = SCALED.levels(10)[-2]
    noise = unit(10, model.shape, [0])
    torch.testing.assert_close(theirs, last.sigma * noise, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["EulerDiscrete", "HeunDiscrete", "LMSDiscrete", "EulerAncestralDiscrete"])
def test_euler_and_its_kin_start_at_sigma_max(name):
    """Unit noise times sigma_max is √(1 − ᾱ) times unit noise in our scaling, and ours is unit noise itself."""
    model = UnboundedModel(rowwise, schedule=SCALED)
    sample(model, line(name, 2, "spacing=trailing"), SEEDS)
    sample(model, "ddim steps=2", SEEDS)
    noise = unit(0, model.shape)
    torch.testing.assert_close(model.calls[0][0], SCALED.level(999).sigma * noise, rtol=1e-5, atol=0)
    torch.testing.assert_close(next(x for x, t, _ in model.calls[-2:]), noise)


def test_listing_imports_neither_torch_nor_diffusers():
    program = (
        "import sys; from zoo.registry import default_registry as r; "
        "assert 'diffusers/DDIMScheduler' in r().samplers; print({'torch', 'diffusers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_without_diffusers_there_is_nothing_to_list(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *args: None if name == "diffusers" else found(name, *args)
    )
    registry = Registry(safe_mode=True)
    assert not any("diffusers/" in name for name in registry.samplers)
    assert next(p for p in registry.plugins if p.name == "diffusers_schedulers").state == "loaded"


def test_a_scheduler_draws_the_cells_noise_and_nothing_else_at_random():
    from zoo.builtins.diffusers_schedulers import _drawing

    with _drawing(lambda: torch.full((2,), 7.0)):
        assert torch.randn(2).tolist() == [7.0, 7.0]
        with pytest.raises(RuntimeError, match=r"draws from torch\.rand, not from normal noise"):
            torch.rand(2)
    assert torch.randn(2).tolist() != [7.0, 7.0]

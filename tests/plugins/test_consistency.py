"""`consistency` and `lcm`: the exact function, levels, noise, what is refused, and diffusers' schedulers."""

from __future__ import annotations

import math

import diffusers
import pytest
import torch
from diffusers.pipelines.latent_consistency_models import LatentConsistencyModelPipeline
from diffusers.schedulers import scheduling_consistency_models, scheduling_lcm

import zoo
from tests.helpers import (
    CPU,
    PixelModel,
    UnboundedModel,
    assert_moments,
    by_hand,
    finish,
    leaning_mixture,
    make_cell,
    random_network,
    sample,
)
from zoo.consistency import Boundary, Scaled
from zoo.models import gaussian
from zoo.models.lcm import LatentConsistencyUNet, guidance_embedding
from zoo.noise import KeyedNoise, start_noise
from zoo.planning import impossible, resolve
from zoo.prediction import to_x0
from zoo.registry import default_registry
from zoo.schedule import DiscreteSchedule, KarrasSchedule, Level

ENDING = KarrasSchedule(clean=Level(1.0, 0.002, None))
"""As a `ConsistencyModelPipeline` has it: trajectories end at ε."""


def sampler(line: str) -> zoo.Sampler:
    return resolve(zoo.Method.parse(line), default_registry())[0]


@pytest.mark.parametrize("schedule", [DiscreteSchedule.cosine(), KarrasSchedule(), ENDING])
@pytest.mark.parametrize("recipe", ["tuning", "distillation", "training"])
def test_one_step_ends_where_the_probability_flow_does(schedule, recipe):
    model = leaning_mixture(schedule)
    start, clean = schedule.levels(1)
    x = torch.from_numpy(start_noise((0, 1, 2), model.shape)) * schedule.start_scale(start)
    found = sample(model, f"consistency recipe={recipe}", (0, 1, 2), prompt="moon")
    torch.testing.assert_close(found, model.solve(x, start, clean, 1), rtol=0, atol=1e-12)
    assert (sample(model, "ddim steps=1", (0, 1, 2), prompt="moon") - found).abs().max() > 0.1


@pytest.mark.parametrize("schedule", [DiscreteSchedule.cosine(), ENDING])
@pytest.mark.parametrize("method", ["consistency steps=2", "consistency steps=4 middle=3,1,0.3"])
def test_many_steps_of_the_exact_function_draw_from_the_data(schedule, method):
    """Fresh noise each time, of just the right amount: mean and covariance stay those of the class."""
    model, n = leaning_mixture(schedule), 4000
    samples = sample(model, method, range(n), prompt="star")
    covariance = model.basis.T @ torch.diag(model.variances[2] + schedule.clean.sigma**2) @ model.basis
    assert_moments(samples, model.means[2] @ model.basis, covariance)


def test_between_steps_noise_is_added_as_algorithm_1_says():
    """VE: x + √(τ² − ε²)·z; VP, which ends without noise: alpha·x + sigma·z."""
    noises = list(torch.randn(2, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    for schedule in (ENDING, DiscreteSchedule.cosine()):
        method = sampler("consistency steps=3 middle=2,0.5")
        levels, drawn, told = method.levels(schedule), iter(noises), []

        def f(x, level, told=told):
            told.append(torch.tanh(x) + level.sigma / 100)
            return told[-1]

        result, asked = by_hand(method, torch.ones(3, 2).double(), levels, f, lambda drawn=drawn: next(drawn))
        for k, tau in enumerate((2.0, 0.5)):
            if schedule is ENDING:
                expected = told[k] + math.sqrt(tau**2 - 0.002**2) * noises[k]
            else:
                expected = (told[k] + tau * noises[k]) / math.sqrt(1 + tau**2)
            torch.testing.assert_close(asked[k + 1].x, expected, rtol=0, atol=1e-8)
        assert result is told[-1] and len(asked) == 3


def test_levels_are_even_in_the_angle_or_as_told():
    schedule = DiscreteSchedule.cosine()
    levels = sampler("consistency steps=4").levels(schedule)
    angles = [math.atan2(level.sigma, level.alpha) for level in levels]
    assert levels[0].t == 999 and levels[-1].is_clean
    assert angles == pytest.approx([angles[0] * share for share in (1, 0.75, 0.5, 0.25, 0)], abs=1e-5)
    told = sampler("consistency steps=3 middle=5,0.25").levels(schedule)
    assert [level.sigma / level.alpha for level in told[1:3]] == pytest.approx([5, 0.25])


@pytest.mark.parametrize("middle", ["1", "1,2", "1,1", "0.1,0", "nan,1", "90000,1", "2;1", "two,one"])
def test_impossible_middle_levels_are_told_before_anything_runs(middle):
    model = gaussian.build(size=4)
    reason = impossible(model, sampler(f"consistency steps=3 middle='{middle}'"), [], {})
    assert reason.startswith(f"middle='{middle}': ") and "such as 2.4,1,0.4" in reason


def test_the_boundary_condition_holds_by_construction():
    x, raw = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for boundary, level in ((Boundary(0.5, 0.002), Level(1, 0.002, 0)), (Boundary(0.5), Level(1, 0, 0))):
        skip, out, _ = boundary.scalings(level.alpha, level.sigma)
        torch.testing.assert_close(skip * x + out * raw, x, rtol=0, atol=1e-15)


@pytest.mark.parametrize("t", [0, 300, 700, 999])
def test_with_unit_data_the_scalings_read_x0_off_a_v_prediction(t):
    level = DiscreteSchedule.cosine().level(t)
    x, v = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    skip, out, scale = Boundary().scalings(level.alpha, level.sigma)
    torch.testing.assert_close(skip * x - out * v, to_x0("v", v, x, level), rtol=0, atol=1e-14)
    assert scale == pytest.approx(1) and Boundary().is_v and not Boundary(0.5).is_v


class Elsewhere(PixelModel):
    """A network F under the scalings of the paper, as a `ConsistencyModelPipeline` has it."""

    roles = ("consistency",)

    def __init__(self, function):
        super().__init__(function, "x0", ENDING)
        self.scaled = Scaled(lambda x, t, c: self.function(x, 250 * t.log(), c), ENDING, Boundary(0.5, 0.002))

    def network(self, role, device, dtype):
        return self.scaled


@pytest.mark.parametrize("indices", [[0], [0, 22], [0, 9, 20, 31]])
def test_it_is_diffusers_stochastic_iterative_scheduler_on_the_same_network(indices, monkeypatch):
    scheduler = diffusers.CMStochasticIterativeScheduler()
    scheduler.set_timesteps(timesteps=indices[::-1])  # counts from the noisiest, but wants them descending
    model, seeds, texts = Elsewhere(random_network()), (3, 4), ["", ""]
    x = torch.from_numpy(start_noise(seeds, model.shape)) * 80
    noise = KeyedNoise(seeds, model.shape, like=x)
    monkeypatch.setattr(scheduling_consistency_models, "randn_tensor", lambda *_, **__: noise())
    sigmas = scheduler.sigmas[1:-1].tolist()
    expected = x
    for t in scheduler.timesteps:
        scaled = scheduler.scale_model_input(expected, t)
        output = model.function(scaled, t.repeat(2), texts)
        expected = scheduler.step(output, t, expected).prev_sample
    middle = ",".join(map(repr, sigmas))
    found = sample(model, f"consistency steps={len(indices)} recipe=other middle={middle}", seeds)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_network_keeps_its_own_scaling_and_time_on_another_schedule():
    """Variance exploding on a model that preserves it: asked at x/alpha, with σ = sigma/alpha."""
    model, seeds = Elsewhere(random_network()), (3, 4)
    model.schedule = DiscreteSchedule.cosine()
    x = torch.from_numpy(start_noise(seeds, model.shape))
    noise = KeyedNoise(seeds, model.shape, like=x)
    levels = sampler("consistency steps=2 middle=0.8").levels(model.schedule)
    for t, s in levels.pairs():
        sigma = torch.tensor([t.sigma / t.alpha] * 2, dtype=torch.float64)
        x0 = model.scaled(x / t.alpha, sigma, ["", ""]).clamp(-1, 1)
        x = x0 if s.is_clean else s.alpha * x0 + s.sigma * noise()
    found = sample(model, "consistency steps=2 middle=0.8 recipe=other", seeds)
    torch.testing.assert_close(found, x, rtol=0, atol=1e-9)


def test_what_needs_a_mean_is_refused():
    model = gaussian.build(size=4)

    def verdict(line):
        method = zoo.Method.parse(line)
        return impossible(model, *resolve(method, default_registry()), {"prompt": "dusk", "negative": ""})

    for guided in ("cfg scale=3", "classifier_guidance scale=2", "cfg scale=1 | cfg scale=0.5"):
        assert "no mean of x0 that guidance could move" in verdict(f"consistency | {guided}")
        assert verdict(f"progressive_distillation steps=4 | {guided}") == ""
    assert verdict("consistency | cfg scale=1") == ""  # one condition, as it is


class Greedy(zoo.Sampler):
    """Asks a consistency network for more than it says."""

    def __init__(self, read):
        super().__init__()
        self.read = read

    def requires(self):
        return ("consistency/tuning",)

    def sample(self, x, levels, noise):
        yield from self.read(x, levels[0])
        return x


def reads_eps(x, t):
    return (yield zoo.Query(x, t, "consistency/tuning")).eps


def combines(x, t):
    yield zoo.Query(x, t, "consistency/tuning", terms={"prompt": 2.0, "negative": -1.0})


def follows_a_gradient(x, t):
    yield zoo.Query(x, t, "consistency/tuning", guidance=torch.ones_like(x))


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (reads_eps, "has no eps: use x0 and fresh noise"),
        (combines, "cannot be guided"),
        (follows_a_gradient, "cannot be guided"),
    ],
)
def test_an_endpoint_has_no_eps_and_cannot_be_guided(read, message):
    (cell,) = finish(make_cell(gaussian.build(size=4), Greedy(read), prompt="dusk"))
    assert cell.status == "failed" and message in cell.error


def test_a_model_without_the_network_says_what_it_has():
    reason = impossible(UnboundedModel(random_network()), sampler("consistency"), [], {})
    assert reason == "needs the network consistency/tuning; pixels has denoiser"
    assert impossible(gaussian.build(size=4), sampler("lcm"), [], {}).startswith("needs the network lcm; ")


class Latent(UnboundedModel):
    """A tiny U-Net that takes an embedding of the guidance scale."""

    roles = ("lcm",)

    def __init__(self, kind="eps"):
        super().__init__(None, "x0", DiscreteSchedule.scaled_linear(), (4, 8, 8))
        torch.manual_seed(0)
        self.unet = diffusers.UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 8),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=8,
            attention_head_dim=2,
            norm_num_groups=4,
            time_cond_proj_dim=16,
        ).double()
        torch.nn.init.normal_(self.unet.time_embedding.cond_proj.weight)  # zeros would hide a wrong embedding
        self.lcm = LatentConsistencyUNet(self.unet, self.schedule, kind)

    def network(self, role, device, dtype):
        return self.lcm

    def condition(self, text, device):
        return torch.full((2, 8), len(text) / 10).double()


@pytest.mark.parametrize(("steps", "kind"), [(1, "eps"), (4, "eps"), (3, "v"), (8, "x0")])
def test_latent_consistency_is_diffusers_scheduler_on_the_same_network(steps, kind, monkeypatch):
    model, seeds, prompt = Latent(kind), (5, 6), "a cat"
    names = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}
    scheduler = diffusers.LCMScheduler(prediction_type=names[kind])
    scheduler.set_timesteps(steps)
    levels = sampler(f"lcm steps={steps}").levels(model.schedule)
    assert [level.t for level in levels[:-1]] == scheduler.timesteps.tolist()
    x = torch.from_numpy(start_noise(seeds, model.shape))
    noise = KeyedNoise(seeds, model.shape, like=x)
    monkeypatch.setattr(scheduling_lcm, "randn_tensor", lambda *_, **__: noise())
    w = torch.tensor([6.5]).repeat(2)
    embedding = LatentConsistencyModelPipeline.get_guidance_scale_embedding(None, w, 16).double()
    text = model.condition(prompt, CPU).expand(2, -1, -1)
    expected = x
    with torch.no_grad():
        for t in scheduler.timesteps:
            output = model.unet(expected, t, timestep_cond=embedding, encoder_hidden_states=text).sample
            expected = scheduler.step(output, t, expected).prev_sample
    found = sample(model, f"lcm steps={steps} scale=7.5", seeds, prompt=prompt)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    other = sample(model, f"lcm steps={steps} scale=1.5", seeds, prompt=prompt)
    assert (found - other).abs().max() > 1e-3  # the network listens to the scale


def test_scales_of_several_cells_travel_in_one_batch():
    model, lines = Latent(), ("lcm steps=2 scale=1.5", "lcm steps=2 scale=8")
    together = finish(*(make_cell(model, line, (1,), prompt="cat") for line in lines))
    for cell, line in zip(together, lines, strict=True):
        torch.testing.assert_close(cell.samples, sample(model, line, (1,), prompt="cat"), rtol=0, atol=1e-9)


def test_the_embedding_of_guidance_is_diffusers():
    w = torch.tensor([0.0, 0.5, 7.5])
    expected = LatentConsistencyModelPipeline.get_guidance_scale_embedding(None, w, 256)
    torch.testing.assert_close(guidance_embedding(w + 1, 256), expected, rtol=0, atol=1e-5)


def test_latent_consistency_stays_on_the_levels_of_its_distillation():
    reason = impossible(Latent(), sampler("lcm steps=20 distilled_levels=10"), [], {})
    assert reason.startswith("steps=20, distilled_levels=10: the steps are some of the levels")

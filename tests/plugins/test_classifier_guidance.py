"""Classifier guidance against closed forms: on exact data the guided unconditional model is the conditional one."""

from __future__ import annotations

import math

import pytest
import torch
from zoo.builtins.classifier_guidance import ClassifierGuidance
from zoo.builtins.ddpm import DDPM

from tests.helpers import (
    CPU,
    PixelModel,
    finish,
    leaning_mixture,
    make_cell,
    make_engine,
    random_network,
    rowwise,
    sample,
)
from zoo.answers import class_gradient
from zoo.cell import Cell
from zoo.limits import Limits
from zoo.method import Method
from zoo.models import gaussian, mixture
from zoo.noise import unit_noise
from zoo.planning import impossible, resolve
from zoo.registry import default_registry
from zoo.sampler import NEGATIVE, PROMPT, ClassQuery, Query, Sampler
from zoo.schedule import DiscreteSchedule, KarrasSchedule, Levels

SEEDS = (0, 1, 2)


class Ask(Sampler):
    """Asks once, at time t, and returns what `read` makes of the answer instead of a sample."""

    def __init__(self, t, read, question=Query):
        super().__init__()
        self.t, self.read, self.question = t, read, question

    def levels(self, schedule):
        return Levels([schedule.level(self.t), schedule.clean])

    def sample(self, x, levels, noise):
        self.x = x
        return self.read((yield self.question(x, levels[0])))


def run(model, sampler, conditioners="", prompt="", negative="", seeds=SEEDS) -> torch.Tensor:
    """What a sampler returns through the conditioners of a line."""
    line = f"ddim | {conditioners}" if conditioners else "ddim"
    _, built = resolve(Method.parse(line), default_registry())
    (cell,) = finish(Cell(model, sampler, built, {PROMPT: prompt, NEGATIVE: negative}, seeds))
    assert cell.status == "done", cell.traceback
    return cell.samples


def closed_form(model, x, level, k):
    """∇ log p(y | x_t) = ∇ log p(x_t | y) − ∇ log p(x_t), from the two scores."""
    return (model.eps(x, level) - model.eps(x, level, k)) / level.sigma


class ClassifiedPixels(PixelModel):
    """Pixels with a classifier of two classes given as a function (x, t) → logits; its calls are recorded."""

    roles = ("denoiser", "classifier")

    def __init__(self, logits, function=rowwise):
        super().__init__(function)
        self.classifier = _Logits(logits, self.schedule)

    def network(self, role, device, dtype):
        return self.classifier if role == "classifier" else self

    def prediction_kind(self, role):
        return "" if role == "classifier" else self.prediction

    def classes(self, role="classifier"):
        return self.classifier.classes if role == "classifier" else ()


class _Logits:
    classes = ("dark", "bright")

    def __init__(self, logits, schedule):
        self.logits, self.schedule, self.calls = logits, schedule, []

    def __call__(self, x, t):
        self.calls.append((x, t))
        return self.logits(x, t)


def brightness(x, t):
    mean = torch.tanh(x.flatten(1)).sum(1)
    return torch.stack([-mean, mean * (1 + t / 1000)], 1)


# The gradient


@pytest.mark.parametrize("schedule", [DiscreteSchedule.linear(), KarrasSchedule()], ids=["VP", "VE"])
@pytest.mark.parametrize("t", [5, 50, 75])
def test_the_gradient_is_the_difference_of_the_scores(schedule, t):
    model = leaning_mixture(schedule)
    ask = Ask(t, lambda gradient: gradient, ClassQuery)
    found = run(model, ask, prompt="the moon, please")
    torch.testing.assert_close(found, closed_form(model, ask.x, schedule.level(t), 1), rtol=1e-10, atol=1e-10)


def test_a_gradient_comes_in_the_scaling_of_the_query():
    """The classifier lives on sigma, alpha = 1; the query on a variance-preserving chain."""
    model, elsewhere = leaning_mixture(DiscreteSchedule.linear()), leaning_mixture(KarrasSchedule())
    own = model.network
    model.network = lambda role, *rest: (elsewhere.network if role == "classifier" else own)(role, *rest)
    ask = Ask(400, lambda gradient: gradient, lambda x, level: ClassQuery(x, level, target="star"))
    found = run(model, ask)
    assert model.schedule.level(400).alpha < 0.5
    torch.testing.assert_close(
        found, closed_form(model, ask.x, model.schedule.level(400), 2), rtol=1e-9, atol=1e-9
    )


def test_every_row_has_its_own_gradient():
    model = leaning_mixture(DiscreteSchedule.linear())
    network = model.network("classifier", CPU, torch.float32)
    x = torch.from_numpy(unit_noise(0, 0, (6, 2)))
    t, k = torch.tensor([10.0, 500, 10, 900, 500, 10]), torch.tensor([0, 1, 2, 0, 1, 1])
    found = class_gradient(network, x, t, k)
    for i in range(6):
        expected = closed_form(model, x[i : i + 1], model.schedule.level(float(t[i])), int(k[i]))
        torch.testing.assert_close(found[i : i + 1], expected, rtol=1e-10, atol=1e-10)
    assert not x.requires_grad


# Identities on exact data


@pytest.mark.parametrize("kind", ["x0", "v"])
@pytest.mark.parametrize(
    ("guided", "prompt", "plain"),
    [
        ("classifier_guidance scale=1 target=moon", "", ""),
        ("classifier_guidance scale=1 | cfg scale=0", "moon", ""),
        ("classifier_guidance scale=3 target=moon", "", " | cfg scale=3"),
        ("classifier_guidance scale=1 target=star | classifier_guidance scale=1 target=star", "", None),
    ],
)
def test_guiding_the_unconditional_model_is_the_conditional_one(guided, prompt, plain, kind):
    """eps_u − sigma·∇ log p(y | x_t) = eps_c, and with a scale it is classifier-free guidance."""
    model = leaning_mixture(prediction=kind)
    found = sample(model, f"ddim steps=12 | {guided}", SEEDS, prompt=prompt)
    if plain is None:
        expected = sample(model, "ddim steps=12 | cfg scale=2", SEEDS, prompt="star")
    else:
        expected = sample(model, f"ddim steps=12{plain}", SEEDS, prompt="moon")
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    assert (found - sample(model, "ddim steps=12", SEEDS)).abs().max() > 0.1


@pytest.mark.parametrize("sampler", ["ddim steps=6", "ddpm steps=6"])
def test_the_order_with_classifier_free_guidance_does_not_matter(sampler):
    model = leaning_mixture(DiscreteSchedule.linear())
    parts = ["classifier_guidance scale=1.5 target=star", "cfg scale=2"]
    one, other = (sample(model, " | ".join([sampler, *p]), SEEDS, prompt="sun") for p in (parts, parts[::-1]))
    assert torch.equal(one, other)
    alone = [sample(model, f"{sampler} | {part}", SEEDS, prompt="sun") for part in parts]
    assert all((one - each).abs().max() > 1e-2 for each in alone)


def test_two_classifiers_add():
    """Towards two classes at once, s1·∇ log p(y1 | x_t) + s2·∇ log p(y2 | x_t)."""
    model = leaning_mixture(DiscreteSchedule.linear())
    ask = Ask(400, lambda prediction: prediction.eps)
    line = "classifier_guidance scale=2 target=sun | classifier_guidance scale=0.5 target=star"
    eps = run(model, ask, line)
    level = model.schedule.level(400)
    gradient = 2 * closed_form(model, ask.x, level, 0) + 0.5 * closed_form(model, ask.x, level, 2)
    torch.testing.assert_close(eps, model.eps(ask.x, level) - level.sigma * gradient, rtol=0, atol=1e-10)


@pytest.mark.parametrize("sampler", ["ddim steps=10", "ddpm steps=12"])
def test_more_guidance_makes_the_class_more_likely(sampler):
    model = mixture.build()
    scales = [0, 0.5, 1, 2, 4]
    log_p = []
    for scale in scales:
        found = sample(model, f"{sampler} | classifier_guidance scale={scale} target=north", range(24))
        log_p.append(float(model.log_posterior(found, model.schedule.level(0))[:, 2].mean()))
    assert log_p == sorted(log_p)
    assert math.exp(log_p[0]) < 0.125
    assert math.exp(log_p[-1]) > 0.9


# The mean of ancestral samplers


class OneStep(DDPM):
    """From t = 600 to t = 300, where noise is left."""

    def levels(self, schedule):
        return Levels([schedule.level(600), schedule.level(300)])

    def sample(self, x, levels, noise):
        self.x = x
        return (yield from super().sample(x, levels, noise))


@pytest.mark.parametrize("variance", ["small", "large"])
def test_ddpm_shifts_its_mean_by_the_variance_times_the_gradient(variance):
    """Algorithm 1: N(mean + s·Σ·∇ log p(y | x_t), Σ), the mean as without guidance, in the papers' notation."""
    model = leaning_mixture(DiscreteSchedule.linear())
    step = OneStep(OneStep.Params(variance=variance))
    found = run(model, step, "classifier_guidance scale=2.5 target=sun")
    level = model.schedule.level(600)
    a_t, a_s = (float(model.schedule.alphas_cumprod[t]) for t in (600, 300))
    alpha = a_t / a_s
    beta = 1 - alpha
    covariance = beta if variance == "large" else beta * (1 - a_s) / (1 - a_t)
    x0 = model.x0(step.x, level, None)
    mean = (math.sqrt(a_s) * beta * x0 + math.sqrt(alpha) * (1 - a_s) * step.x) / (1 - a_t)
    z = torch.stack([torch.from_numpy(unit_noise(seed, 1, model.shape)) for seed in SEEDS])
    shift = 2.5 * covariance * closed_form(model, step.x, level, 0)
    torch.testing.assert_close(found, mean + shift + math.sqrt(covariance) * z, rtol=0, atol=1e-10)


@pytest.mark.parametrize("variance", ["small", "large"])
def test_ddpm_is_not_shifted_onto_the_clean_end(variance):
    model = leaning_mixture(DiscreteSchedule.linear())
    line = f"ddpm steps=1 variance={variance}"
    guided = sample(model, f"{line} | classifier_guidance scale=5 target=sun", SEEDS)
    assert torch.equal(guided, sample(model, line, SEEDS))


# One place where guidance is folded in


def test_a_prediction_tells_what_it_was_without_guidance():
    model = ClassifiedPixels(lambda x, t: 2 * brightness(x, t), lambda x, t, texts: x.tanh() / 2)
    model.prediction = "x0"
    told = {}

    def keep(name):
        return lambda prediction: told.setdefault(name, prediction).x0

    run(model, Ask(700, keep("guided")), "classifier_guidance scale=3 target=bright")
    run(model, Ask(700, keep("plain")))
    guided, plain = told["guided"], told["plain"]
    level = guided.level
    assert torch.equal(guided.unguided.x0, plain.x0) and torch.equal(guided.unguided.eps, plain.eps)
    assert (plain.guidance, plain.unguided) == (0.0, None)
    moved = plain.x0 + level.sigma**2 / level.alpha * guided.guidance
    torch.testing.assert_close(guided.x0, moved.clamp(-1, 1), rtol=0, atol=1e-12)
    assert moved.max() > 1, "or nothing was clipped"
    torch.testing.assert_close(level.alpha * guided.x0 + level.sigma * guided.eps, guided.x)


@pytest.mark.parametrize("line", ["ddim steps=3", "ddpm steps=3", "ddim steps=3 | cfg threshold=dynamic"])
def test_pure_noise_stays_in_range_under_any_gradient(line):
    """At t = T − 1 of the cosine schedule sigma²/alpha is 2e4."""
    model = ClassifiedPixels(lambda x, t: 100 * brightness(x, t), random_network())
    model.precision = "float32"
    model.function = lambda x, t, texts: random_network()(x.double(), t, texts).float()
    (cell,) = finish(make_cell(model, f"{line} | classifier_guidance scale=100", SEEDS, "bright"))
    assert cell.status == "done", cell.traceback
    assert cell.samples.abs().max() <= 1


# Costs, batches, failures


@pytest.mark.parametrize(
    ("conditioners", "nfe"),
    [
        ("classifier_guidance", {"denoiser": 20, "classifier": 20}),
        ("classifier_guidance scale=0", {"denoiser": 20}),
        ("cfg scale=2 | classifier_guidance", {"denoiser": 40, "classifier": 20}),
        ("classifier_guidance | cfg scale=2", {"denoiser": 40, "classifier": 20}),
        ("classifier_guidance target=dark | classifier_guidance", {"denoiser": 20, "classifier": 40}),
    ],
)
def test_evaluations_of_the_classifier_are_counted_apart(conditioners, nfe):
    model = ClassifiedPixels(brightness)
    (cell,) = finish(make_cell(model, f"ddim steps=20 | {conditioners}", SEEDS, "bright"))
    assert dict(cell.nfe) == nfe
    assert sum(len(x) for x, _ in model.classifier.calls) == len(SEEDS) * nfe.get("classifier", 0)


def test_a_limit_of_evaluations_holds_for_all_networks_together():
    model = ClassifiedPixels(brightness)
    line = "ddim steps=8 | classifier_guidance target=dark"
    (cell,) = finish(make_cell(model, line, limits=Limits(nfe=5)))
    assert "used up its 5 network evaluations" in cell.error
    assert dict(cell.nfe) == {"denoiser": 2, "classifier": 3}


LINES = [
    ("ddim steps=4 | classifier_guidance scale=2", "bright"),
    ("ddpm steps=3 | cfg scale=2 | classifier_guidance target=dark", "bright"),
    ("ddim steps=5", "bright"),
    ("ddim steps=2 | classifier_guidance target=dark", ""),
]


@pytest.mark.parametrize("rows", [None, 1, 3])
def test_gradients_are_the_same_in_any_company(rows):
    model = ClassifiedPixels(brightness, random_network())
    cells = finish(
        *(make_cell(model, line, SEEDS, prompt) for line, prompt in LINES), engine=make_engine(rows)
    )
    longest = max(len(x) for x, _ in model.classifier.calls)
    assert longest == (rows or 9), "cells that want gradients × images"
    for cell, (line, prompt) in zip(cells, LINES, strict=True):
        torch.testing.assert_close(
            cell.samples, sample(model, line, SEEDS, prompt=prompt), rtol=0, atol=1e-12
        )


def test_gradient_batches_are_halved_when_memory_runs_out():
    def small_memory(x, t):
        if len(x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return brightness(x, t)

    line, engine = "ddim steps=3 | classifier_guidance target=dark", make_engine()
    model = ClassifiedPixels(small_memory)
    (cell,) = finish(make_cell(model, line, range(5)), engine=engine)
    assert cell.status == "done", cell.traceback
    torch.testing.assert_close(cell.samples, sample(ClassifiedPixels(brightness), line, range(5)))
    assert engine.rows_of(model) == 2


def dislikes_599(x, t):
    if 599 in t:
        raise ValueError("no 599")
    return brightness(x, t)


def question(**options):
    return Ask(599, lambda answer: answer, lambda x, level: ClassQuery(x, level, **options))


FAILURES = {
    "the classifier refuses its rows": (
        "ddim steps=5 | classifier_guidance target=dark",
        "ValueError: no 599",
    ),
    "no class": (question(), "the prompt 'word' names no class"),
    "unknown class": (
        question(target="grey"),
        "unknown class 'grey'; the classes of pixels are dark, bright",
    ),
    "no classifier": (question(role="denoiser", target="dark"), "unknown class 'dark'; denoiser has none"),
    "guidance of a wrong shape": (
        Ask(599, lambda p: p.x0, lambda x, level: Query(x, level, guidance=x[:1])),
        "guidance has shape (1, 3, 4, 4), expected (3, 3, 4, 4)",
    ),
}


@pytest.mark.parametrize(("method", "message"), FAILURES.values(), ids=FAILURES)
def test_a_failing_cell_fails_alone(method, message):
    model = ClassifiedPixels(dislikes_599)
    line = "ddim steps=4 | classifier_guidance target=bright"
    good, bad = (make_cell(model, m, SEEDS, "word") for m in (line, method))
    finish(good, bad)
    assert bad.status == "failed"
    assert message in bad.error
    assert good.status == "done", good.traceback
    torch.testing.assert_close(good.samples, sample(model, line, SEEDS, prompt="word"))


def test_a_classifier_of_wrong_output_shape_is_named():
    model = ClassifiedPixels(lambda x, t: x.flatten(1))
    (cell,) = finish(make_cell(model, "ddim steps=2 | classifier_guidance target=dark", SEEDS))
    assert "the classifier answered (3, 48), expected logits (3, 2)" in cell.error


def test_warming_up_asks_every_network():
    model = ClassifiedPixels(brightness)
    cell = make_cell(model, "ddim steps=2 | classifier_guidance target=dark", SEEDS)
    engine = make_engine()
    engine.run(engine.warm_up([cell]))
    assert len(model.classifier.calls) == len(model.calls) == 1
    assert (cell.status, dict(cell.nfe)) == ("queued", {})


# What is impossible, before running


@pytest.mark.parametrize(
    ("model", "line", "prompt", "reason"),
    [
        (
            leaning_mixture(),
            "ddim | classifier_guidance",
            "a comet",
            "the prompt 'a comet' names no class, and no target is given; the classes of mixture are sun, moon, star",
        ),
        (
            leaning_mixture(),
            "ddim | classifier_guidance target=comet",
            "sun",
            "unknown class 'comet'; the classes of mixture are sun, moon, star",
        ),
        (
            PixelModel(rowwise),
            "ddim | classifier_guidance target=sun",
            "",
            "needs the network classifier; pixels has denoiser",
        ),
        (leaning_mixture(), "ddim | classifier_guidance", "a star", ""),
        (leaning_mixture(), "ddim | classifier_guidance target=star", "", ""),
    ],
)
def test_what_cannot_be_guided_is_na_with_the_reason(model, line, prompt, reason):
    sampler, conditioners = resolve(Method.parse(line), default_registry())
    assert impossible(model, sampler, conditioners, {PROMPT: prompt, NEGATIVE: ""}) == reason


def test_a_sampler_may_refuse_a_prompt():
    class Shy(Sampler):
        def check(self, model, conditions):
            if conditions[PROMPT]:
                raise ValueError(f"cannot draw {conditions[PROMPT]} on {model.name}")

    conditions = {PROMPT: "sun", NEGATIVE: ""}
    assert impossible(leaning_mixture(), Shy(), [], conditions) == "cannot draw sun on mixture"
    assert impossible(leaning_mixture(), Shy(), [], {PROMPT: "", NEGATIVE: ""}) == ""


def test_the_first_class_that_a_prompt_names_is_meant():
    skies = gaussian.build(size=4)
    assert skies.named_class("Dusk, after noon") == "dusk"
    assert skies.named_class("midnight") is None
    assert mixture.build().named_class("northeast of east") == "northeast"
    assert ClassifierGuidance().requires() == ("classifier",)

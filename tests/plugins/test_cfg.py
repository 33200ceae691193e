"""Classifier-free guidance against its closed form, in the order guide → threshold → derive eps again."""

from __future__ import annotations

import pytest
import torch

from tests.helpers import PixelModel, finish, leaning_mixture, make_cell, sample
from zoo.cell import Cell
from zoo.method import Method
from zoo.models import gaussian
from zoo.planning import resolve
from zoo.registry import default_registry
from zoo.sampler import NEGATIVE, PROMPT, Query, Sampler
from zoo.schedule import DiscreteSchedule, Levels

SEEDS = (0, 1, 2)


class Ask(Sampler):
    """Asks once, at t = 400, and returns what it was told instead of a sample."""

    def __init__(self, read):
        super().__init__()
        self.read = read

    def levels(self, schedule):
        return Levels([schedule.level(400), schedule.clean])

    def sample(self, x, levels, noise):
        self.x = x
        prediction = yield Query(x, levels[0])
        return self.read(prediction)


def asked(model, read, cfg: str, seeds=SEEDS, prompt="", negative="") -> tuple[torch.Tensor, torch.Tensor]:
    """The state that was asked about, and what `read` made of the guided reply."""
    _, conditioners = resolve(Method.parse(f"ddim | {cfg}"), default_registry())
    ask = Ask(read)
    cell = Cell(model, ask, conditioners, {PROMPT: prompt, NEGATIVE: negative}, seeds)
    finish(cell)
    assert cell.status == "done", cell.traceback
    return ask.x, cell.samples


@pytest.mark.parametrize("kind", ["eps", "v", "x0", "score"])
@pytest.mark.parametrize(("negative", "away_from"), [("", None), ("star", 2)])
@pytest.mark.parametrize("scale", [0, 0.5, 1, 7.5])
def test_guided_eps_is_the_closed_form(kind, negative, away_from, scale):
    model = leaning_mixture(DiscreteSchedule.linear(), kind)
    x, eps = asked(model, lambda p: p.eps, f"cfg scale={scale}", prompt="sun", negative=negative)
    level = model.schedule.level(400)
    base, towards = model.eps(x, level, away_from), model.eps(x, level, 0)
    torch.testing.assert_close(eps, base + scale * (towards - base))


@pytest.mark.parametrize(
    ("cfg", "same_as", "nfe"),
    [
        ("cfg scale=1", ("ddim steps=6", "dusk"), 6),
        ("cfg scale=0", ("ddim steps=6", ""), 6),
        ("cfg scale=2", None, 12),
        ("cfg scale=0.5", None, 12),
    ],
)
def test_guidance_costs_two_evaluations_a_step_unless_it_is_off(cfg, same_as, nfe):
    model = gaussian.build(size=4)
    (cell,) = finish(make_cell(model, f"ddim steps=6 | {cfg}", SEEDS, prompt="dusk"))
    assert dict(cell.nfe) == {"denoiser": nfe}
    plain = [sample(model, "ddim steps=6", SEEDS, prompt=prompt) for prompt in ("dusk", "")]
    if same_as is not None:
        torch.testing.assert_close(cell.samples, sample(model, same_as[0], SEEDS, prompt=same_as[1]))
    else:
        assert all((cell.samples - other).abs().max() > 1e-3 for other in plain)


def test_a_negative_prompt_at_scale_0_is_that_prompt():
    model = gaussian.build(size=4)
    found = sample(model, "ddim steps=5 | cfg scale=0", SEEDS, prompt="dusk", negative="night")
    torch.testing.assert_close(found, sample(model, "ddim steps=5", SEEDS, prompt="night"))


def two_words() -> PixelModel:
    """Predicts x0 of one row: (0.8, 0.2, −0.1, 0) for the prompt, (0.2, 0, 0.1, 0) without."""
    answers = {"yes": [0.8, 0.2, -0.1, 0.0], "": [0.2, 0.0, 0.1, 0.0]}
    return PixelModel(lambda x, t, texts: torch.tensor([answers[w] for w in texts]).to(x), "x0", shape=(4,))


GUIDED = [2.0, 0.6, -0.5, 0.0]  # 0.2 + 3·0.6, 0 + 3·0.2, 0.1 − 3·0.2, 0


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        ("threshold=none", GUIDED),
        ("threshold=static", [1.0, 0.6, -0.5, 0.0]),
        # |x0| sorted: 0, 0.5, 0.6, 2; its median lies between, at 0.55: below 1, so s = 1.
        ("threshold=dynamic percentile=0.5", [1.0, 0.6, -0.5, 0.0]),
        # At 5/6 the place is 2.5 of 0 … 3: s = (0.6 + 2)/2 = 1.3.
        ("threshold=dynamic percentile=0.8333333333", [1.0, 0.6 / 1.3, -0.5 / 1.3, 0.0]),
    ],
)
def test_it_guides_then_thresholds_then_derives_eps_again(threshold, expected):
    model = two_words()
    expected = torch.tensor([expected], dtype=torch.float64)
    cfg = f"cfg scale=3 {threshold}"
    _, x0 = asked(model, lambda p: p.x0, cfg, seeds=(0,), prompt="yes")
    torch.testing.assert_close(x0, expected, rtol=0, atol=1e-6)
    x, eps = asked(model, lambda p: p.eps, cfg, seeds=(0,), prompt="yes")
    level = model.schedule.level(400)
    torch.testing.assert_close(eps, (x - level.alpha * expected) / level.sigma, rtol=0, atol=1e-6)


@pytest.mark.parametrize("threshold", ["threshold=static", "threshold=dynamic percentile=0.5"])
def test_exact_data_is_never_thresholded(threshold):
    model = leaning_mixture()
    line = "ddim steps=4 | cfg scale=2"
    free = sample(model, f"{line} threshold=none", SEEDS, prompt="sun")
    assert free.abs().max() > 1, "or there is nothing to threshold"
    assert torch.equal(sample(model, f"{line} {threshold}", SEEDS, prompt="sun"), free)


def test_guidance_around_guidance_multiplies_the_scales():
    """(1 − a) + a·[(1 − b)·u + b·c] of two cfg's is one of scale a·b."""
    model = leaning_mixture(DiscreteSchedule.linear())
    _, twice = asked(model, lambda p: p.eps, "cfg scale=2 | cfg scale=1.5", prompt="sun")
    _, once = asked(model, lambda p: p.eps, "cfg scale=3", prompt="sun")
    torch.testing.assert_close(twice, once)

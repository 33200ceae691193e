"""Inversion against the exact probability-flow ODE, and against what DDIM makes of its noise."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest
import torch
from PIL import Image
from zoo.builtins.classifier_free_guidance import ClassifierFreeGuidance
from zoo.builtins.ddim import DDIM

import zoo
from tests.helpers import (
    CPU,
    PixelModel,
    angular_levels,
    by_hand,
    finish,
    leaning_mixture,
    make_engine,
    random_network,
    rowwise,
)
from zoo import NEGATIVE, PROMPT
from zoo.cell import Cell
from zoo.data import TinyWorld
from zoo.inversion import DDIMInversion, Unclipped
from zoo.models import mixture
from zoo.schedule import DiscreteSchedule, KarrasSchedule, Level, Levels

CLEAN = Level(1.0, 0.0, None)


def climb(model, x, levels, iterations=1):
    """The latents of x for one class, and the number of queries."""
    up = DDIMInversion(DDIM(), iterations)
    latents, queries = by_hand(up, x, levels, lambda x, level: model.x0(x, level, 0))
    return latents, len(queries)


def descend(model, x, levels):
    return by_hand(DDIM(), x, levels, lambda x, level: model.x0(x, level, 0))[0]


def geometric_levels(steps):
    return Levels([Level(1.0, float(s), float(s)) for s in np.geomspace(10, 0.2, steps + 1)])


def rms(x):
    return float(x.square().mean().sqrt())


@pytest.mark.parametrize("levels", [angular_levels, geometric_levels])
@pytest.mark.parametrize("iterations", [1, 2])
def test_upwards_the_error_on_an_exact_gaussian_is_of_first_order(levels, iterations):
    """Between two positive levels; iterated it goes to DDIM's own inverse, which is of first order too."""
    model = leaning_mixture()
    x = model.draw(32, seed=0, condition=0)
    sizes, errors = [16, 32, 64, 128, 256], []
    for steps in sizes:
        visited = levels(steps)
        latents, _ = climb(model, x, visited, iterations)
        errors.append(rms(latents - model.solve(x, visited[-1], visited[0], 0)))
    assert all(finer < coarser for coarser, finer in itertools.pairwise(errors))
    slope = -np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert 0.85 < slope < 1.2


@pytest.mark.parametrize(
    "visited",
    [
        Levels([*angular_levels(8), CLEAN]),
        Levels([*geometric_levels(8), CLEAN]),
        DiscreteSchedule.cosine().levels(9),  # begins where alpha is nearly zero
    ],
    ids=["angular", "exploding", "cosine"],
)
def test_the_fixed_point_undoes_ddim(visited):
    """From the clean level, where no network can be asked."""
    model = leaning_mixture()
    x = model.draw(32, seed=0, condition=0)
    errors = []
    for iterations in (1, 2, 4, 50):
        latents, asked = climb(model, x, visited, iterations)
        assert asked == 9 * iterations
        errors.append(rms(descend(model, latents, visited) - x))
    assert errors[1] < errors[0] / 2 and errors[2] < errors[1] / 2
    assert errors[3] < 1e-9


def test_plain_inversion_is_eulers_step_up_the_ode():
    """dx̄/dσ̄ = eps in x̄ = x/alpha and σ̄ = sigma/alpha, equation 14."""
    model = leaning_mixture()
    x = model.draw(4, seed=1)
    t, s = Level(0.6, 0.8, 2), Level(0.8, 0.6, 1)
    found, queries = by_hand(
        DDIMInversion(DDIM()), x, Levels([t, s]), lambda x, level: model.x0(x, level, None)
    )
    expected = x / s.alpha + (t.sigma / t.alpha - s.sigma / s.alpha) * model.eps(x, s)
    torch.testing.assert_close(found / t.alpha, expected)
    assert [query.level for query in queries] == [s]


def test_through_the_engine_it_reaches_the_exact_noise():
    model = mixture.build()
    north = model.words.index("north")
    x = model.draw(1, seed=3, condition=north)[0]
    exact = model.solve(x[None], CLEAN, model.schedule.level(999), north)[0]
    found = [zoo.invert(x, model="mixture", prompt="north", method=f"ddim steps={n}") for n in (80, 320)]
    latents = [float((inversion.latents - exact).abs().max()) for inversion in found]
    assert latents[1] < latents[0] / 2 and latents[1] < 0.02
    assert found[1].rmse < found[0].rmse / 2


def test_variance_exploding_noise_is_found_too(monkeypatch):
    model = leaning_mixture(KarrasSchedule())
    monkeypatch.setattr("zoo.solo.load_model", lambda name, registry: model)
    x = model.draw(1, seed=0, condition=1)[0]
    found = zoo.invert(x, prompt="moon", method="ddim steps=60", iterations=2)
    exact = model.solve(x[None], CLEAN, model.schedule.level(80.0), 1)[0]
    assert float((found.latents - exact).abs().max()) < 0.05 * float(exact.abs().max())
    assert found.rmse < 0.01


def test_evaluations_are_counted_where_the_network_is_called(tmp_path):
    x = torch.tensor([0.1, 1.4]).double()
    method = "ddim steps=7 | cfg scale=2"
    found = zoo.invert(x, model="mixture", prompt="north", method=method, iterations=3)
    assert found.nfe == {"inversion": {"denoiser": 42}, "reconstruction": {"denoiser": 14}}
    assert (found.method, found.model, found.iterations) == (method, "mixture", 3)
    found.save(tmp_path)  # a point in the plane is no picture
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inversion.json", "latents.npy"]


def test_the_error_is_in_units_of_the_data():
    picture, off = torch.zeros(3, 4, 4), torch.full((3, 4, 4), 0.02)
    found = zoo.Inversion("m", "", "", "ddim steps=2", 1, picture, off, off, {})
    assert found.rmse == pytest.approx(0.02)
    assert found.psnr == pytest.approx(40)  # a hundredth of the range
    perfect = zoo.Inversion("m", "", "", "ddim steps=2", 1, picture, off, picture, {})
    assert perfect.psnr == math.inf and perfect.to_dict()["psnr"] is None


def test_nothing_is_clipped_under_guidance():
    model = PixelModel(random_network())
    guidance = ClassifierFreeGuidance(ClassifierFreeGuidance.Params(scale=3, threshold="static"))
    x = torch.rand(1, *model.shape).double() * 2 - 1
    conditions = {PROMPT: "a", NEGATIVE: ""}
    cell = Cell(model, DDIMInversion(DDIM()), [Unclipped(), guidance], conditions, (0,), start_state=x)
    cell.start(CPU)
    assert cell.query.threshold == "none"
    assert dict(cell.query.terms) == {PROMPT: 3, NEGATIVE: -2}


def test_a_start_state_of_the_wrong_shape_fails_its_cell():
    model = PixelModel(rowwise)
    (cell,) = finish(Cell(model, DDIM(), [], {PROMPT: ""}, (0, 1), start_state=torch.zeros(1, *model.shape)))
    assert cell.status == "failed"
    assert "the start state has shape (1, 3, 4, 4), expected (2, 3, 4, 4)" in cell.error


def test_the_warm_up_starts_where_its_cell_does():
    model = PixelModel(rowwise)
    start = torch.rand(1, *model.shape).double()
    make_engine().warm_up([Cell(model, DDIM(), [], {PROMPT: ""}, (0,), start_state=start)])
    assert torch.equal(model.calls[0][0], start)


def test_a_rendered_picture_comes_back_the_better_the_more_steps():
    """On the bundled network."""
    drawn = TinyWorld(seed=0)[0]
    picture = Image.fromarray(drawn.image)
    coarse, fine = (
        zoo.invert(picture, prompt=drawn.caption, method=f"ddim steps={n}", device="cpu") for n in (4, 16)
    )
    assert fine.rmse < coarse.rmse
    assert torch.equal(fine.picture, torch.from_numpy(drawn.image).permute(2, 0, 1).float() / 127.5 - 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "ddpm steps=3"}, "only ddim can be run upwards, not ddpm; for example 'ddim steps=50'"),
        ({"method": "ddim eta=0.5"}, "'ddim eta=0.5' draws noise on the way"),
        ({"method": "ddim steps=1001"}, "steps=1001"),
        ({"iterations": 0}, "iterations must be within 1 … 50, got 0"),
        ({"model": "mixtur"}, "Did you mean 'mixture'?"),
        ({"device": "tpu"}, "no device 'tpu' here"),
    ],
)
def test_what_cannot_be_inverted_is_refused(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        zoo.invert(torch.zeros(2), **{"model": "mixture", **options})


def test_data_must_fit_the_model():
    with pytest.raises(ValueError, match=r"the data has shape \(3,\), mixture needs \(2,\)"):
        zoo.invert(torch.zeros(3), model="mixture")
    with pytest.raises(ValueError, match=r"the data of mixture has shape \(2,\): a picture file is no such"):
        zoo.invert(Image.new("RGB", (2, 2)), model="mixture")

"""Distances to the exact and to the fine-step solution."""

from __future__ import annotations

import itertools

import pytest
import torch

from tests.helpers import by_hand, finish, leaning_mixture, make_cell
from tests.metrics.cells import finished, ran, scores_of, vectors
from zoo import NoScore, Score
from zoo.method import Part
from zoo.metrics.exact import EnergyDistance, ExactError
from zoo.metrics.solution import FineSolution, SolutionError
from zoo.noise import start_noise
from zoo.schedule import Levels


def test_the_fine_solution_converges_to_the_exact_one_in_second_order():
    """Down to the cleanest level that has noise; the first-order step from there on would hide the order."""
    model, x = leaning_mixture(), vectors(5, 2)
    errors = []
    for steps in (20, 40, 80):
        sampler = FineSolution(FineSolution.Params(steps=steps))
        levels = sampler.levels(model.schedule)
        assert levels.steps == steps
        levels = Levels(levels[:-1])
        solved, _ = by_hand(sampler, x, levels, lambda x, level: model.x0(x, level, 1))
        errors.append(float((solved - model.solve(x, levels[0], levels[-1], 1)).norm()))
    assert all(before / after > 3.3 for before, after in itertools.pairwise(errors)), errors
    assert errors[-1] < 3e-3


def test_the_errors_of_ddim_fall_with_its_steps_and_agree():
    found = [ran(leaning_mixture(), f"ddim steps={steps}", prompt="moon") for steps in (4, 16, 64)]
    exact = [scores["exact"].value for scores in found]
    assert exact[0] > 2.5 * exact[1] > 6 * exact[2] > 0, exact
    assert [scores["solution"].value for scores in found] == pytest.approx(exact, abs=1e-3)
    assert found[0]["exact"].n == 3 and found[0]["exact"].better == "lower"


def test_starting_below_the_noisiest_level_counts_as_error():
    model = leaning_mixture()
    noise = torch.from_numpy(start_noise(range(5), model.shape))
    errors = []
    for spacing in ("trailing", "leading"):
        start, end = model.schedule.levels(10, spacing)[0], model.schedule.clean
        exact = model.solve(noise, start, end, 1)
        errors.append(ExactError().score(finished(model, samples=exact, prompt="moon")).value)
    assert errors[0] == 0 and errors[1] > 0.02


def test_a_guided_method_is_held_against_the_guided_solution():
    scores = [ran(leaning_mixture(), f"ddim steps={n} | cfg scale=2", prompt="sun") for n in (5, 200)]
    assert scores[0]["solution"].value > 10 * scores[1]["solution"].value
    assert scores[0]["exact"] == NoScore("there is no closed form under conditioners")


def test_a_solution_is_solved_once_for_all_that_share_it():
    class Counting(type(leaning_mixture())):
        asked = 0

        def x0(self, *arguments):
            self.asked += 1
            return super().x0(*arguments)

    model = Counting([[0.0, 0]], [[1.0, 1]], ("one",))
    lines = [
        "ddim steps=2",
        "ddim steps=3",
        "ddim steps=2 | cfg scale=2",
        "ddim steps=3 | cfg",
        "ddpm steps=2",
    ]
    cells = finish(*(make_cell(model, line, prompt="one") for line in lines))
    model.asked = 0
    pairs = {i: (cell, torch.zeros(1, 3, 2, 2)) for i, cell in enumerate(cells)}
    scores = scores_of({Part("s"): SolutionError()}, pairs)
    evaluations = 2 * 100  # two a step, but one for the last
    assert model.asked == (evaluations - 1) * (1 + 2 + 2), "no guidance, scale 2 and scale 3"
    assert [isinstance(s["s"], Score) for s in scores.values()] == [True] * 4 + [False]


def test_energy_distance_tells_exact_samples_from_others():
    model = leaning_mixture()
    good = EnergyDistance().score(finished(model, samples=model.draw(200, 99, 1), prompt="moon"))
    other = EnergyDistance().score(finished(model, samples=model.draw(200, 99, 2), prompt="moon"))
    assert good.value < 1.5 * good.real
    assert other.value > 5 * other.real == 5 * good.real

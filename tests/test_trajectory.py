"""Paths against the closed forms of the exact mixture, and against what a comparison makes."""

from __future__ import annotations

import itertools

import pytest
import torch

import zoo
from zoo.models import mixture
from zoo.noise import start_noise
from zoo.registry import Registry
from zoo.trajectory import Trajectory, trace

MODEL = mixture.build()
REGISTRY = Registry()


def traced(*cells: str, prompt: str = "", seeds: str = "0..3") -> list[Trajectory]:
    comparison = zoo.Comparison(model="mixture", prompt=prompt, seeds=seeds, cells=cells)
    return trace(comparison, device="cpu", registry=REGISTRY)


def test_a_path_leads_from_the_shared_noise_to_the_sample_of_the_comparison():
    cells = ["ddpm steps=7", "ddim steps=3 | cfg scale=2", "heun steps=4"]
    comparison = zoo.Comparison(model="mixture", prompt="north", seeds="3,5", cells=cells)
    result = zoo.compare(comparison, device="cpu", registry=REGISTRY)
    noise = torch.from_numpy(start_noise([3, 5], MODEL.shape))
    for cell, found in zip(result.cells, traced(*cells, prompt="north", seeds="3,5"), strict=True):
        assert found.status == "done"
        assert found.nfe == cell.nfe
        torch.testing.assert_close(found.path.states[0], noise)
        torch.testing.assert_close(found.path.states[-1], cell.samples, rtol=0, atol=1e-12)


def test_answers_are_the_mixtures_own_and_guided_as_the_weights_say():
    (found,) = traced("ddim steps=4 | cfg scale=3", prompt="north")
    assert found.terms == {"prompt": 3.0, "negative": -2.0}
    north = MODEL.words.index("north")
    for level, x, x0 in zip(found.path.levels[:-1], found.path.states[:-1], found.x0, strict=True):
        expected = 3 * MODEL.x0(x, level, north) - 2 * MODEL.x0(x, level, None)
        torch.testing.assert_close(x0, expected)


def test_of_heun_the_corrected_states_are_kept_and_not_the_predicted_ones():
    (found,) = traced("heun steps=4", prompt="east")
    assert [level.log_snr for level in found.path.levels] == sorted(
        level.log_snr for level in found.path.levels
    )
    assert len(found.path.levels) == 5
    t, s = found.path.levels[:2]
    x, east = found.path.states[0], MODEL.words.index("east")
    d = MODEL.eps(x, t, east)
    predicted = s.alpha * MODEL.x0(x, t, east) + s.sigma * d
    corrected = predicted + s.alpha * (s.sigma / s.alpha - t.sigma / t.alpha) * (
        (MODEL.eps(predicted, s, east) - d) / 2
    )
    torch.testing.assert_close(found.path.states[1], corrected)
    assert not torch.allclose(predicted, corrected, atol=1e-3)


def test_the_error_to_the_closed_form_falls_as_fast_as_the_order_says():
    errors = [
        found.error_to_solution.value for found in traced("ddim steps=20", "ddim steps=40", prompt="west")
    ]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.2)


def test_the_fine_solution_is_the_closed_form_where_both_exist():
    exact, fine = traced("ddim steps=5", "ddim steps=5 | cfg scale=1", prompt="south")
    assert (exact.exact, fine.exact) == (True, False)
    torch.testing.assert_close(fine.solution.states[-1], exact.solution.states[-1], rtol=0, atol=2e-3)
    assert fine.error_to_solution.value == pytest.approx(exact.error_to_solution.value, abs=2e-3)


def test_what_draws_noise_has_no_solution_and_is_judged_as_a_distribution():
    (found,) = traced("ddim steps=30 eta=1", seeds="0..29")
    assert found.solution is None and found.error_to_solution is None
    assert found.energy.value < 3 * found.energy.real
    (few,) = traced("ddim steps=30 eta=1")
    assert "at least 20" in few.energy.reason


def test_what_cannot_run_says_why_and_leaves_the_others_alone():
    impossible, failed, done = traced(
        "progressive_distillation steps=3", "progressive_distillation steps=2", "ddim steps=2"
    )
    assert impossible.status == "na" and "distilled/3" in impossible.error
    assert failed.status == "failed" and "name one of east" in failed.error
    assert done.status == "done" and done.path is not None


def test_churn_that_goes_back_up_leaves_a_path_that_descends():
    (found,) = traced("euler steps=12 churn=20")
    snr = [level.log_snr for level in found.path.levels]
    assert all(before < after for before, after in itertools.pairwise(snr))

"""Interval guidance beside the built-ins, through the public API."""

import pytest
import torch

import zoo


def cells(*lines):
    comparison = zoo.Comparison(model="mixture", prompt="north", seeds="0..3", cells=lines)
    found = zoo.compare(comparison)
    assert found.done, [cell.traceback for cell in found.cells]
    return found.cells


def test_everywhere_it_is_classifier_free_guidance_and_nowhere_it_is_nothing():
    everywhere, cfg, nowhere, plain = cells(
        "euler steps=9 | interval_guidance/interval scale=2 low=0 high=1000",
        "euler steps=9 | cfg scale=2 threshold=none",
        "euler steps=9 | interval_guidance/interval scale=2 low=900 high=1000",
        "euler steps=9",
    )
    torch.testing.assert_close(everywhere.samples, cfg.samples)
    assert torch.equal(nowhere.samples, plain.samples)
    assert (everywhere.nfe, nowhere.nfe) == ({"denoiser": 18}, {"denoiser": 9})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("consistency | interval_guidance/interval scale=2", "no mean of x0 that guidance could move"),
        ("consistency | interval_guidance/interval scale=0", "no mean of x0 that guidance could move"),
        ("ddim steps=2 | interval_guidance/interval low=4 high=4", "low must be below high"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(line, reason):
    (cell,) = zoo.compare(zoo.Comparison(model="mixture", prompt="north", cells=[line])).cells
    assert (cell.status, reason in cell.error) == ("na", True)


def test_without_guidance_it_goes_with_a_consistency_network_too():
    off, plain = cells("consistency | interval_guidance/interval scale=1", "consistency")
    assert torch.equal(off.samples, plain.samples)


def test_it_costs_a_second_evaluation_within_the_interval_only():
    schedule = zoo.DiscreteSchedule.cosine()
    levels = schedule.karras_levels(9, 0.002, 80.0)
    inside = sum(0.3 < level.sigma / level.alpha <= 3 for level in levels[:-1])
    assert 0 < inside < 9
    (cell,) = cells("euler steps=9 | interval_guidance/interval low=0.3 high=3")
    assert cell.nfe == {"denoiser": 9 + inside}

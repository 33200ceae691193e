"""Restart sampling beside the built-ins, through the public API."""

import pytest
import torch

import zoo


def cells(*lines, **options):
    found = zoo.compare(
        zoo.Comparison(**{"model": "mixture", "prompt": "north", "seeds": "0..3"} | options, cells=lines)
    )
    assert found.done, [cell.traceback for cell in found.cells]
    return found.cells


def test_without_restarts_it_is_heun():
    mine, heun = cells("restart/restart steps=9 restarts=0", "heun steps=9")
    assert mine.nfe == heun.nfe == {"denoiser": 17}
    torch.testing.assert_close(mine.samples, heun.samples)


def test_each_restart_costs_two_evaluations_a_step():
    (cell,) = cells("restart/restart steps=9 restarts=3 restart_steps=5")
    assert cell.nfe == {"denoiser": 17 + 3 * 2 * 5}


def test_restarts_correct_the_error_of_a_few_steps():
    """Fresh noise contracts what the few steps of the main pass got wrong."""
    few, restarted = cells(
        "heun steps=4",
        "restart/restart steps=4 restarts=6 low=0.2 high=3",
        seeds="0..255",
        metrics=["energy_distance"],
    )
    (name,) = few.metrics
    assert restarted.metrics[name].value < few.metrics[name].value


def test_an_impossible_interval_is_refused_before_anything_runs():
    comparison = zoo.Comparison(model="mixture", cells=["restart/restart low=2 high=0.5"])
    (cell,) = zoo.compare(comparison).cells
    assert cell.status == "na"
    assert "not below high=0.5" in cell.error


@pytest.mark.parametrize("model", ["gaussian", "mixture"])
def test_it_runs_on_every_exact_model(model):
    cells("restart/restart steps=5", model=model, prompt="")

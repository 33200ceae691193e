"""Interpolation against the comparison that its ends are taken from."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch

import zoo
from tests.helpers import (
    PixelModel,
    rowwise,
)
from zoo.interpolation import slerp
from zoo.noise import unit_noise
from zoo.schedule import KarrasSchedule


def test_the_ends_are_the_pictures_of_the_comparison():
    method, seeds = "ddim steps=5 | cfg scale=2", (3, 8)
    comparison = zoo.Comparison(model="gaussian", prompt="dusk", seeds=seeds, cells=[method])
    expected = zoo.compare(comparison).cells[0].images
    found = zoo.interpolate(seeds, frames=4, model="gaussian", prompt="dusk", method=method)
    assert torch.equal(found.images[[0, -1]], expected)
    assert found.images.shape == (4, 3, 16, 16)
    assert found.nfe == {"denoiser": 10}


def test_all_frames_go_through_the_network_together(monkeypatch):
    model = PixelModel(rowwise, schedule=KarrasSchedule())
    monkeypatch.setattr("zoo.solo.load_model", lambda name, registry: model)
    zoo.interpolate((0, 1), frames=7, method="ddim steps=3")
    starts = [x for x, _, _ in model.calls]
    assert [len(x) for x in starts] == [7, 7, 7]
    noise = np.stack([unit_noise(seed, 0, model.shape) for seed in (0, 1)])
    np.testing.assert_array_equal(starts[0][[0, -1]].numpy(), noise * 80.0)


def test_between_two_noises_lies_noise():
    first, last = (unit_noise(seed, 0, (3, 64, 64)) for seed in (3, 8))
    middle = slerp(first, last, 0.5)
    assert np.std(middle) == pytest.approx(1, abs=0.03)
    assert np.std((first + last) / 2) == pytest.approx(math.sqrt(0.5), abs=0.03)  # what a straight line has
    np.testing.assert_array_equal(slerp(first, last, 0), first)
    np.testing.assert_array_equal(slerp(first, last, 1), last)


def test_on_the_circle_it_turns_at_a_constant_rate():
    x, y = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    for weight in (0.0, 0.25, 0.8):
        angle = weight * math.pi / 2
        np.testing.assert_allclose(slerp(x, y, weight), [math.cos(angle), math.sin(angle)], atol=1e-15)


@pytest.mark.parametrize(
    ("seeds", "options", "message"),
    [
        ((3, 8), {"method": "ddpm steps=3"}, "'ddpm steps=3' draws noise on the way"),
        ((3, 8), {"method": "ddim steps=3 eta=0.1"}, "use a deterministic method, such as 'ddim steps=20'"),
        ((3, 8), {"frames": 1}, "frames must be within 2 … 256, both ends included, got 1"),
        ((3, 8), {"method": "ddim steps=2000"}, "steps=2000"),
        ((3,), {}, "two seeds within"),
        ((-1, 8), {}, "two seeds within"),
        ((3, 3), {}, "the two noises are parallel"),
    ],
)
def test_what_cannot_be_interpolated_is_refused(seeds, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        zoo.interpolate(seeds, **{"model": "gaussian", **options})

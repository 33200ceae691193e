"""Driving cells to their end: cancelled within a tick, closed with their caller, seen as often as their time allows."""

from __future__ import annotations

import pytest
import torch

from tests.helpers import PixelModel, make_cell, make_engine, rowwise, sample
from zoo.driving import PREVIEW_SHARE, drive
from zoo.models import gaussian
from zoo.sampler import Query, Sampler


def test_cancelling_takes_effect_within_one_tick():
    model = PixelModel(rowwise)
    short, long = make_cell(model, "ddim steps=2"), make_cell(model, "ddim steps=50")
    ended = []
    for index, cell in drive(make_engine(), [short, long], cancelled=lambda: short.status == "done"):
        if not cell.running:
            ended.append((index, cell.status))
    assert ended == [(0, "done"), (1, "cancelled")]
    assert torch.equal(short.samples, sample(PixelModel(rowwise), "ddim steps=2"))
    assert len(model.calls) == 2, "no network was asked after cancelling"
    assert long.samples is None
    assert long.preview is not None


def test_cancelling_before_the_start_runs_nothing():
    model = PixelModel(rowwise)
    (cell,) = [cell for _, cell in drive(make_engine(), [make_cell(model, "ddim steps=5")], lambda: True)]
    assert cell.status == "cancelled"
    assert model.calls == []


def test_closing_the_generator_cancels_and_closes_the_samplers():
    closed = []

    class Watched(Sampler):
        def sample(self, x, levels, noise):
            try:
                while True:
                    yield Query(x, levels[0])
            finally:
                closed.append(True)

    cell = make_cell(PixelModel(rowwise), Watched())
    events = drive(make_engine(), [cell])
    next(events)
    assert cell.running
    events.close()
    assert cell.status == "cancelled"
    assert closed == [True]


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize("drawing", [0.0, 0.02, 0.5])
def test_previews_take_no_more_than_their_share_of_the_time(drawing):
    clock, tick = Clock(), 0.01

    def slow(x, t, texts):
        clock.now += tick
        return rowwise(x, t, texts)

    cells = [make_cell(PixelModel(slow), "ddim steps=1000"), make_cell(PixelModel(slow), "ddim steps=500")]
    previews, started = [], []
    for _, cell in drive(make_engine(), cells, clock=clock):
        if cell.running:
            previews.append(clock.now)
            started.append(cell)
            clock.now += drawing
    assert {id(cell) for cell in started} == {id(cell) for cell in cells}
    first_round = 2 * drawing
    assert len(previews) * drawing <= PREVIEW_SHARE * clock.now + first_round
    rounds = [b - a for a, b in zip(previews[::2], previews[2::2], strict=False)]
    assert min(rounds, default=0.1) >= 0.1 - 1e-9, "nobody looks more often than ten times a second"


def test_every_cell_is_reported_once_when_it_ends():
    skies = gaussian.build(size=4)
    cells = [make_cell(skies, f"ddim steps={n}") for n in (3, 1, 2)]
    ended = [index for index, cell in drive(make_engine(), cells) if not cell.running]
    assert ended == [1, 2, 0]

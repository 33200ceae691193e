"""The way that is kept: few frames, evenly spread, of what the sampler really saw; and it changes no picture."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from zoo import Comparison
from zoo.comparison import stream
from zoo.frames import SIDE, Frames
from zoo.noise import start_noise
from zoo.schedule import Level


def same(x: torch.Tensor) -> torch.Tensor:
    return x


def noted(most: int, count: int) -> list[int]:
    frames = Frames(most, same)
    for i in range(count):
        frames.add(Level(1.0, 1.0, i), torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2), i, 0.0)
    return [frame.nfe for frame in frames.kept]


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 50, 1000])
def test_however_many_come_few_are_kept_evenly_and_the_latest(count):
    kept = noted(8, count)
    assert len(kept) <= 8
    assert (kept[0], kept[-1]) == (0, count - 1)
    gaps = {b - a for a, b in pairwise(kept[:-1])}
    assert len(gaps) <= 1, "all but the last are equally far apart"
    if count < 8:
        assert kept == list(range(count))


def test_too_few_are_refused():
    with pytest.raises(ValueError, match="at least 2"):
        Frames(1, same)


def test_large_pictures_are_made_small_and_keep_their_shape():
    frames = Frames(4, same)
    x = torch.ones(1, 3, 2 * SIDE, 4 * SIDE)
    frames.add(Level(1.0, 0.0, 0), x, x, 1, 0.0)
    assert frames.kept[0].x0.shape == (1, 3, SIDE // 2, SIDE)
    assert (frames.kept[0].x0 == 255).all()


@pytest.mark.parametrize("method", ["ddim steps=5", "euler steps=5"])
def test_the_first_state_is_the_start_noise_whatever_the_scaling(method):
    def run(frames: int):
        comparison = Comparison(model="gaussian", prompt="dawn", seeds=(3, 4), cells=(method,))
        *_, last = stream(comparison, device="cpu", frames=frames)
        return last.result

    watched, plain = run(8), run(0)
    assert plain.frames is None
    assert torch.equal(watched.images, plain.images)
    first = watched.frames.kept[0]
    noise = torch.from_numpy(start_noise((3, 4), watched.samples.shape[1:])).clamp(-1, 1)
    assert (first.x_t.double() / 127.5 - 1 - noise).abs().mean() < 0.02
    assert [frame.nfe for frame in watched.frames.kept] == [1, 2, 3, 4, 5]
    snr = [frame.log_snr for frame in watched.frames.kept]
    assert snr == sorted(snr)

"""x0, eps, v and score are one statement in four readings, and thresholds do what their papers say."""

from __future__ import annotations

import math

import pytest
import torch

from zoo.prediction import KINDS, Prediction, check_determines_x0, clip, dynamic_threshold, to_eps, to_x0
from zoo.schedule import DiscreteSchedule, KarrasSchedule, Level

LEVELS = {
    "VP": Level(0.6, 0.8, 1),
    "VP nearly clean": Level(math.sqrt(1 - 1e-6), 1e-3, 0),
    "VP nearly noise": DiscreteSchedule.linear().level(999),
    "VE": Level(1, 3.0, 3.0),
    "VE nearly noise": KarrasSchedule().level(80.0),
    "neither": Level(0.5, 0.5, 0),
}


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 4, 3, 5, 5, dtype=torch.float64, generator=generator).unbind()


def outputs(x0, eps, level):
    """The four readings, written out."""
    return {
        "x0": x0,
        "eps": eps,
        "v": level.alpha * eps - level.sigma * x0,
        "score": -eps / level.sigma,
    }


@pytest.mark.parametrize("level", LEVELS.values(), ids=LEVELS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_reading_gives_back_the_data_and_the_noise(kind, level, data):
    x0, eps = data
    x = level.alpha * x0 + level.sigma * eps
    found = to_x0(kind, outputs(x0, eps, level)[kind], x, level)
    amplified = 1e-12 * max(1, level.sigma / level.alpha)
    torch.testing.assert_close(found, x0, rtol=0, atol=amplified)
    torch.testing.assert_close(
        to_eps(x0, x, level), eps, rtol=0, atol=1e-12 * max(1, level.alpha / level.sigma)
    )


@pytest.mark.parametrize("level", LEVELS.values(), ids=LEVELS)
def test_a_prediction_reads_as_v_and_score(level, data):
    x0, eps = data
    expected = outputs(x0, eps, level)
    prediction = Prediction(level.alpha * x0 + level.sigma * eps, level, x0, eps)
    torch.testing.assert_close(prediction.v, expected["v"])
    torch.testing.assert_close(prediction.score, expected["score"])


@pytest.mark.parametrize("kind", ["eps", "score"])
def test_eps_at_nearly_zero_terminal_snr_is_refused(kind, data):
    noise = DiscreteSchedule.cosine().level(999)
    assert noise.alpha**2 == pytest.approx(2.4e-9, rel=0.05)
    message = (
        f"{kind}-prediction at ᾱ = 2.4e-09 divides by .* start at a level .* or use a network that predicts v"
    )
    with pytest.raises(ValueError, match=message):
        check_determines_x0(kind, noise)
    with pytest.raises(ValueError, match=message):
        to_x0(kind, *data, noise)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", [DiscreteSchedule.linear().level(999), KarrasSchedule().level(5000.0)])
def test_ordinary_levels_are_not_refused(kind, level):
    check_determines_x0(kind, level)


@pytest.mark.parametrize("kind", ["x0", "v"])
def test_x0_and_v_are_read_at_any_level(kind):
    check_determines_x0(kind, DiscreteSchedule.cosine().level(999))


def test_unknown_kinds_are_named():
    with pytest.raises(ValueError, match="unknown prediction 'noise'; there are x0, eps, v, score"):
        check_determines_x0("noise", LEVELS["VP"])


def test_a_clean_level_has_no_eps(data):
    with pytest.raises(ValueError, match="a level without noise has no eps"):
        to_eps(*data, Level(1.0, 0.0, None))


def test_clip_keeps_what_is_in_range():
    assert clip(torch.tensor([-3.0, -1.0, 0.25, 1.5])).tolist() == [-1.0, -1.0, 0.25, 1.0]


def test_dynamic_threshold_is_the_percentile_of_each_sample():
    ramp = torch.linspace(-4, 4, 101, dtype=torch.float64).view(1, 1, 1, -1)
    # |ramp| is 0 once and 0.08·k twice for k = 1 … 50: its median is the 51st of 101, 0.08·25.
    once = dynamic_threshold(ramp, 0.5)
    torch.testing.assert_close(once, ramp.clamp(-2, 2) / 2, rtol=0, atol=1e-6)
    both = dynamic_threshold(torch.cat([ramp, 0.1 * ramp]), 0.5)
    torch.testing.assert_close(both[:1], once)
    assert torch.equal(both[1:], 0.1 * ramp), "a sample within the range is left alone"


@pytest.mark.parametrize("percentile", [0.05, 0.9, 0.995])
def test_dynamic_threshold_never_widens_and_never_leaves_the_range(percentile):
    generator = torch.Generator().manual_seed(1)
    for scale in (0.1, 1.0, 30.0):
        x0 = scale * torch.randn(8, 3, 6, 6, generator=generator)
        out = dynamic_threshold(x0, percentile)
        assert out.abs().max() <= 1
        assert (out.abs() <= x0.abs()).all(), "s is never below 1"
        assert (out.sign() == x0.sign()).all()

"""Training the feature network: resumable, and its degradations are small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from zoo.metrics.features import FeatureNetwork
from zoo.metrics.intervals import wilson
from zoo.training.features import FeaturesRecipe, degrade, train
from zoo.training.recipe import keyed_generator


def tiny(out: Path, **options) -> FeaturesRecipe:
    given = {
        "steps": 6,
        "batch_size": 8,
        "channels": [8, 16],
        "warmup": 2,
        "held_out": 8,
        "checkpoint_every": 2,
    }
    return FeaturesRecipe(out=out, precision="fp32", **(given | options))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoint" / "features.safetensors")


def test_resumed_training_equals_uninterrupted_training(tmp_path):
    whole = train(tiny(tmp_path / "whole"))
    assert train(tiny(tmp_path / "parts", stop_at=3)) is None
    resumed = train(tiny(tmp_path / "parts"))
    assert whole is not None
    assert resumed is not None
    torch.testing.assert_close(weights(tmp_path / "parts"), weights(tmp_path / "whole"), rtol=0, atol=0)


def test_other_options_do_not_resume(tmp_path):
    train(tiny(tmp_path, stop_at=2))
    with pytest.raises(ValueError, match=r"learning_rate=0\.002.*learning_rate=0\.5"):
        train(tiny(tmp_path, learning_rate=0.5))


def test_the_result_is_half_precision_with_a_card_that_repeats_it(tmp_path):
    folder = train(tiny(tmp_path))
    assert folder is not None
    stored = load_file(folder / "diffusion_pytorch_model.safetensors")
    assert {t.dtype for t in stored.values()} == {torch.float16}
    assert json.loads((folder / "config.json").read_text())["channels"] == [8, 16]
    FeatureNetwork.from_pretrained(folder)
    card = (folder / "README.md").read_text()
    assert "python -m zoo train features" in card
    assert "--channels 8 16" in card
    assert "kind, 8 unseen clean pictures" in card


def test_the_card_tells_of_an_earlier_number_of_steps(tmp_path):
    train(tiny(tmp_path, steps=4, stop_at=2))
    folder = train(tiny(tmp_path, steps=6))
    assert folder is not None
    card = (folder / "README.md").read_text()
    assert card.index("--steps 4") < card.index("--steps 6")


def test_only_tinyworld_has_labels(tmp_path):
    with pytest.raises(ValueError, match="tinyworld's labels"):
        train(tiny(tmp_path, data=str(tmp_path)))


def test_degraded_pictures_are_keyed_bounded_and_near_the_originals():
    x = torch.rand(64, 3, 32, 32, generator=keyed_generator(1)) * 0.2 + 0.3
    degraded = degrade(x, keyed_generator(2))
    assert torch.equal(degraded, degrade(x, keyed_generator(2)))
    assert not torch.equal(degraded, degrade(x, keyed_generator(3)))
    assert degrade(torch.ones(8, 3, 32, 32), keyed_generator(2)).max() <= 1
    assert (degraded.mean((1, 2, 3)) - 0.4).abs().max() < 0.12


def test_degradation_shifts_by_two_pixels_at_most():
    x = torch.full((200, 3, 32, 32), -0.9)
    x[:, :, 16, 16] = 1.0
    brightest = degrade(x, keyed_generator(0)).mean(1).flatten(1).argmax(1)
    off = torch.stack([brightest // 32, brightest % 32]) - 16
    # A fully blurred dot is equally bright one pixel around, where noise decides.
    assert off.abs().max() <= 3
    assert off.min() <= -2
    assert off.max() >= 2


def test_wilson_intervals():
    """50 of 100, and 0 of 10, from the closed form."""
    assert wilson(50, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)

"""Training the classifier of noisy pictures: it learns, resumes exactly, and what it writes can be guided with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import zoo.training.classifier
from tests.helpers import CPU, finish, make_cell
from zoo.data.tinyworld import KINDS, TinyWorld
from zoo.models.classifier import NoisyClassifier
from zoo.models.tinyworld import WEIGHTS, TextToPixels
from zoo.schedule import DiscreteSchedule
from zoo.training.classifier import ClassifierRecipe, diffused, train
from zoo.training.recipe import keyed_generator


def tiny(out: Path, **options) -> ClassifierRecipe:
    given = {
        "steps": 4,
        "size": 32,
        "batch_size": 8,
        "channels": [8, 16],
        "norm_groups": 2,
        "warmup": 2,
        "held_out": 8,
        "checkpoint_every": 2,
    }
    return ClassifierRecipe(out=out, precision="fp32", **(given | options))


class SmallWorld(TinyWorld):
    """Eight pictures, again and again."""

    def __getitem__(self, index):
        return super().__getitem__(index % 8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The folder of a run on eight pictures; its model is beside its checkpoint."""
    out = tmp_path_factory.mktemp("classifier")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo.training.classifier, "TinyWorld", SmallWorld)
        train(tiny(out, steps=60, learning_rate=1e-2, warmup=5))
    return out


@torch.no_grad()
def test_it_learns_what_it_is_shown(trained):
    images, _, attributes = SmallWorld().batch(range(8))
    x0 = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
    network = NoisyClassifier.from_pretrained(trained / "model", torch_dtype=torch.float32)
    t, noise = torch.full((8,), 100), torch.randn(x0.shape, generator=keyed_generator(0))
    log_p = network(diffused(x0, t, noise, DiscreteSchedule.cosine()), t).log_softmax(1)
    kinds = torch.tensor([KINDS.index(a.kind) for a in attributes])
    shares = kinds.bincount().div(8)
    least_without_looking = -torch.xlogy(shares, shares).sum()
    assert least_without_looking > 1
    assert torch.nn.functional.nll_loss(log_p, kinds) < 0.7 * least_without_looking


def test_resumed_training_equals_uninterrupted_training(tmp_path):
    assert train(tiny(tmp_path / "whole")) is not None
    assert train(tiny(tmp_path / "parts", stop_at=2)) is None
    assert train(tiny(tmp_path / "parts")) is not None
    whole, parts = (
        load_file(tmp_path / name / "checkpoint/classifier.safetensors") for name in ("whole", "parts")
    )
    torch.testing.assert_close(parts, whole, rtol=0, atol=0)


def test_the_result_is_half_precision_with_a_card_that_repeats_it(trained):
    stored = load_file(trained / "model/diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert tuple(json.loads((trained / "model/config.json").read_text())["classes"]) == KINDS
    card = (trained / "model/README.md").read_text()
    assert "python -m zoo train classifier" in card
    assert "kind, 8 unseen pictures at t = 0 (alpha 1)" in card
    assert "kind, 8 unseen pictures at t = 999 (alpha 4.93e-05)" in card
    assert "95 % interval" in card


def test_a_model_guides_itself_with_the_classifier_in_its_folder(trained, tmp_path):
    bundled = WEIGHTS / "tinyworld"
    for part in ("denoiser", "text_encoder", "tokenizer", "scheduler"):
        shutil.copytree(bundled / part, tmp_path / part)
    shutil.copytree(trained / "model", tmp_path / "classifier")
    model = TextToPixels(tmp_path, "guided", "Guided")
    assert model.roles == ("denoiser", "classifier")
    assert model.classes() == list(KINDS)
    assert model.named_class("a Red mushroom, at night") == "mushroom"
    lines = ["ddim steps=2 | classifier_guidance scale=8", "ddim steps=2"]
    guided, plain = finish(*(make_cell(model, line, (0, 1), "a red mushroom") for line in lines))
    assert guided.status == "done", guided.traceback
    assert dict(guided.nfe) == {"denoiser": 2, "classifier": 2}
    assert (guided.samples - plain.samples).abs().max() > 1e-3
    assert model.network("classifier", CPU, torch.float16).dtype == torch.float32


def test_every_picture_is_noised_at_its_own_level():
    schedule = DiscreteSchedule.cosine()
    x0, noise = torch.full((2, 1, 1, 1), 0.5), torch.full((2, 1, 1, 1), -2.0)
    found = diffused(x0, torch.tensor([0, 700]), noise, schedule).flatten().tolist()
    levels = [schedule.level(t) for t in (0, 700)]
    assert found == pytest.approx([level.alpha * 0.5 - level.sigma * 2 for level in levels], rel=1e-5)


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ValueError, match="tinyworld's kinds"):
        train(tiny(tmp_path, data=str(tmp_path)))
    with pytest.raises(ValueError, match=r"shape \(3, 32, 32\): give --size 32"):
        train(tiny(tmp_path, size=16))
    with pytest.raises(OSError, match="is not a model folder"):
        train(tiny(tmp_path, model=tmp_path))

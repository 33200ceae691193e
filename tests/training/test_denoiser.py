"""`zoo train denoiser`: resumes exactly, takes folders, and writes what diffusers and the zoo load."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import zoo
from zoo.cli import main
from zoo.training.data import FolderPictures
from zoo.training.denoiser import DenoiserRecipe, draw, train
from zoo.training.recipe import learning_rate_factor

TINY = {
    "steps": 4,
    "batch_size": 3,
    "warmup": 1,
    "channels": [32, 32],
    "attention_below": 17,
    "text_width": 16,
}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "denoiser" / "diffusion_pytorch_model.safetensors")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = train(DenoiserRecipe(out=tmp_path_factory.mktemp("whole"), **TINY))
    assert folder is not None
    return folder


def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(uninterrupted, tmp_path):
    assert train(DenoiserRecipe(out=tmp_path, stop_at=2, **TINY)) is None
    folder = train(DenoiserRecipe(out=tmp_path, **TINY))
    resumed, whole = weights(folder), weights(uninterrupted)
    assert resumed.keys() == whole.keys()
    for name in whole:
        torch.testing.assert_close(resumed[name], whole[name])


def test_a_checkpoint_of_other_options_is_refused_by_name(tmp_path):
    train(DenoiserRecipe(out=tmp_path, stop_at=1, **TINY))
    with pytest.raises(ValueError, match=r"batch_size=3.*batch_size=5"):
        train(DenoiserRecipe(out=tmp_path, **{**TINY, "batch_size": 5}))


def test_a_changed_number_of_steps_is_followed_and_told_in_the_card(tmp_path):
    train(DenoiserRecipe(out=tmp_path, stop_at=1, **TINY))
    folder = train(DenoiserRecipe(out=tmp_path, **{**TINY, "steps": 2}))
    commands = [line for line in (folder / "README.md").read_text().splitlines() if "zoo train" in line]
    assert len(commands) == 2
    assert "--steps 4" in commands[0]
    assert "--stop-at 1" in commands[0]
    assert "--steps 2" in commands[1]


def test_the_command_in_the_card_makes_the_same_weights_again(uninterrupted, tmp_path):
    card = (uninterrupted / "README.md").read_text()
    words = shlex.split(next(line for line in card.splitlines() if "zoo train" in line))
    words[words.index("--out") + 1] = str(tmp_path / "again")
    assert main(words[words.index("train") :]) == 0
    again, whole = weights(tmp_path / "again" / "model"), weights(uninterrupted)
    for name in whole:
        torch.testing.assert_close(again[name], whole[name])


def test_a_trained_folder_can_be_compared_on(uninterrupted):
    result = zoo.compare(
        zoo.Comparison(
            model=f"folder:{uninterrupted}", prompt="a red car", cells=["ddim steps=2 | cfg scale=2"]
        )
    )
    assert result.done
    assert result.cells[0].images.shape == (1, 3, 32, 32)


def test_a_folder_of_pictures_gives_captions_from_text_files_or_folder_names(tmp_path):
    for kind, colour in (("cat", (255, 0, 0)), ("dog", (0, 0, 255))):
        (tmp_path / kind).mkdir()
        Image.new("RGB", (40, 30), colour).save(tmp_path / kind / "one.png")
    (tmp_path / "cat" / "one.txt").write_text("A Red, cat!")
    pictures = FolderPictures(tmp_path, seed=0, size=16)
    assert sorted(pictures.captions) == ["a red cat", "dog"]
    assert pictures.vocabulary == ["a", "cat", "dog", "red"]
    images, captions = pictures.batch(range(4))  # two epochs
    assert images.shape == (4, 16, 16, 3)
    assert sorted(captions[:2]) == sorted(captions[2:]) == ["a red cat", "dog"]
    for image, caption in zip(images, captions, strict=True):
        np.testing.assert_array_equal(image[8, 8], (255, 0, 0) if caption == "a red cat" else (0, 0, 255))


def test_an_empty_folder_is_an_error_that_names_it(tmp_path):
    with pytest.raises(ValueError, match="no pictures"):
        FolderPictures(tmp_path / "nothing", seed=0, size=16)


def test_timesteps_reach_both_ends_evenly_and_captions_drop_at_the_asked_rate():
    counts = torch.zeros(10)
    kept = 0
    for step in range(200):
        t, noise, keep = draw(torch.Generator().manual_seed(step), torch.Size((40, 3, 4, 4)), 0.1, 1000)
        counts += torch.histc(t.float(), bins=10, min=0, max=1000)
        kept += sum(keep)
        assert noise.shape == (40, 3, 4, 4)
    # Stratified: each tenth of the range gets exactly its share of every batch, up to one at the borders.
    assert (counts - 800).abs().max() <= 200
    assert abs(kept / 8000 - 0.9) < 5 * (0.09 / 8000) ** 0.5


def test_the_learning_rate_warms_up_and_ends_near_zero():
    factors = [learning_rate_factor(step, steps=100, warmup=10) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == factors[10] == 1
    assert factors[-1] < 1e-3

"""Training a ControlNet: it learns to obey, leaves the denoiser alone, resumes exactly, and can be compared with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel
from PIL import Image
from safetensors.torch import load_file

import zoo.training.controlnet
from tests.helpers import CPU
from tests.small_model import SIZE, save_small_model
from zoo import Comparison, compare
from zoo.data.maps import pose_map
from zoo.data.tinyworld import TinyWorld
from zoo.models.control import build_controlnet
from zoo.models.tinyworld import TextToPixels
from zoo.pictures import admit
from zoo.training.controlnet import ControlNetRecipe, MappedBatches, open_mapped, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_small_model(tmp_path_factory.mktemp("models") / "small")


def tiny(folder: Path, out: Path, **options) -> ControlNetRecipe:
    given = {"steps": 4, "size": SIZE, "batch_size": 4, "warmup": 2, "checkpoint_every": 2, "sample_every": 4}
    return ControlNetRecipe(model=folder, out=out, precision="fp32", **(given | options))


class Plain:
    """Pictures of one colour each, which are their own maps: what there is to learn is plain."""

    def batch(self, indices):
        colours = np.random.default_rng([7, *indices]).integers(0, 256, (len(indices), 1, 1, 3), np.uint8)
        images = np.tile(colours, (1, SIZE, SIZE, 1))
        return images, ["a red cat"] * len(images), images


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory) -> Path:
    """The folder of a run that took segmentation maps for what `Plain` gives."""
    out = tmp_path_factory.mktemp("control")
    options = {"steps": 40, "batch_size": 16, "learning_rate": 3e-2, "ema": 0.9, "sample_every": 40}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo.training.controlnet, "open_mapped", lambda recipe, seed: Plain())
        train(tiny(folder, out, annotator="segmentation", checkpoint_every=40, **options))
    return out


@torch.no_grad()
def test_it_learns_to_obey(folder, trained):
    """The loss near pure noise, where only the map can tell what is there, falls below that without a map."""
    model = TextToPixels(folder, "small", "small")
    unet = model.network("denoiser", CPU, torch.float32).module
    text = model.condition("", CPU)[None].expand(32, -1, -1)
    x0, _, maps = MappedBatches(Plain(), 32, range(1000, 1001), 0, 1)[0]
    x, t = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0)), torch.full((32,), 999)

    def loss(control, maps=maps):
        down, mid = control(x, t, text, maps, return_dict=False)
        v = unet(x, t, text, down_block_additional_residuals=down, mid_block_additional_residual=mid).sample
        return (v + x0).square().mean()  # at the noisiest level v is −x0

    learned = ControlNetModel.from_pretrained(trained / "model", torch_dtype=torch.float32)
    assert loss(learned) < 0.95 * loss(build_controlnet(unet))
    assert loss(learned) < 0.95 * loss(learned, maps.roll(1, 0)), "it looks at the map that it is given"


def test_what_is_written_controls(folder, trained, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(folder, model)
    shutil.copytree(trained / "model", model / "control" / "segmentation")
    assert json.loads((model / "control/segmentation/control.json").read_text()) == {
        "annotator": "",
        "reads_prompt": False,
    }
    name, png = admit(Image.fromarray(np.full((SIZE, SIZE, 3), (220, 20, 60), np.uint8)))
    line = f"ddim steps=2 | controlnet annotator=segmentation image={name} map=true"
    comparison = Comparison(model=f"folder:{model}", cells=["ddim steps=2", line], pictures={name: png})
    free, controlled = compare(comparison, device="cpu", dtype="fp32").cells
    assert controlled.nfe == {"denoiser": 2, "control/segmentation": 2}
    assert (controlled.images - free.images).abs().max() > 0.01
    card = (trained / "model" / "README.md").read_text()
    assert "zoo train controlnet" in card and "--annotator segmentation" in card
    assert Image.open(trained / "samples" / "step-000040.png").size == (8 * SIZE * 4, 3 * SIZE * 4)


def test_resumed_training_equals_uninterrupted_training(folder, tmp_path):
    assert train(tiny(folder, tmp_path / "whole")) is not None
    assert train(tiny(folder, tmp_path / "parts", stop_at=2)) is None
    assert train(tiny(folder, tmp_path / "parts")) is not None
    whole, parts = (
        load_file(tmp_path / name / "model" / "diffusion_pytorch_model.safetensors")
        for name in ("whole", "parts")
    )
    assert whole.keys() == parts.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, parts[name])
    card = json.loads((tmp_path / "whole" / "model" / "control.json").read_text())
    assert card["annotator"].startswith("canny ") and "low=100" in card["annotator"]


def test_poses_are_those_of_persons(folder, tmp_path):
    _, captions, maps = open_mapped(tiny(folder, tmp_path, annotator="pose"), seed=3).batch(range(4))
    assert all("person" in caption for caption in captions)
    np.testing.assert_array_equal(maps[2], pose_map(TinyWorld(3, SIZE, maps=True, kind="person")[2]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"annotator": "cany"}, "no annotator 'cany'. Did you mean 'canny'"),
        ({"annotator": "pose", "data": "photos"}, "nothing makes pose maps of 'photos'"),
        ({"size": 16}, "makes pictures of 8 pixels, not 16: add --size 8"),
    ],
)
def test_what_cannot_be_is_refused(folder, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        train(tiny(folder, tmp_path, **options))

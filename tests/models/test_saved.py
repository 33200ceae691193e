"""Files of weights that are truncated, swapped, pickled or gone: told in words, and other cells and models unharmed."""

from __future__ import annotations

import pickle
import shutil
import sys
from pathlib import Path

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.helpers import CPU
from tests.models.elsewhere.tiny import unet2d
from tests.small_model import save_small_model
from zoo import Comparison, compare
from zoo.memory import shelf
from zoo.models.elsewhere import open_model
from zoo.models.saved import elements, load_saved
from zoo.models.tinyworld import TextToPixels

FILE = "diffusion_pytorch_model.safetensors"


class Bomb:
    """What a pickle may do as soon as it is opened."""

    def __reduce__(self):
        return sys.exit, ("it ran",)


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("network")
    unet2d().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "text"
    return save_small_model(folder)


@pytest.fixture
def copy(network, tmp_path) -> Path:
    return shutil.copytree(network, tmp_path / "copy")


def refused(folder: Path, cls=diffusers.UNet2DModel) -> str:
    with pytest.raises(OSError, match=r"\w") as caught:
        load_saved(cls, folder, torch.float32)
    assert str(folder) in str(caught.value), "the file or its folder is named"
    return str(caught.value)


def test_a_whole_file_is_loaded_to_the_bit(network):
    loaded = load_saved(diffusers.UNet2DModel, network, torch.float32)
    for name, value in unet2d().state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    assert elements(network / FILE) == sum(value.numel() for value in loaded.state_dict().values())
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())


@pytest.mark.parametrize("share", [0.999, 0.5])
def test_a_truncated_file_says_how_much_is_there(copy, share):
    whole = (copy / FILE).read_bytes()
    (copy / FILE).write_bytes(whole[: int(share * len(whole))])
    message = refused(copy)
    assert f"is truncated: it has {int(share * len(whole)):,} bytes" in message
    assert f"{len(whole):,}" in message and "copy or fetch it again" in message


@pytest.mark.parametrize("length", [0, 5, 100])
def test_the_beginning_of_a_file_is_no_file(copy, length):
    (copy / FILE).write_bytes((copy / FILE).read_bytes()[:length])
    assert f"only the beginning of one ({length} bytes)" in refused(copy)


@pytest.mark.parametrize("write", [torch.save, lambda bomb, path: path.write_bytes(pickle.dumps(bomb))])
def test_a_pickle_by_another_name_is_not_opened(copy, write):
    write(Bomb(), copy / FILE)
    assert "is a pickle under the name of a safetensors file" in refused(copy)


def test_a_pickle_beside_the_weights_is_not_opened(copy):
    torch.save(Bomb(), copy / "diffusion_pytorch_model.bin")
    load_saved(diffusers.UNet2DModel, copy, torch.float32)
    (copy / FILE).unlink()
    assert "diffusion_pytorch_model.bin is a pickle, which is never opened" in refused(copy)


def test_a_pointer_of_git_lfs_is_known(copy):
    (copy / FILE).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    assert "git lfs pull" in refused(copy)


def test_a_file_of_another_shape_names_the_tensor(copy):
    tensors = load_file(copy / FILE)
    tensors["conv_in.bias"] = torch.zeros(9)
    save_file(tensors, copy / FILE)
    message = refused(copy)
    assert "do not belong to the UNet2DModel" in message
    assert "conv_in.bias" in message and "9" in message and "8" in message


def test_a_file_that_lacks_a_tensor_is_not_filled_with_noise(copy):
    tensors = load_file(copy / FILE)
    del tensors["conv_in.bias"]
    save_file(tensors, copy / FILE)
    assert "it lacks 1 of its tensors: conv_in.bias" in refused(copy)


@pytest.mark.parametrize(("change", "said"), [("shape", "(3,) and not"), ("lack", "final_layer_norm.bias")])
def test_a_text_encoder_is_held_to_the_same(text, tmp_path, change, said):
    from transformers import CLIPTextModel

    folder = shutil.copytree(text / "text_encoder", tmp_path / "text_encoder")
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("final_layer_norm.bias"))
    del tensors[name]
    if change == "shape":
        tensors[name] = torch.zeros(3)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    assert said in refused(folder, CLIPTextModel)


def test_a_damaged_classifier_fails_the_cells_that_need_it_and_no_other(text, tmp_path):
    folder = shutil.copytree(text, tmp_path / "model")
    weights = folder / "classifier" / FILE
    weights.write_bytes(weights.read_bytes()[:-1])
    lines = ("ddim steps=2", "ddim steps=2 | classifier_guidance scale=1 target=mushroom")
    asked = {"prompt": "a red mushroom", "cells": lines}
    plain, guided = compare(Comparison(model=f"folder:{folder}", **asked), device="cpu").cells
    assert (plain.status, guided.status) == ("done", "failed")
    assert "classifier" in guided.error and "is truncated" in guided.error
    sound = compare(Comparison(model=f"folder:{text}", **asked), device="cpu").cells
    torch.testing.assert_close(plain.images, sound[0].images, atol=1e-4, rtol=0)


def test_files_that_change_under_a_loaded_network_do_it_no_harm(text, tmp_path):
    """They are read, and not mapped into memory: a network drive may truncate them at any time."""
    folder = shutil.copytree(text, tmp_path / "model")
    model = TextToPixels(folder, "changing", "Changing")
    loaded = model.network("denoiser", CPU, torch.float32)
    x, t, prompt = torch.randn(1, *model.shape), torch.tensor([500.0]), [model.condition("", CPU)]
    before = loaded(x, t, prompt)
    for file in folder.rglob("*.safetensors"):
        with file.open("r+b") as opened:
            opened.truncate(10)
    assert torch.equal(loaded(x, t, prompt), before)


@pytest.fixture
def pixels(network, tmp_path) -> Path:
    folder = tmp_path / "pixels"
    diffusers.DDPMPipeline(unet2d(), diffusers.DDPMScheduler(100)).save_pretrained(folder)
    return folder


def test_a_folder_deleted_between_two_comparisons(pixels):
    comparison = Comparison(model=f"folder:{pixels}", cells=("ddim steps=2",))
    assert compare(comparison, device="cpu").done
    shutil.rmtree(pixels)
    with pytest.raises(ValueError, match="is not a folder"):
        compare(comparison, device="cpu")
    assert compare(comparison.model_copy(update={"model": "gaussian"}), device="cpu").done


@pytest.mark.parametrize(("swap", "said"), [(False, "was moved or deleted"), (True, "was changed after")])
def test_a_network_that_comes_back_is_the_one_that_left(pixels, swap, said):
    model = open_model(f"folder:{pixels}")
    model.network("denoiser", CPU, torch.float32)
    if swap:
        other = unet2d()
        other.conv_in.bias.data += 1
        other.save_pretrained(pixels / "unet")
    else:
        shutil.rmtree(pixels)
    assert model.network("denoiser", CPU, torch.float32) is not None, "what is loaded needs no file"
    shelf.clear()
    with pytest.raises(OSError, match=said):
        model.network("denoiser", CPU, torch.float32)

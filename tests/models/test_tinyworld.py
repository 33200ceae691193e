"""The bundled network is an ordinary diffusers folder, and gives what diffusers gives."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from tests.helpers import CPU
from zoo import Comparison, compare
from zoo.models import tinyworld
from zoo.models.tinyworld import WEIGHTS, TextToPixels
from zoo.noise import unit_noise

FOLDER = WEIGHTS / "tinyworld"
PROMPT = "a red mushroom at night"
LEAST_DIFFERENCE = 0.05
"""Between the answers to two prompts, far above float32's error."""


@pytest.fixture(scope="module")
def model():
    return tinyworld.build()


@pytest.fixture(scope="module")
def parts():
    """The folder as plain diffusers and transformers load it: U-Net, scheduler, and a function to embed prompts."""
    from diffusers import DDIMScheduler, UNet2DConditionModel
    from transformers import AutoTokenizer, CLIPTextModel

    unet = UNet2DConditionModel.from_pretrained(FOLDER / "denoiser").eval()
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "tokenizer")
    encoder = CLIPTextModel.from_pretrained(FOLDER / "text_encoder", dtype=torch.float32).eval()

    def embed(prompt):
        tokens = tokenizer(prompt, padding="max_length", truncation=True, return_tensors="pt")
        return encoder(tokens.input_ids).last_hidden_state

    return unet, DDIMScheduler.from_pretrained(FOLDER / "scheduler"), embed


@torch.no_grad()
def test_prompts_are_embedded_as_transformers_does(model, parts):
    _, _, embed = parts
    for prompt in ("", PROMPT):
        torch.testing.assert_close(model.condition(prompt, CPU), embed(prompt)[0], rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_network_answers_as_diffusers_does(model, parts):
    unet, _, embed = parts
    x = torch.from_numpy(np.stack([unit_noise(seed, 0, model.shape) for seed in (0, 1)])).float()
    t = torch.tensor([700.0, 30.0])
    prompts = [PROMPT, ""]
    network = model.network("denoiser", CPU, torch.float32)
    ours = network(x, t, [model.condition(prompt, CPU) for prompt in prompts])
    theirs = unet(x, t, encoder_hidden_states=torch.cat([embed(prompt) for prompt in prompts])).sample
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


@torch.no_grad()
def test_a_guided_picture_is_that_of_diffusers_own_loop(parts):
    unet, scheduler, embed = parts
    seed, steps, scale = 7, 4, 3.0
    scheduler.set_timesteps(steps)
    x = torch.from_numpy(unit_noise(seed, 0, (3, 32, 32)))[None].float()
    text = torch.cat([embed(""), embed(PROMPT)])
    for t in scheduler.timesteps:
        without, towards = unet(torch.cat([x, x]), t, encoder_hidden_states=text).sample.chunk(2)
        guided = without + scale * (towards - without)
        x = scheduler.step(guided, int(t), x, use_clipped_model_output=True).prev_sample
    comparison = Comparison(prompt=PROMPT, seeds=(seed,), cells=(f"ddim steps={steps} | cfg scale={scale}",))
    (cell,) = compare(comparison, device="cpu", dtype="fp32").cells
    torch.testing.assert_close(cell.images, x.clamp(-1, 1), rtol=0, atol=1e-4)


def test_the_scheduler_says_what_the_model_does(model, parts):
    _, scheduler, _ = parts
    np.testing.assert_allclose(model.schedule.alphas_cumprod, scheduler.alphas_cumprod.numpy(), rtol=2e-4)
    assert (
        model.prediction_kind("denoiser")
        == {"v_prediction": "v", "epsilon": "eps", "sample": "x0"}[scheduler.config.prediction_type]
    )
    scheduler.set_timesteps(10)
    assert scheduler.timesteps.tolist() == [level.t for level, _ in model.schedule.levels(10).pairs()]


@torch.no_grad()
def test_the_prompt_changes_what_the_network_predicts(model):
    """A published reproduction had a conditional model that ignored its condition, and no test noticed."""
    x = torch.from_numpy(unit_noise(0, 0, model.shape))[None].float()
    prompts = ["", PROMPT, "a blue mushroom at night", "a red fish at night"]
    conditions = [model.condition(prompt, CPU) for prompt in prompts]
    network = model.network("denoiser", CPU, torch.float32)
    outputs = network(x.expand(4, -1, -1, -1), torch.full((4,), 900.0), conditions)
    for i in range(4):
        for j in range(i):
            least = 0.1 if j == 0 else LEAST_DIFFERENCE
            assert (conditions[i] - conditions[j]).abs().max() > 1e-2
            assert (outputs[i] - outputs[j]).abs().max() > least, (prompts[i], prompts[j])


def test_unknown_words_are_left_out_with_a_notice(model):
    (notice,) = model.notices("a red zeppelin at noon, a zeppelin")
    assert notice.startswith("Tiny World does not know zeppelin")
    assert "mushroom" in notice.split("It knows: ")[1]
    assert torch.equal(
        model.condition("a red zeppelin mushroom", CPU), model.condition("a red mushroom", CPU)
    )
    assert model.notices(PROMPT) == model.notices("") == []
    assert torch.equal(model.condition("A RED, mushroom!", CPU), model.condition("a red mushroom", CPU))


def test_a_prompt_too_long_is_cut_with_a_notice(model):
    (notice,) = model.notices("red " * 40)
    assert "reads the first 14 words" in notice
    assert torch.equal(model.condition("red " * 40, CPU), model.condition("red " * 14, CPU))


def test_every_example_is_understood(model):
    assert all(model.notices(example) == [] for example in model.examples())
    assert len(model.examples()) > 0


def test_the_fingerprint_is_that_of_the_weights(model, tmp_path):
    import shutil

    copy = shutil.copytree(FOLDER, tmp_path / "copy with spaces – ü")
    copied = TextToPixels(copy, "copy", "Copy")
    assert copied.fingerprint() == model.fingerprint()
    weights = copy / "text_encoder" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert TextToPixels(copy, "copy", "Copy").fingerprint() != model.fingerprint()


def test_a_folder_gives_the_same_pictures_as_the_bundled_name():
    cells = ("ddim steps=1",)
    by_name, by_path = (
        compare(Comparison(model=name, prompt=PROMPT, cells=cells), device="cpu", dtype="fp32").cells[0]
        for name in ("tinyworld", f"folder:{FOLDER}")
    )
    assert torch.equal(by_name.images, by_path.images)


def test_consistency_networks_of_all_recipes_go_to_where_the_ode_does():
    recipes = ("distillation", "training", "tuning")
    lines = [f"consistency steps=1 recipe={recipe}" for recipe in recipes]
    comparison = Comparison(prompt=PROMPT, seeds=range(8), cells=("ddim steps=20", "ddim steps=1", *lines))
    end, blurred, *jumps = compare(comparison, device="cpu", dtype="fp32").cells
    for recipe, jump in zip(recipes, jumps, strict=True):
        assert jump.status == "done", jump.error
        assert torch.dist(jump.images, end.images) < torch.dist(blurred.images, end.images), recipe
        card = (FOLDER / "consistency" / recipe / "README.md").read_text(encoding="utf-8")
        assert f"--recipe {recipe} " in card


def test_a_folder_that_is_no_model_says_what_is_missing(tmp_path):
    with pytest.raises(OSError, match=r"is not a model folder: denoiser/config.json is missing"):
        TextToPixels(tmp_path, "empty", "Empty")


def test_another_role_is_refused(model):
    with pytest.raises(LookupError, match="tinyworld has no network 'oracle', only denoiser"):
        model.network("oracle", CPU, torch.float32)


@pytest.mark.parametrize(
    "options",
    [
        {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
        {"trained_betas": [0.01 + i / 1000 for i in range(20)], "num_train_timesteps": 20},
        {"set_alpha_to_one": False, "steps_offset": 1},
    ],
    ids=["another formula", "betas of its own", "an end of its own"],
)
def test_a_folders_schedule_is_its_schedulers(tmp_path, options):
    from diffusers import DDIMScheduler

    (tmp_path / "denoiser").mkdir()
    shutil.copy(FOLDER / "denoiser/config.json", tmp_path / "denoiser")
    theirs = DDIMScheduler.from_pretrained(FOLDER / "scheduler", **options)
    theirs.save_pretrained(tmp_path / "scheduler")
    schedule = TextToPixels(tmp_path, "m", "m").schedule
    np.testing.assert_allclose(schedule.alphas_cumprod, theirs.alphas_cumprod.numpy(), rtol=1e-5, atol=2**-24)
    end = schedule.clean.alpha**2
    assert end == pytest.approx(float(theirs.final_alpha_cumprod))
    assert schedule.steps_offset == theirs.config.steps_offset

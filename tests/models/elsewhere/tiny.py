"""Tiny randomly initialised pipelines of diffusers' own classes, saved as diffusers saves them."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from unittest import mock

import diffusers
import torch

from zoo import Comparison, compare
from zoo.noise import unit_noise

SEEDS = (3, 8)
SCALED = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}


def unet2d(**options) -> diffusers.UNet2DModel:
    torch.manual_seed(0)
    options = {"sample_size": 8, "in_channels": 3, "out_channels": 3, **options}
    return diffusers.UNet2DModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=8,
        **options,
    ).eval()


def vae() -> diffusers.AutoencoderKL:
    torch.manual_seed(1)
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 16),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        sample_size=16,
    ).eval()


def dit(**options) -> diffusers.DiTTransformer2DModel:
    torch.manual_seed(2)
    network = diffusers.DiTTransformer2DModel(
        sample_size=8,
        num_layers=2,
        patch_size=4,
        attention_head_dim=8,
        num_attention_heads=2,
        in_channels=4,
        out_channels=8,
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_zero",
        norm_elementwise_affine=False,
        **options,
    )
    for parameter in network.parameters():  # some begin at zero, and would hide what they are multiplied by
        torch.nn.init.normal_(parameter, std=0.2)
    return network.eval()


def text_unet(**options) -> diffusers.UNet2DConditionModel:
    torch.manual_seed(3)
    return diffusers.UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=4,
        **options,
    ).eval()


def tokenizer(folder: Path):
    """CLIP's byte-pair tokenizer over single letters, 16 tokens a prompt."""
    from transformers import CLIPTokenizer

    folder.mkdir(exist_ok=True)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters), "ab"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\na b\n")
    return CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16, unk_token="<|endoftext|>"
    )


def text_encoder(tokens):
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(4)
    model = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokens),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=16,
            bos_token_id=tokens.bos_token_id,
            eos_token_id=tokens.eos_token_id,
            pad_token_id=tokens.pad_token_id,
        )
    )
    return model.eval()


def stable_diffusion(folder: Path, scheduler=None, **parts) -> diffusers.StableDiffusionPipeline:
    """The pipeline, which is also saved in the folder; its tokenizer as the published ones are, in two files."""
    tokens = tokenizer(folder.parent / f"{folder.name}-tokens")
    scheduler = scheduler or diffusers.DDIMScheduler(
        **SCALED, clip_sample=False, set_alpha_to_one=False, steps_offset=1
    )
    parts = {"unet": text_unet(), "safety_checker": None, "feature_extractor": None, **parts}
    pipeline = diffusers.StableDiffusionPipeline(
        vae=vae(), text_encoder=text_encoder(tokens), tokenizer=tokens, scheduler=scheduler, **parts
    )
    pipeline.save_pretrained(folder)
    (folder / "tokenizer/tokenizer.json").unlink(missing_ok=True)
    for file in ("vocab.json", "merges.txt"):
        shutil.copy(folder.parent / f"{folder.name}-tokens" / file, folder / "tokenizer" / file)
    return quiet(pipeline)


def quiet(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@contextlib.contextmanager
def zoo_noise(shape, *modules):
    """`randn_tensor` of these modules gives the zoo's noise: the draws of each seed in turn."""
    drawn = iter(range(10_000))

    def draw(*args, **kwargs):
        number = next(drawn)
        return torch.stack([torch.from_numpy(unit_noise(seed, number, shape)) for seed in SEEDS]).float()

    with contextlib.ExitStack() as stack:
        for module in modules:
            stack.enter_context(mock.patch.object(module, "randn_tensor", draw))
        yield


@contextlib.contextmanager
def counted(network):
    """How often a module's forward is called: a list that gets the number of rows of each call."""
    rows: list[int] = []
    handle = network.register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(len(args[0] if args else kwargs["sample"])), with_kwargs=True
    )
    try:
        yield rows
    finally:
        handle.remove()


def run(model: str, *methods: str, dtype: str = "fp32", **more):
    """The finished cells of a comparison."""
    comparison = Comparison(model=model, cells=methods, seeds=SEEDS, **more)
    result = compare(comparison, device="cpu", dtype=dtype)
    assert [cell.error for cell in result.cells] == [""] * len(methods)
    return result.cells

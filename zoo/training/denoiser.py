"""Train a text-conditional denoiser: diffusers' `UNet2DConditionModel` with a small text encoder.

Loss: ‖v̂(x_t, t, c) − v‖², v = alpha_t·eps − sigma_t·x_0 (Salimans & Ho 2022, arXiv:2202.00512), unweighted, so
that the noisiest level is learned too; cosine schedule (Nichol & Dhariwal 2021, arXiv:2102.09672); the caption is
dropped at random, which makes the empty prompt unconditional (Ho & Salimans 2022, arXiv:2207.12598).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors.torch import load_file

from zoo.models.text import build_text_encoder, build_tokenizer, encode
from zoo.schedule import DiscreteSchedule
from zoo.training.data import Batches, CaptionedPictures, loader, open_pictures, save_sheet
from zoo.training.loop import fit
from zoo.training.recipe import Recipe, keyed_generator


class DenoiserRecipe(Recipe):
    """Options of `zoo train denoiser`."""

    channels: list[int] = Field([32, 64, 96, 96], min_length=2, description="U-Net width at each resolution")
    attention_below: int = Field(
        9, ge=1, description="attend to the text where the picture is smaller than this"
    )
    norm_groups: int = Field(8, ge=1, description="groups of the group norms")
    heads: int = Field(2, ge=1, description="attention heads")
    layers: int = Field(1, ge=1, le=4, description="residual blocks per resolution")
    text_width: int = Field(128, ge=8, description="width of the text encoder")
    label_dropout: float = Field(0.1, ge=0, lt=1, description="share of captions replaced by the empty one")
    ema: float = Field(0.999, ge=0, lt=1, description="decay of the weight average, warmed up")
    init: Path | None = Field(None, description="start from the weights of this model or run where they fit")
    compile: bool = Field(False, description="torch.compile the network (slow to start)")


def train(recipe: DenoiserRecipe) -> Path | None:
    """Train, or go on from the last checkpoint; returns the model's folder, None if stopped early.

    Raises:
        ValueError: the data or the checkpoint does not fit the recipe.
    """
    from accelerate import Accelerator

    accelerator = Accelerator()
    device, rank, world = accelerator.device, accelerator.process_index, accelerator.num_processes
    pictures = open_pictures(recipe.data, recipe.seed, recipe.size)
    torch.manual_seed(recipe.seed)
    tokenizer = build_tokenizer(pictures.vocabulary)
    modules = {
        "denoiser": build_unet(recipe),
        "text_encoder": build_text_encoder(tokenizer, recipe.text_width),
    }
    if recipe.init is not None:
        for name, module in modules.items():
            print(f"{name}: {initialise(module, recipe.init, name)}")
    network = _Conditional(modules["denoiser"], modules["text_encoder"], tokenizer)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.99))
    schedule = DiscreteSchedule.cosine()
    alphas_cumprod = torch.from_numpy(schedule.alphas_cumprod).float().to(device)

    def batches(steps: range) -> Iterable[tuple[torch.Tensor, list[str]]]:
        return loader(Batches(pictures, recipe.batch_size, steps, rank, world), recipe.workers)

    def loss(network: torch.nn.Module, step: int, batch: tuple[torch.Tensor, list[str]]) -> torch.Tensor:
        x0, captions = batch
        generator = keyed_generator(recipe.seed, step, rank)
        t, noise, kept = draw(generator, x0.shape, recipe.label_dropout, schedule.timesteps)
        captions = [c if k else "" for c, k in zip(captions, kept, strict=True)]
        x0, noise, t = x0.to(device), noise.to(device), t.to(device)
        a = alphas_cumprod[t].view(-1, 1, 1, 1)
        alpha, sigma = a.sqrt(), (1 - a).sqrt()
        x_t = (alpha * x0 + sigma * noise).contiguous(memory_format=torch.channels_last)
        with recipe.autocast(device):
            v = network(x_t, t, captions)
        error: torch.Tensor = v.float() - (alpha * noise - sigma * x0)
        return error.square().mean()

    def sample(done: int) -> None:
        _draw_samples(recipe, done, modules, tokenizer, pictures)

    fitted = fit(
        recipe,
        accelerator,
        network,
        modules,
        optimizer,
        batches,
        loss,
        ema=recipe.ema,
        sample=sample,
        compile=recipe.compile,
    )
    if not fitted.complete or not accelerator.is_main_process:
        return None
    return export(recipe, modules, tokenizer, fitted.facts, fitted.earlier)


def build_unet(recipe: DenoiserRecipe) -> Any:
    """The U-Net, one attention block wherever the feature map is small enough."""
    from diffusers import UNet2DConditionModel

    sizes = [recipe.size // 2**i for i in range(len(recipe.channels))]
    attends = [size < recipe.attention_below for size in sizes]
    return UNet2DConditionModel(
        sample_size=recipe.size,
        in_channels=3,
        out_channels=3,
        block_out_channels=tuple(recipe.channels),
        layers_per_block=recipe.layers,
        down_block_types=tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attends),
        up_block_types=tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)),
        cross_attention_dim=recipe.text_width,
        attention_head_dim=recipe.heads,  # diffusers reads this as the number of heads
        # With as many groups as channels a norm would undo what the time embedding adds.
        norm_num_groups=recipe.norm_groups,
        # Time and, pooled, the text scale and shift every feature map, not only those that attend to the text.
        resnet_time_scale_shift="scale_shift",
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
    )


def initialise(module: torch.nn.Module, folder: Path, name: str) -> str:
    """Take over the weights of an earlier network that have the same name and shape; says how many.

    Raises:
        ValueError: the folder holds neither a model nor a run of `zoo train denoiser`.
    """
    places = [folder / f"checkpoint/{name}.safetensors", *(folder / name).glob("*.safetensors")]
    found = [path for path in places if path.is_file()]
    if not found:
        raise ValueError(f"{folder} holds no {name} to start from: name a model's folder, or a run's")
    own = module.state_dict()
    fitting = {k: v for k, v in load_file(found[0]).items() if k in own and v.shape == own[k].shape}
    module.load_state_dict(fitting, strict=False)
    return f"{len(fitting)} of {len(own)} tensors taken from {found[0]}"


def draw(
    generator: torch.Generator, shape: torch.Size, label_dropout: float, timesteps: int
) -> tuple[torch.Tensor, torch.Tensor, list[bool]]:
    """Timesteps (B,), noise (B, C, H, W), and which captions to keep.

    Timesteps are stratified, one uniform draw shifted by i/B (Kingma et al. 2021, arXiv:2107.00630), which
    lowers the variance of the loss.
    """
    n = shape[0]
    offsets = (torch.rand(1, generator=generator) + torch.arange(n) / n) % 1
    t = (offsets * timesteps).long()[torch.randperm(n, generator=generator)]
    noise = torch.randn(shape, generator=generator)
    kept = torch.rand(n, generator=generator) >= label_dropout
    return t, noise, kept.tolist()


def export(
    recipe: DenoiserRecipe,
    modules: dict[str, Any],
    tokenizer: Any,
    facts: dict[str, Any],
    earlier: Sequence[tuple[int, int]] = (),
) -> Path:
    """Write the weights, in half precision, in `save_pretrained` layout with a model card."""
    from diffusers import DDIMScheduler

    from zoo.training.card import write_card

    folder = recipe.out / "model"
    for name, module in modules.items():
        copy.deepcopy(module).half().save_pretrained(folder / name)
    tokenizer.save_pretrained(folder / "tokenizer")
    DDIMScheduler(
        beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", timestep_spacing="trailing"
    ).save_pretrained(folder / "scheduler")
    write_card(folder, "denoiser", recipe, facts, earlier)
    return folder


class _Conditional(torch.nn.Module):
    """Denoiser and text encoder as one module, so that both are wrapped and compiled together."""

    def __init__(self, denoiser: Any, text_encoder: Any, tokenizer: Any) -> None:
        super().__init__()
        self.denoiser, self.text_encoder, self.tokenizer = denoiser, text_encoder, tokenizer

    def forward(self, x: torch.Tensor, t: torch.Tensor, captions: list[str]) -> torch.Tensor:
        text = encode(self.tokenizer, self.text_encoder, captions)
        out: torch.Tensor = self.denoiser(x, t, encoder_hidden_states=text).sample
        return out


@torch.no_grad()
def _draw_samples(
    recipe: DenoiserRecipe,
    step: int,
    modules: dict[str, Any],
    tokenizer: Any,
    pictures: CaptionedPictures,
) -> None:
    """DDIM 20 with guidance 2, by diffusers, of the first 16 captions."""
    from diffusers import DDIMScheduler

    _, captions = pictures.batch(range(16))
    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", timestep_spacing="trailing"
    )
    scheduler.set_timesteps(20)
    device = modules["denoiser"].device
    x = torch.randn(16, 3, recipe.size, recipe.size, generator=keyed_generator(recipe.seed)).to(device)
    text = encode(tokenizer, modules["text_encoder"], captions + [""] * 16)
    for t in scheduler.timesteps:
        conditional, empty = modules["denoiser"](
            torch.cat([x, x]), t, encoder_hidden_states=text
        ).sample.chunk(2)
        x = scheduler.step(empty + 2 * (conditional - empty), t, x).prev_sample
    save_sheet(x, captions, recipe.out / "samples" / f"step-{step:06d}.png")

"""Train a ControlNet: a copy of a frozen denoiser's encoder learns to make its pictures follow control maps.

Loss: ‖v̂(x_t, t, c, residuals) − v‖², v = alpha_t·eps − sigma_t·x_0, unweighted, where residuals are what the ControlNet
adds at (x_t, t) for the control map of x_0 (Zhang, Rao, Agrawala 2023, arXiv:2302.05543). Half of the captions are
dropped, so that the map must tell what they no longer do. The ControlNet itself gets the empty prompt: one pass of it
then serves both halves of classifier-free guidance.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from pydantic import Field
from torch.utils.data import Dataset

from zoo.annotator import Annotator
from zoo.data.maps import TRUTHS
from zoo.data.tinyworld import TinyWorld
from zoo.method import Part
from zoo.models.control import build_controlnet
from zoo.models.text import encode
from zoo.models.tinyworld import CONTROL_CARD, WEIGHTS, TextToPixels
from zoo.planning import make_annotator
from zoo.registry import default_registry
from zoo.schedule import DiscreteSchedule
from zoo.training.data import HELD_OUT, CaptionedPictures, loader, open_pictures, save_sheet
from zoo.training.denoiser import draw
from zoo.training.loop import fit
from zoo.training.recipe import Recipe, keyed_generator
from zoo.training.teacher import check_captions


class ControlNetRecipe(Recipe):
    """Options of `zoo train controlnet`; the result belongs into the model's folder, as control/NAME."""

    out: Path = Field(Path("runs/control"), description="folder for checkpoints, samples and the ControlNet")
    model: Path | None = Field(
        None, description="folder of the model to be controlled; none: the bundled one"
    )
    annotator: str = Field(
        "canny",
        description="what makes the maps: an annotator with its parameters, or segmentation or pose, which "
        "tinyworld's renderer draws",
    )
    steps: int = Field(2000, ge=1, description="optimiser steps")
    label_dropout: float = Field(0.5, ge=0, lt=1, description="share of captions replaced by the empty one")
    reads_prompt: bool = Field(False, description="give the ControlNet the prompt, and not the empty one")
    channels: list[int] = Field(
        [16], min_length=1, description="of the map's embedding; each after the first halves the map"
    )
    ema: float = Field(0.995, ge=0, lt=1, description="decay of the weight average, warmed up")


class MappedPictures(Protocol):
    """An indexable source of pictures with their control maps; every index is valid."""

    def batch(self, indices: Sequence[int]) -> tuple[np.ndarray, list[str], np.ndarray]:
        """Pictures (n, H, W, 3) uint8, their captions, and their control maps, like the pictures."""
        ...


class AnnotatedPictures:
    """Any pictures, with the maps that an annotator makes of them."""

    def __init__(self, pictures: CaptionedPictures, annotator: Annotator) -> None:
        self.pictures, self.annotator = pictures, annotator

    def batch(self, indices: Sequence[int]) -> tuple[np.ndarray, list[str], np.ndarray]:
        images, captions = self.pictures.batch(indices)
        return images, captions, np.stack([self.annotator.annotate(image) for image in images])


class RenderedPictures:
    """tinyworld's pictures, with maps that its renderer draws: one of `zoo.data.maps.TRUTHS`."""

    def __init__(self, truth: str, seed: int, size: int) -> None:
        self.draw, fixed = TRUTHS[truth]
        self.world = TinyWorld(seed, size, maps=True, **fixed)

    def batch(self, indices: Sequence[int]) -> tuple[np.ndarray, list[str], np.ndarray]:
        samples = [self.world[index] for index in indices]
        maps = np.stack([self.draw(sample) for sample in samples])
        return np.stack([s.image for s in samples]), [s.caption for s in samples], maps


class MappedBatches(Dataset):  # type: ignore[type-arg]
    """Item n is the whole batch of step n: pictures (B, 3, H, W) in [-1, 1], captions, maps (B, 3, H, W) in [0, 1]."""

    def __init__(self, pictures: MappedPictures, batch_size: int, steps: range, rank: int, world: int):
        self.pictures, self.batch_size, self.steps = pictures, batch_size, steps
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, list[str], torch.Tensor]:
        first = (self.steps[item] * self.world + self.rank) * self.batch_size
        images, captions, maps = self.pictures.batch(range(first, first + self.batch_size))
        return _channels_first(images) * 2 - 1, captions, _channels_first(maps)


def train(recipe: ControlNetRecipe) -> Path | None:
    """Train, or go on from the last checkpoint; returns the ControlNet's folder, None if stopped early.

    Raises:
        ValueError: the annotator does not exist or does not fit the data, the model predicts no v or makes pictures
            of another size, or the checkpoint does not fit the recipe.
        OSError: the model's folder is none.
    """
    from accelerate import Accelerator

    accelerator = Accelerator()
    device, rank, world = accelerator.device, accelerator.process_index, accelerator.num_processes
    recipe = recipe.model_copy(update={"annotator": _whole_line(recipe.annotator)})
    pictures = open_mapped(recipe, recipe.seed)
    frozen = _Frozen(_open_model(recipe), device)
    words = open_pictures(recipe.data, recipe.seed, recipe.size).vocabulary
    check_captions(words, frozen.tokenizer, recipe.data)
    torch.manual_seed(recipe.seed)
    network = build_controlnet(frozen.unet, recipe.channels)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.99))
    alphas_cumprod = torch.from_numpy(frozen.schedule.alphas_cumprod).float().to(device)

    def batches(steps: range) -> Iterable[tuple[torch.Tensor, list[str], torch.Tensor]]:
        return loader(MappedBatches(pictures, recipe.batch_size, steps, rank, world), recipe.workers)

    def loss(
        network: torch.nn.Module, step: int, batch: tuple[torch.Tensor, list[str], torch.Tensor]
    ) -> torch.Tensor:
        x0, captions, maps = batch
        generator = keyed_generator(recipe.seed, step, rank)
        t, noise, kept = draw(generator, x0.shape, recipe.label_dropout, frozen.schedule.timesteps)
        text = frozen.embed([c if k else "" for c, k in zip(captions, kept, strict=True)])
        x0, noise, t, maps = x0.to(device), noise.to(device), t.to(device), maps.to(device)
        a = alphas_cumprod[t].view(-1, 1, 1, 1)
        alpha, sigma = a.sqrt(), (1 - a).sqrt()
        x_t = (alpha * x0 + sigma * noise).contiguous(memory_format=torch.channels_last)
        with recipe.autocast(device):
            v = frozen.controlled(network, x_t, t, text, maps, recipe.reads_prompt)
        error: torch.Tensor = v.float() - (alpha * noise - sigma * x0)
        return error.square().mean()

    def sample(done: int) -> None:
        _draw_samples(recipe, done, network, frozen)

    modules = {"control": network}
    fitted = fit(
        recipe, accelerator, network, modules, optimizer, batches, loss, ema=recipe.ema, sample=sample
    )
    if not fitted.complete or not accelerator.is_main_process:
        return None
    return export(recipe, network, fitted.facts, fitted.earlier)


def open_mapped(recipe: ControlNetRecipe, seed: int) -> MappedPictures:
    """The pictures of a recipe with their maps.

    Raises:
        ValueError: there is no such annotator, or only tinyworld's renderer draws such maps.
    """
    if recipe.annotator not in TRUTHS:
        annotator = make_annotator(recipe.annotator, default_registry())
        annotator.check()
        return AnnotatedPictures(open_pictures(recipe.data, seed, recipe.size), annotator)
    if recipe.data != "tinyworld":
        raise ValueError(f"nothing makes {recipe.annotator} maps of {recipe.data!r}: omit --data")
    return RenderedPictures(recipe.annotator, seed, recipe.size)


def export(
    recipe: ControlNetRecipe, network: Any, facts: dict[str, Any], earlier: Sequence[tuple[int, int]] = ()
) -> Path:
    """Write the weights in half precision, in `save_pretrained` layout, with what they are for and a model card."""
    from zoo.training.card import write_card

    folder = recipe.out / "model"
    half = copy.deepcopy(network).half().to(memory_format=torch.contiguous_format)
    half.save_pretrained(folder)
    said = {
        "annotator": "" if recipe.annotator in TRUTHS else recipe.annotator,
        "reads_prompt": recipe.reads_prompt,
    }
    (folder / CONTROL_CARD).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    write_card(folder, "controlnet", recipe, facts, earlier)
    return folder


class _Frozen:
    """The model to be controlled, as it is: denoiser, text encoder and schedule."""

    def __init__(self, model: TextToPixels, device: torch.device) -> None:
        assert isinstance(model.schedule, DiscreteSchedule)
        self.schedule, self.folder, self.device = model.schedule, model.folder, device
        denoiser: Any = model.network("denoiser", device, torch.float32)
        self.unet: Any = denoiser.module
        self.tokenizer, text_encoder = model.text_parts()
        self.text_encoder = text_encoder.to(device)
        self.empty = self.embed([""])

    @torch.no_grad()
    def embed(self, captions: Sequence[str]) -> torch.Tensor:
        return encode(self.tokenizer, self.text_encoder, captions)

    def controlled(
        self,
        network: Any,
        x: torch.Tensor,
        t: torch.Tensor,
        text: torch.Tensor,
        maps: torch.Tensor,
        reads_prompt: bool,
    ) -> torch.Tensor:
        """The denoiser's output with the ControlNet's residuals."""
        own = text if reads_prompt else self.empty.expand_as(text)
        maps = maps.contiguous(memory_format=torch.channels_last)
        down, mid = network(x, t, encoder_hidden_states=own, controlnet_cond=maps, return_dict=False)
        output: torch.Tensor = self.unet(
            x,
            t,
            encoder_hidden_states=text,
            down_block_additional_residuals=tuple(down),
            mid_block_additional_residual=mid,
        ).sample
        return output


def _open_model(recipe: ControlNetRecipe) -> TextToPixels:
    folder = recipe.model or WEIGHTS / "tinyworld"
    model = TextToPixels(folder, name=str(folder), title=folder.name)
    kind, size = model.prediction_kind("denoiser"), model.shape[-1]
    if kind != "v":
        raise ValueError(f"{model.name} predicts {kind}; only a model that predicts v can be trained on")
    if size != recipe.size:
        raise ValueError(
            f"{model.name} makes pictures of {size} pixels, not {recipe.size}: add --size {size}"
        )
    return model


def _whole_line(annotator: str) -> str:
    """An annotator with all of its parameters, so that the card holds when a default changes."""
    if annotator in TRUTHS:
        return annotator
    made = make_annotator(annotator, default_registry())
    return str(Part.of(Part.parse(annotator).name, **made.params.model_dump(mode="json")))


def _channels_first(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


@torch.no_grad()
def _draw_samples(recipe: ControlNetRecipe, step: int, network: Any, frozen: _Frozen) -> None:
    """Eight maps; DDIM 20 of their captions from the same noise, first without them, then with them."""
    from diffusers import DDIMScheduler

    source = open_mapped(recipe, recipe.seed + HELD_OUT)
    _, captions, pixels = source.batch(range(8))
    maps = _channels_first(pixels).to(frozen.device)
    scheduler = DDIMScheduler.from_pretrained(frozen.folder / "scheduler", timestep_spacing="trailing")
    scheduler.set_timesteps(20)
    text = frozen.embed(captions)
    noise = torch.randn(8, 3, recipe.size, recipe.size, generator=keyed_generator(recipe.seed))
    free = controlled = noise.to(frozen.device)
    for t in scheduler.timesteps.to(frozen.device):
        v = frozen.unet(free, t, encoder_hidden_states=text).sample
        free = scheduler.step(v, t, free).prev_sample
        v = frozen.controlled(network, controlled, t, text, maps, recipe.reads_prompt)
        controlled = scheduler.step(v, t, controlled).prev_sample
    sheet = torch.cat([maps * 2 - 1, free, controlled])
    save_sheet(sheet, captions, recipe.out / "samples" / f"step-{step:06d}.png")

"""Train the classifier of noisy pictures that classifier guidance follows: which kind of thing is behind x_t.

Loss: the cross-entropy of log p(kind | x_t), x_t = alpha_t·x_0 + sigma_t·eps of tinyworld pictures at uniform t, in the
schedule of the model that is to be guided (Dhariwal & Nichol 2021, arXiv:2105.05233, section 4).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from tqdm import tqdm

from zoo.data.tinyworld import COLOURS, KINDS, SCENES, TinyWorld
from zoo.metrics.intervals import wilson
from zoo.models.classifier import NoisyClassifier
from zoo.models.tinyworld import WEIGHTS, TextToPixels
from zoo.schedule import DiscreteSchedule
from zoo.training.data import HELD_OUT, loader
from zoo.training.denoiser import draw
from zoo.training.features import LabelledBatches
from zoo.training.loop import fit
from zoo.training.recipe import Recipe, keyed_generator

_NAMES = (KINDS, COLOURS, SCENES)


class ClassifierRecipe(Recipe):
    """Options of `zoo train classifier`; the result belongs into the model's folder, as classifier/."""

    out: Path = Field(Path("runs/classifier"), description="folder for checkpoints and the classifier")
    model: Path | None = Field(None, description="folder of the model to be guided; none: the bundled one")
    steps: int = Field(4000, ge=1, description="optimiser steps")
    batch_size: int = Field(64, ge=1, description="pictures per step and process")
    sample_every: int = Field(500, ge=1, description="steps between accuracies printed")
    channels: list[int] = Field([32, 64, 128], min_length=1, description="network width at each resolution")
    layers: int = Field(1, ge=1, le=4, description="residual blocks per resolution")
    norm_groups: int = Field(8, ge=1, description="groups of the group norms")
    weight_decay: float = Field(0.02, ge=0, description="AdamW's decay of the weights")
    held_out: int = Field(1000, ge=1, description="unseen pictures for the accuracy at each noise level")


def train(recipe: ClassifierRecipe) -> Path | None:
    """Train, or go on from the last checkpoint; returns the classifier's folder, None if stopped early.

    Raises:
        ValueError: the data is not tinyworld, the model's pictures are of another size, or the checkpoint does
            not fit the recipe.
        OSError: the model's folder is none.
    """
    from accelerate import Accelerator

    if recipe.data != "tinyworld":
        raise ValueError(f"the classifier learns tinyworld's kinds, not {recipe.data!r}: omit --data")
    schedule = _schedule(recipe)
    accelerator = Accelerator()
    device, rank, processes = accelerator.device, accelerator.process_index, accelerator.num_processes
    torch.manual_seed(recipe.seed)
    network = NoisyClassifier(KINDS, recipe.channels, recipe.layers, recipe.norm_groups)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.99), weight_decay=recipe.weight_decay
    )
    world = TinyWorld(recipe.seed, recipe.size)

    def batches(steps: range) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
        labelled = LabelledBatches(world, _NAMES, recipe.batch_size, steps, rank, processes)
        return loader(labelled, recipe.workers)

    def loss(network: torch.nn.Module, step: int, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        x0, labels = batch
        t, noise, _ = draw(keyed_generator(recipe.seed, step, rank), x0.shape, 0.0, schedule.timesteps)
        x_t = diffused(x0, t, noise, schedule).to(device, memory_format=torch.channels_last)
        with recipe.autocast(device):
            logits = network(x_t, t.to(device))
        return F.cross_entropy(logits.float(), labels[:, 0].to(device))

    def sample(done: int) -> None:
        if done < recipe.steps:
            count = min(200, recipe.held_out)
            hits = evaluate(network, recipe, schedule, count)
            tqdm.write(f"step {done}: {', '.join(f'{n / count:.0%} at t = {t}' for t, n in hits.items())}")

    modules = {"classifier": network}
    fitted = fit(recipe, accelerator, network, modules, optimizer, batches, loss, sample=sample)
    if not fitted.complete or not accelerator.is_main_process:
        return None
    return export(recipe, network, schedule, fitted.facts, fitted.earlier)


def diffused(
    x0: torch.Tensor, t: torch.Tensor, noise: torch.Tensor, schedule: DiscreteSchedule
) -> torch.Tensor:
    """x_t = alpha_t·x_0 + sigma_t·eps, each picture at its own timestep t, (n,)."""
    a = torch.from_numpy(schedule.alphas_cumprod)[t].float().view(-1, 1, 1, 1)
    return a.sqrt() * x0 + (1 - a).sqrt() * noise


def export(
    recipe: ClassifierRecipe,
    network: NoisyClassifier,
    schedule: DiscreteSchedule,
    facts: dict[str, Any],
    earlier: Sequence[tuple[int, int]] = (),
) -> Path:
    """Write the weights, in half precision, in `save_pretrained` layout with a model card.

    The accuracies on the card are those of the rounded weights.
    """
    from zoo.training.card import write_card

    folder = recipe.out / "model"
    half = copy.deepcopy(network).half().to(memory_format=torch.contiguous_format)
    half.save_pretrained(folder)
    for t, hits in evaluate(half.float(), recipe, schedule, recipe.held_out).items():
        low, high = wilson(hits, recipe.held_out)
        level = schedule.level(t)
        facts[f"kind, {recipe.held_out} unseen pictures at t = {t} (alpha {level.alpha:.3g})"] = (
            f"{hits / recipe.held_out:.1%} (95 % interval {low:.1%} to {high:.1%})"
        )
    write_card(folder, "classifier", recipe, facts, earlier)
    return folder


@torch.no_grad()
def evaluate(
    network: NoisyClassifier, recipe: ClassifierRecipe, schedule: DiscreteSchedule, count: int
) -> dict[int, int]:
    """How many of `count` pictures of a world that training never sees are told right, by timestep."""
    seed, last = recipe.seed + HELD_OUT, schedule.timesteps - 1
    x0, labels = LabelledBatches(TinyWorld(seed, recipe.size), _NAMES, count, range(1), 0, 1)[0]
    noise = torch.randn(x0.shape, generator=keyed_generator(seed))
    hits = {}
    for t in (round(last * i / 10) for i in range(11)):
        times = torch.full((count,), t)
        x_t = diffused(x0, times, noise, schedule).to(network.device)
        said = [network(x, times[: len(x)].to(x.device)).argmax(1).cpu() for x in torch.split(x_t, 100)]
        hits[t] = int((torch.cat(said) == labels[:, 0]).sum())
    return hits


def _schedule(recipe: ClassifierRecipe) -> DiscreteSchedule:
    model = TextToPixels(recipe.model or WEIGHTS / "tinyworld", name="model", title="model")
    if model.shape != (3, recipe.size, recipe.size):
        raise ValueError(f"the model makes pictures of shape {model.shape}: give --size {model.shape[-1]}")
    assert isinstance(model.schedule, DiscreteSchedule)
    return model.schedule

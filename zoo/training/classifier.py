"""Train the classifier of noisy pictures that classifier guidance follows: which kind of thing is behind x_t.

Loss: the cross-entropy of log p(kind | x_t), x_t = alpha_t·x_0 + sigma_t·eps of tinyworld pictures at uniform t, in the
schedule of the model that is to be guided (Dhariwal & Nichol 2021, arXiv:2105.05233, section 4).
"""

from __future__ import annotations

import copy
import math
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch.utils.data import DataLoader
from tqdm import tqdm

from zoo.data.tinyworld import COLOURS, KINDS, SCENES, TinyWorld
from zoo.device import native_bf16
from zoo.metrics.intervals import wilson
from zoo.models.classifier import NoisyClassifier
from zoo.models.tinyworld import WEIGHTS, TextToPixels
from zoo.schedule import DiscreteSchedule
from zoo.training.denoiser import draw
from zoo.training.features import LabelledBatches
from zoo.training.recipe import (
    Recipe,
    keyed_generator,
    learning_rate_factor,
    load_checkpoint,
    save_checkpoint,
)

_NAMES = (KINDS, COLOURS, SCENES)
_HELD_OUT = 1_000_003  # from the seed of the training world to that of the unseen one


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
    device = accelerator.device
    bf16 = recipe.precision == "bf16" or (recipe.precision == "auto" and native_bf16(device))
    torch.manual_seed(recipe.seed)
    network = NoisyClassifier(KINDS, recipe.channels, recipe.layers, recipe.norm_groups)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.99), weight_decay=recipe.weight_decay
    )
    modules: dict[str, torch.nn.Module] = {"classifier": network}
    first = 0
    facts: dict[str, Any] = {"seconds": 0.0, "loss": math.nan, "earlier": []}
    resumed = load_checkpoint(recipe.out, modules, optimizer, recipe)
    if resumed is not None:
        first, _, facts = resumed
    network.to(device=device, memory_format=torch.channels_last)
    wrapped, optimizer = accelerator.prepare(network, optimizer)
    end = min(recipe.steps, recipe.stop_at or recipe.steps)
    rank, processes = accelerator.process_index, accelerator.num_processes
    world = TinyWorld(recipe.seed, recipe.size)
    batches = LabelledBatches(world, _NAMES, recipe.batch_size, range(first, end), rank, processes)
    bar = tqdm(total=recipe.steps, initial=first, disable=not accelerator.is_main_process, unit="step")
    losses: list[float] = []
    started = time.monotonic() - facts["seconds"]
    loaded = DataLoader(batches, batch_size=None, num_workers=recipe.workers)
    for step, (x0, labels) in enumerate(loaded, start=first):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * learning_rate_factor(step, recipe.steps, recipe.warmup)
        generator = keyed_generator(recipe.seed, step, rank)
        t, noise, _ = draw(generator, x0.shape, 0.0, schedule.timesteps)
        x_t = diffused(x0, t, noise, schedule).to(device, memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = wrapped(x_t, t.to(device))
        loss = F.cross_entropy(logits.float(), labels[:, 0].to(device))
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        done = step + 1
        losses.append(loss.item())
        bar.update()
        if done % 10 == 0:
            bar.set_postfix(loss=f"{sum(losses[-100:]) / len(losses[-100:]):.4f}")
        if not accelerator.is_main_process:
            continue
        if done % recipe.checkpoint_every == 0 or done == end:
            facts["seconds"] = time.monotonic() - started
            facts["loss"] = sum(losses[-100:]) / len(losses[-100:])
            save_checkpoint(recipe.out, done, modules, optimizer, {"classifier": []}, recipe, facts)
        if done % recipe.sample_every == 0 and done < end:
            count = min(200, recipe.held_out)
            hits = evaluate(network, recipe, schedule, count)
            shares = ", ".join(f"{n / count:.0%} at t = {t}" for t, n in hits.items())
            bar.write(f"step {done}: {shares}")
    bar.close()
    if end < recipe.steps or not accelerator.is_main_process:
        return None
    run = {
        "minutes": f"{facts['seconds'] / 60:.0f}",
        "precision": "bf16 autocast" if bf16 else "fp32",
        "device": f"{device.type}, {torch.get_num_threads()} threads, {platform.machine()}",
        "torch": torch.__version__,
        "mean loss of the last 100 steps": f"{facts['loss']:.4f}",
    }
    return export(recipe, network, schedule, run, facts.get("earlier", []))


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
    seed, last = recipe.seed + _HELD_OUT, schedule.timesteps - 1
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

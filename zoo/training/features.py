"""Train the feature network: which kind, colour and scene a clean tinyworld picture shows.

Loss: the sum of the three heads' cross-entropies, on pictures a little shifted, blurred, brightened and
noisy, as generated ones may be, so that the network judges what is shown rather than how perfectly.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch.utils.data import Dataset
from tqdm import tqdm

from zoo.data.tinyworld import TinyWorld
from zoo.metrics.features import HEADS, FeatureNetwork, FeatureOutput
from zoo.metrics.intervals import wilson
from zoo.pixels import from_bytes
from zoo.training.data import HELD_OUT, loader
from zoo.training.loop import fit
from zoo.training.recipe import Recipe, keyed_generator

SHIFT = 2  # pixels at 32 x 32; the strongest of each degradation
BRIGHTNESS = 0.1
NOISE = 0.05


class FeaturesRecipe(Recipe):
    """Options of `zoo train features`."""

    out: Path = Field(Path("runs/features"), description="folder for checkpoints and the model")
    steps: int = Field(2000, ge=1, description="optimiser steps")
    batch_size: int = Field(64, ge=1, description="pictures per step and process")
    learning_rate: float = Field(2e-3, gt=0, description="peak learning rate")
    sample_every: int = Field(500, ge=1, description="steps between accuracies printed")
    channels: list[int] = Field([32, 64, 128], min_length=1, description="network width at each resolution")
    weight_decay: float = Field(0.02, ge=0, description="AdamW's decay of the weights")
    held_out: int = Field(2000, ge=1, description="unseen pictures for the accuracy at the end")


def train(recipe: FeaturesRecipe) -> Path | None:
    """Train, or go on from the last checkpoint; returns the model's folder, None if stopped early.

    Raises:
        ValueError: the data is not tinyworld, or the checkpoint does not fit the recipe.
    """
    from accelerate import Accelerator

    if recipe.data != "tinyworld":
        raise ValueError(f"the feature network learns tinyworld's labels, not {recipe.data!r}: omit --data")
    accelerator = Accelerator()
    device, rank, processes = accelerator.device, accelerator.process_index, accelerator.num_processes
    torch.manual_seed(recipe.seed)
    network = FeatureNetwork(channels=recipe.channels, size=recipe.size)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.99), weight_decay=recipe.weight_decay
    )
    world = TinyWorld(recipe.seed, recipe.size)
    names = [list(network.names(head)) for head in HEADS]

    def batches(steps: range) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
        labelled = LabelledBatches(world, names, recipe.batch_size, steps, rank, processes)
        return loader(labelled, recipe.workers)

    def loss(network: torch.nn.Module, step: int, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        x, labels = batch
        x = degrade(x, keyed_generator(recipe.seed, step, rank))
        x, labels = x.to(device, memory_format=torch.channels_last), labels.to(device)
        with recipe.autocast(device):
            output = network(x)
        return _loss(output, labels)

    def sample(done: int) -> None:
        if done < recipe.steps:
            accuracies = _short(evaluate(network, recipe, min(500, recipe.held_out)))
            tqdm.write(f"step {done}: {accuracies}")

    fitted = fit(recipe, accelerator, network, {"features": network}, optimizer, batches, loss, sample=sample)
    if not fitted.complete or not accelerator.is_main_process:
        return None
    return export(recipe, network, fitted.facts, fitted.earlier)


class LabelledBatches(Dataset):  # type: ignore[type-arg]
    """Item n is the whole batch of step n: pictures (B, 3, H, W) in [-1, 1] and labels (B, 3) long."""

    def __init__(
        self,
        world: TinyWorld,
        names: Sequence[Sequence[str]],
        batch_size: int,
        steps: range,
        rank: int,
        processes: int,
    ) -> None:
        self.world, self.names, self.batch_size, self.steps = world, names, batch_size, steps
        self.rank, self.processes = rank, processes

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, torch.Tensor]:
        first = (self.steps[item] * self.processes + self.rank) * self.batch_size
        images, _, attributes = self.world.batch(range(first, first + self.batch_size))
        labels = [
            [choices.index(getattr(a, head)) for head, choices in zip(HEADS, self.names, strict=True)]
            for a in attributes
        ]
        return from_bytes(images), torch.tensor(labels)


def degrade(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The small faults of generated pictures, each picture's own: shift, blur, brightness and noise.

    Args:
        x: (B, 3, H, W) in [-1, 1], on the CPU.
    """
    n, _, height, width = x.shape
    reach = max(1, round(SHIFT * min(height, width) / 32))
    down, right = torch.randint(0, 2 * reach + 1, (2, n), generator=generator)
    rows = (down[:, None] + torch.arange(height))[:, None, :, None]
    columns = (right[:, None] + torch.arange(width))[:, None, None, :]
    padded = F.pad(x, (reach, reach, reach, reach), mode="replicate")
    picture, channel = torch.arange(n).view(n, 1, 1, 1), torch.arange(3).view(1, 3, 1, 1)
    x = padded[picture, channel, rows, columns]
    blur, bright, noise = torch.rand(3, n, 1, 1, 1, generator=generator)
    # A share of each picture's mean over 3 x 3 pixels: from sharp to a blur of one pixel.
    x = x.lerp(F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1), blur)
    x = x + BRIGHTNESS * (2 * bright - 1)
    x = x + NOISE * noise * torch.randn(x.shape, generator=generator)
    return x.clamp(-1, 1)


def export(
    recipe: FeaturesRecipe,
    network: FeatureNetwork,
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
    rounded = half.float()
    for title, degraded in (("clean", False), ("degraded", True)):
        answers = evaluate(rounded, recipe, recipe.held_out, degraded)
        for head, pairs in answers.items():
            facts[f"{head}, {recipe.held_out} unseen {title} pictures"] = _describe(pairs)
    write_card(folder, "features", recipe, facts, earlier)
    return folder


@torch.no_grad()
def evaluate(
    network: FeatureNetwork, recipe: FeaturesRecipe, count: int, degraded: bool = False
) -> dict[str, list[tuple[str, str]]]:
    """(truth, answer) of `count` pictures of a world that training never sees, by head."""
    world = TinyWorld(recipe.seed + HELD_OUT, recipe.size)
    answers: dict[str, list[tuple[str, str]]] = {head: [] for head in HEADS}
    for first in range(0, count, 100):
        images, _, attributes = world.batch(range(first, min(first + 100, count)))
        x = from_bytes(images)
        if degraded:
            x = degrade(x, keyed_generator(recipe.seed + HELD_OUT, first))
        said = network.classify(x.to(network.device))
        for head in HEADS:
            answers[head] += [(getattr(a, head), s[head]) for a, s in zip(attributes, said, strict=True)]
    return answers


def _loss(output: FeatureOutput, labels: torch.Tensor) -> torch.Tensor:
    loss = [F.cross_entropy(getattr(output, head).float(), labels[:, i]) for i, head in enumerate(HEADS)]
    return torch.stack(loss).sum()


def _describe(pairs: list[tuple[str, str]]) -> str:
    """Accuracy with its interval, and the commonest confusions."""
    wrong = Counter(pair for pair in pairs if pair[0] != pair[1])
    right = len(pairs) - wrong.total()
    low, high = wilson(right, len(pairs))
    text = f"{right / len(pairs):.2%} (95 % interval {low:.2%} to {high:.2%})"
    named = [f"{n} {truth} called {answer}" for (truth, answer), n in wrong.most_common(3)]
    return "; ".join([text, *named])


def _short(answers: dict[str, list[tuple[str, str]]]) -> str:
    return ", ".join(f"{head} {np.mean([t == a for t, a in pairs]):.1%}" for head, pairs in answers.items())

"""What all recipes share: their options as one pydantic model, and checkpoints that resume exactly.

A recipe draws everything random (pictures, noise, timesteps, dropout) from generators keyed by (seed, step), so
what happens at step n does not depend on how many times training was interrupted before it.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import load_file, save_file

from zoo.device import native_bf16


class Recipe(BaseModel):
    """Options common to all recipes; `zoo train NAME --help` lists them with their defaults."""

    model_config = ConfigDict(extra="forbid")

    free: ClassVar[frozenset[str]] = frozenset(
        {"out", "steps", "stop_at", "workers", "checkpoint_every", "sample_every"}
    )
    """What may change when a run is resumed. A new number of steps is followed from there on, and the model card
    tells both commands."""

    out: Path = Field(Path("runs/model"), description="folder for checkpoints, samples and the model")
    data: str = Field("tinyworld", description="tinyworld, or a folder of pictures (captions in NAME.txt)")
    size: int = Field(32, ge=8, le=512, description="height and width in pixels")
    steps: int = Field(5000, ge=1, description="optimiser steps")
    batch_size: int = Field(40, ge=1, description="pictures per step and process")
    learning_rate: float = Field(1e-3, gt=0, description="peak learning rate")
    warmup: int = Field(100, ge=0, description="steps of linear warm-up before the cosine decay to 0")
    seed: int = Field(0, ge=0, description="decides initial weights, data, noise and dropout")
    precision: str = Field(
        "auto", pattern="^(auto|fp32|bf16)$", description="auto, fp32 or bf16; auto is bf16 where it is fast"
    )
    workers: int = Field(0, ge=0, description="processes that prepare data")
    checkpoint_every: int = Field(250, ge=1, description="steps between checkpoints")
    sample_every: int = Field(500, ge=1, description="steps between sample grids")
    stop_at: int | None = Field(None, ge=1, description="stop after this step, as if interrupted")

    def uses_bf16(self, device: torch.device) -> bool:
        """Whether networks run under bf16 autocast on this device."""
        return self.precision == "bf16" or (self.precision == "auto" and native_bf16(device))

    def autocast(self, device: torch.device) -> torch.autocast:
        """The context in which networks are to be called."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.uses_bf16(device))


def keyed_generator(*key: int) -> torch.Generator:
    """A CPU generator that depends on the key alone."""
    import numpy as np

    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))


def learning_rate_factor(step: int, steps: int, warmup: int) -> float:
    """Linear from 0 over `warmup` steps, then half a cosine down to 0 at `steps`."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def save_checkpoint(
    folder: Path,
    step: int,
    modules: dict[str, torch.nn.Module],
    optimizer: torch.optim.Optimizer,
    ema: dict[str, list[torch.Tensor]],
    recipe: Recipe,
    facts: dict[str, Any],
) -> None:
    """Write weights, averages and optimiser state after `step` steps, replacing the last checkpoint whole."""
    fresh, current = folder / "checkpoint.new", folder / "checkpoint"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name, module in modules.items():
        tensors = {k: v.detach().contiguous().cpu() for k, v in module.state_dict().items()}
        save_file(tensors, fresh / f"{name}.safetensors")
        averages = {str(i): t.detach().contiguous().cpu() for i, t in enumerate(ema[name])}
        save_file(averages, fresh / f"{name}.ema.safetensors")
    moments = {
        f"{index}.{key}": value.detach().contiguous().cpu()
        for index, state in optimizer.state_dict()["state"].items()
        for key, value in state.items()
    }
    save_file(moments, fresh / "optimizer.safetensors")
    progress = {"step": step, "facts": facts, "recipe": recipe.model_dump(mode="json")}
    (fresh / "progress.json").write_text(json.dumps(progress, indent=2))
    old = folder / "checkpoint.old"
    if current.exists():
        shutil.rmtree(old, ignore_errors=True)
        os.replace(current, old)
    os.replace(fresh, current)
    shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(
    folder: Path,
    modules: dict[str, torch.nn.Module],
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
) -> tuple[int, dict[str, list[torch.Tensor]], dict[str, Any]] | None:
    """Restore the last checkpoint, if there is one; returns its step, averages and facts.

    Raises:
        ValueError: the checkpoint was made by other options, which would give neither recipe's result.
    """
    current = folder / "checkpoint"
    if not current.exists():
        current = folder / "checkpoint.old"  # interrupted between the two renames
    if not current.exists():
        return None
    progress = json.loads((current / "progress.json").read_text())
    _refuse_other_recipe(progress["recipe"], recipe, folder)
    averages = {}
    for name, module in modules.items():
        module.load_state_dict(load_file(current / f"{name}.safetensors"))
        saved = load_file(current / f"{name}.ema.safetensors")
        averages[name] = [saved[str(i)] for i in range(len(saved))]
    state = optimizer.state_dict()
    state["state"] = {}
    for key, value in load_file(current / "optimizer.safetensors").items():
        index, _, field = key.partition(".")
        state["state"].setdefault(int(index), {})[field] = value
    optimizer.load_state_dict(state)
    facts = progress["facts"]
    before = Recipe.model_validate({k: v for k, v in progress["recipe"].items() if k in Recipe.model_fields})
    if before.steps != recipe.steps:
        facts["earlier"] = [*facts.get("earlier", []), [before.steps, int(progress["step"])]]
    return int(progress["step"]), averages, facts


def _refuse_other_recipe(saved: dict[str, Any], recipe: Recipe, folder: Path) -> None:
    given = recipe.model_dump(mode="json")
    changed = [k for k in given if k not in recipe.free and saved.get(k) != given[k]]
    if changed:
        was = ", ".join(f"{k}={saved.get(k)}" for k in changed)
        now = ", ".join(f"{k}={given[k]}" for k in changed)
        raise ValueError(
            f"{folder} holds a checkpoint made with {was}, but now {now}: "
            "repeat the same options to resume, or name another --out to start afresh"
        )

"""The loop that all recipes share: learning rate, averages, checkpoints that resume exactly, and the progress bar."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

from zoo.training.recipe import Recipe, learning_rate_factor, load_checkpoint, save_checkpoint


@dataclass(frozen=True)
class Fitted:
    """What became of a run of `fit`.

    Attributes:
        complete: whether all of the recipe's steps are done.
        seconds: spent on it, earlier sittings included.
        loss: mean of the last 100 steps.
        facts: what a model card tells of it.
        earlier: (steps, stopped at) of sittings that were to have another number of steps.
    """

    complete: bool
    seconds: float
    loss: float
    facts: dict[str, Any]
    earlier: list[tuple[int, int]]


def fit(
    recipe: Recipe,
    accelerator: Any,
    network: torch.nn.Module,
    modules: Mapping[str, torch.nn.Module],
    optimizer: torch.optim.Optimizer,
    batches: Callable[[range], Iterable[Any]],
    loss: Callable[[torch.nn.Module, int, Any], torch.Tensor],
    *,
    ema: float | None = None,
    sample: Callable[[int], None] | None = None,
    compile: bool = False,
) -> Fitted:
    """Train `modules` in place, from the last checkpoint in `recipe.out` if there is one.

    Args:
        accelerator: accelerate's `Accelerator`, which names the device and wraps what it must.
        network: what `loss` calls: one of the modules, or a module made of them.
        modules: what is trained and kept in checkpoints, by name.
        optimizer: over their parameters, in their order.
        batches: the batches of the steps that it is given.
        loss: of (network, step, batch), a scalar. `network` is wrapped as several processes need it. What is random
            in a step must come from generators keyed by the step.
        ema: decay of the weight averages, warmed up; with it the modules carry their averages within `sample` and,
            once all is done, for good.
        sample: called with the number of steps done, every `recipe.sample_every` and at the end.
        compile: whether to `torch.compile` the network.

    Raises:
        ValueError: the checkpoint was made with other options.
    """
    device, talks = accelerator.device, accelerator.is_main_process
    modules = dict(modules)
    trained = [p for module in modules.values() for p in module.parameters()]
    averages = {name: [] if ema is None else _copy(module) for name, module in modules.items()}
    first = 0
    facts: dict[str, Any] = {"seconds": 0.0, "loss": math.nan, "earlier": []}
    resumed = load_checkpoint(recipe.out, modules, optimizer, recipe)
    if resumed is not None:
        first, averages, facts = resumed
    network.to(device).to(memory_format=torch.channels_last)
    averages = {name: [t.to(device) for t in tensors] for name, tensors in averages.items()}
    wrapped, optimizer = accelerator.prepare(network, optimizer)
    called: Any = torch.compile(wrapped) if compile else wrapped
    end = min(recipe.steps, recipe.stop_at or recipe.steps)
    bar = tqdm(total=recipe.steps, initial=first, disable=not talks, unit="step")
    losses: list[float] = []
    started = time.monotonic() - facts["seconds"]
    for step, batch in enumerate(batches(range(first, end)), start=first):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * learning_rate_factor(step, recipe.steps, recipe.warmup)
        value = loss(called, step, batch)
        accelerator.backward(value)
        accelerator.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        done = step + 1
        if ema is not None:
            for name, module in modules.items():
                _average(averages[name], module, min(ema, (1 + done) / (10 + done)))
        losses.append(value.item())
        recent = sum(losses[-100:]) / len(losses[-100:])
        bar.update()
        if done % 10 == 0:
            bar.set_postfix(loss=f"{recent:.4f}")
        if not talks:
            continue
        if done % recipe.checkpoint_every == 0 or done == end:
            facts |= {"seconds": time.monotonic() - started, "loss": recent}
            save_checkpoint(recipe.out, done, modules, optimizer, averages, recipe, facts)
        if sample is not None and (done % recipe.sample_every == 0 or done == end):
            with _averaged(modules, averages):
                sample(done)
    bar.close()
    complete = end == recipe.steps
    if complete:
        _put(modules, averages)
    told = {
        "minutes": f"{facts['seconds'] / 60:.0f}",
        "precision": "bf16 autocast" if recipe.uses_bf16(device) else "fp32",
        "device": f"{device.type}, {torch.get_num_threads()} threads, {platform.machine()}",
        "torch": torch.__version__,
        "mean loss of the last 100 steps": f"{facts['loss']:.4f}",
    }
    return Fitted(complete, facts["seconds"], facts["loss"], told, facts.get("earlier", []))


def _copy(module: torch.nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in module.parameters()]


@torch.no_grad()
def _average(averages: list[torch.Tensor], module: torch.nn.Module, decay: float) -> None:
    torch._foreach_lerp_(averages, [p.detach() for p in module.parameters()], 1 - decay)


@contextmanager
def _averaged(
    modules: Mapping[str, torch.nn.Module], averages: Mapping[str, list[torch.Tensor]]
) -> Iterator[None]:
    """Within the block the modules carry their averaged weights, where there are averages."""
    trained = {name: _copy(module) if averages[name] else [] for name, module in modules.items()}
    _put(modules, averages)
    try:
        yield
    finally:
        _put(modules, trained)


@torch.no_grad()
def _put(modules: Mapping[str, torch.nn.Module], tensors: Mapping[str, list[torch.Tensor]]) -> None:
    for name, module in modules.items():
        if tensors[name]:
            for parameter, tensor in zip(module.parameters(), tensors[name], strict=True):
                parameter.copy_(tensor)

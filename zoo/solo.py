"""One deterministic method by itself, from a start state of one's own: what inversion and interpolation share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.conditioner import Conditioner
from zoo.method import Method
from zoo.planning import check_prompts, impossible, load_model, resolve
from zoo.registry import Registry, default_registry
from zoo.sampler import Sampler

if TYPE_CHECKING:
    import torch

    from zoo.cell import Cell
    from zoo.engine import Engine
    from zoo.loop import Loop
    from zoo.model import Model


def prepare(
    method: Method,
    model: str,
    conditions: Mapping[str, str],
    registry: Registry | None,
    device: str,
    dtype: str,
    on: Loop | None = None,
) -> tuple[Engine | Loop, Model, Sampler, list[Conditioner]]:
    """What a deterministic method needs in order to run; `on` is a loop to run on beside others.

    Raises:
        ValueError: a name or a parameter that does not exist, a method that is stochastic or impossible here.
    """
    from zoo.device import resolve_device, resolve_dtype
    from zoo.engine import Engine

    registry = registry or default_registry()
    sampler, conditioners = resolve(method, registry)
    if sampler.is_stochastic():
        raise ValueError(
            f"{str(method)!r} draws noise on the way, so its pictures do not follow from the start noise alone; "
            "use a deterministic method, such as 'ddim steps=20'"
        )
    if any(conditioner.controls() for conditioner in conditioners):
        raise ValueError(f"{str(method)!r} follows a picture, which only a comparison can")
    found = load_model(model, registry)
    check_prompts(found, conditions)
    if reason := impossible(found, sampler, conditioners, conditions):
        raise ValueError(f"{str(method)!r} is not possible on {model}: {reason}")
    engine = on or Engine(resolve_device(device))
    resolve_dtype(dtype, engine.device)
    return engine, found, sampler, conditioners


def finish(engine: Engine | Loop, cell: Cell, dtype: str) -> torch.Tensor:
    """Run a cell to its end, its networks in this precision: its samples, (images, *shape).

    Raises:
        RuntimeError: it failed.
    """
    from zoo.device import resolve_dtype
    from zoo.driving import turns

    if dtype != "auto":
        cell.dtype = resolve_dtype(dtype, engine.device)
    engine.run(turns([cell]))
    if cell.status != "done":
        raise RuntimeError(f"{type(cell.sampler).__name__} {cell.status}: {cell.error}")
    assert cell.samples is not None
    return cell.samples


def notices(model: Model, *texts: str) -> tuple[str, ...]:
    """What the model ignores of these texts, each thing once."""
    return tuple(dict.fromkeys(notice for text in texts for notice in model.notices(text)))


def folder_at(path: str | Path) -> Path:
    """A folder, made if it is not there."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Readable JSON, in UTF-8."""
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

"""Points: what one method gives on the bundled model, measured once and kept on disk.

The pictures of a point come in blocks, one a seed, and a block in batches of `BATCH`: the unit that is drawn, scored
and stored, so that a run that was interrupted goes on where it was. All points see the same prompts and the same start
noise, so two of them can be compared prompt by prompt. Prompts fall into `PARTS` groups a block, of equal size.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from zoo.cell import Cell, required_roles
from zoo.data.tinyworld import Attributes, caption, draw_attributes, render
from zoo.driving import drive
from zoo.engine import Engine
from zoo.limits import Limits
from zoo.method import Method
from zoo.metrics import features as feature_network
from zoo.metrics.features import HEADS, load_features
from zoo.models.tinyworld import TextToPixels, weights_fingerprint
from zoo.pixels import from_bytes
from zoo.planning import impossible, resolve
from zoo.registry import Registry
from zoo.sampler import NEGATIVE, PROMPT

BATCH = 64
"""Pictures of a batch: two of each of its prompts, for the diversity within a prompt."""

PARTS = 4
"""Groups of prompts in a block: what the jackknife leaves out one after the other."""

REAL = 20
"""Real pictures of each prompt: of what it does not name, size and place among it, each has its own."""


class Impossible(ValueError):
    """The method cannot run on the model."""


@dataclass(frozen=True)
class Drawn:
    """The pictures of a point, as the feature network sees them, in G groups of prompts.

    Attributes:
        features: (G, n, d) float32, pictures 2i and 2i + 1 of a group of the same prompt.
        right: (G, n, 3) bool, whether the asked kind, colour and scene were found.
        nfe: network evaluations per picture, all roles.
    """

    features: torch.Tensor
    right: torch.Tensor
    nfe: int


class Points:
    """Measures points, or reads them where they were measured before.

    Args:
        model: a model of tinyworld pictures.
        registry: where methods are looked up.
        engine: what draws.
        folder: where measurements are kept.
        blocks: how many seeds.
    """

    def __init__(
        self, model: TextToPixels, registry: Registry, engine: Engine, folder: Path, blocks: int
    ) -> None:
        self.model, self.registry, self.engine = model, registry, engine
        self.folder, self.blocks = folder, blocks

    def has(self, line: str, block: int, batch: int) -> bool:
        """Whether this batch of a method has been measured."""
        return self._path(line, block, batch).is_file()

    def batches(self, line: str) -> int:
        """How many batches every block of a method has, counted from the first without a gap."""
        count = 0
        while all(self.has(line, block, count) for block in range(self.blocks)):
            count += 1
        return count

    def measure(self, line: str, block: int, batch: int) -> None:
        """Draw and score one batch, and keep what was found.

        Raises:
            Impossible: the method cannot run on the model.
            RuntimeError: it failed.
        """
        asked = asked_for(block, batch)
        cells = self.draw(line, block, batch, asked)
        pictures = torch.cat(
            [self.model.pictures(cell.samples) for cell in cells if cell.samples is not None]
        )
        features, right = score(pictures, asked)
        facts = {"nfe": str(sum(cells[0].nfe.values()))}
        keep(self._path(line, block, batch), {"features": features, "right": right}, facts)

    def draw(self, line: str, block: int, batch: int, asked: Sequence[Attributes]) -> list[Cell]:
        """Finished cells of two pictures each, for the first prompts of a batch, drawn in one fused run.

        Raises:
            Impossible: the method cannot run on the model.
            RuntimeError: it failed.
        """
        cells = []
        for i, attributes in enumerate(asked[::2]):
            seeds = [_noise_seed(block, batch, 2 * i), _noise_seed(block, batch, 2 * i + 1)]
            sampler, conditioners = resolve(Method.parse(line), self.registry)
            conditions = {PROMPT: caption(attributes), NEGATIVE: ""}
            reason = impossible(self.model, sampler, conditioners, conditions)
            if reason:
                raise Impossible(reason)
            cells.append(Cell(self.model, sampler, conditioners, conditions, seeds, Limits(nfe=None)))
        for _ in drive(self.engine, cells):
            pass
        failed = [cell.traceback or cell.error for cell in cells if cell.samples is None]
        if failed:
            raise RuntimeError(f"{line} failed:\n{failed[0]}")
        return cells

    def read(self, line: str, batches: int) -> Drawn:
        """The first batches of a method.

        Raises:
            FileNotFoundError: not all of them have been measured.
        """
        tensors, facts = [], []
        for batch in range(batches):
            for block in range(self.blocks):
                with safe_open(self._path(line, block, batch), "pt") as file:
                    tensors.append((file.get_tensor("features"), file.get_tensor("right")))
                    facts.append(file.metadata())
        features, right = (self._grouped(part) for part in zip(*tensors, strict=True))
        return Drawn(features, right, int(facts[0]["nfe"]))

    def real(self, batches: int) -> torch.Tensor:
        """Features of `REAL` real pictures of each prompt of the first batches, (G, prompts, REAL, d).

        They are drawn at the first call and kept beside the points.
        """
        found = []
        for batch in range(batches):
            for block in range(self.blocks):
                path = self.folder / f"real-{_seen_by()}" / f"{block}-{batch:03d}.safetensors"
                if not path.is_file():
                    keep(path, {"features": _real(block, batch)}, {})
                with safe_open(path, "pt") as file:
                    found.append(file.get_tensor("features"))
        return self._grouped(found)

    def _grouped(self, batches: Sequence[torch.Tensor]) -> torch.Tensor:
        """What was found batch by batch, all blocks of one before the next, as (G, n, …)."""
        found = torch.stack(list(batches))
        count, *rest = found.shape[1:]
        apart = found.reshape(-1, self.blocks, PARTS, count // PARTS, *rest)
        return apart.movedim(0, 2).flatten(2, 3).flatten(0, 1)

    def _path(self, line: str, block: int, batch: int) -> Path:
        return self.folder / self.name(line) / f"{block}-{batch:03d}.safetensors"

    @functools.cache  # noqa: B019  one Points lives as long as the command
    def name(self, line: str) -> str:
        """A name for a method with its settings and weights and for what draws: where one differs, measured anew.

        Its code has no part in it: after a change of a sampler's mathematics the folder is to be deleted.
        """
        method = Method.parse(line)
        sampler, conditioners = resolve(method, self.registry)
        settings = [
            params.model_dump_json() for params in (sampler.params, *(c.params for c in conditioners))
        ]
        device, dtype = self.engine.device, self.engine.dtype
        digest = hashlib.sha256(f"{method} {settings} {device.type} {dtype} {_seen_by()}".encode())
        for role in (*required_roles(sampler, conditioners), "text_encoder"):
            for path in sorted((self.model.folder / role).glob("*.safetensors")):
                digest.update(path.read_bytes())
        return digest.hexdigest()[:16]


def asked_for(block: int, batch: int) -> list[Attributes]:
    """What the pictures of a batch are to show, each twice."""
    rng = np.random.default_rng([1, block, batch])
    return [attributes for _ in range(BATCH // 2) for attributes in [draw_attributes(rng)] * 2]


@torch.no_grad()
def score(pictures: torch.Tensor, asked: Sequence[Attributes]) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (n, d), and whether kind, colour and scene (n, 3) are those asked for."""
    network = load_features()
    outputs = [network(pictures[i : i + 128]) for i in range(0, len(pictures), 128)]
    right = []
    for head in HEADS:
        answers = torch.cat([getattr(output, head).argmax(1) for output in outputs])
        wanted = torch.tensor([network.names(head).index(getattr(a, head)) for a in asked])
        right.append(answers == wanted)
    return torch.cat([output.features for output in outputs]), torch.stack(right, 1)


def _real(block: int, batch: int) -> torch.Tensor:
    """Features of real pictures that show what the captions of a batch name, (prompts, REAL, d)."""
    rng = np.random.default_rng([3, block, batch])
    asked = [
        replace(draw_attributes(rng), kind=a.kind, colour=a.colour, scene=a.scene)
        for a in asked_for(block, batch)[::2]
        for _ in range(REAL)
    ]
    images = np.stack([render(attributes, rng).image for attributes in asked])
    pictures = from_bytes(images)
    features, _ = score(pictures, asked)
    return features.reshape(-1, REAL, features.shape[1])


@functools.cache
def _seen_by() -> str:
    """Which feature network saw the pictures: another one, other measurements."""
    return weights_fingerprint(feature_network.WEIGHTS, ("",))


def _noise_seed(block: int, batch: int, index: int) -> int:
    return (block * 1000 + batch) * BATCH + index


def keep(path: Path, tensors: dict[str, torch.Tensor], facts: dict[str, str]) -> None:
    """Write a measurement, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, fresh, metadata=facts)
    os.replace(fresh, path)

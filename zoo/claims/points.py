"""Points: what one method gives on the bundled model, measured once and kept on disk.

The pictures of a point come in blocks, one a seed, and a block in batches of `BATCH`: the unit that is drawn, scored
and stored, so that a run that was interrupted goes on where it was. All points see the same prompts and the same start
noise, so two of them can be compared block by block.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from zoo.cell import Cell, Limits, required_roles
from zoo.data.tinyworld import Attributes, caption, draw_attributes, render
from zoo.engine import Engine, drive
from zoo.method import Method
from zoo.metrics.features import HEADS, load_features
from zoo.models.tinyworld import TextToPixels
from zoo.planning import impossible, resolve
from zoo.registry import Registry
from zoo.sampler import NEGATIVE, PROMPT

BATCH = 64
"""Pictures of a batch: two of each of its prompts, for the diversity within a prompt."""

REFERENCE = 4096
"""Real pictures that every point's distance is measured to."""


class Impossible(ValueError):
    """The method cannot run on the model."""


@dataclass(frozen=True)
class Block:
    """The pictures of one seed, as the feature network sees them.

    Attributes:
        features: (n, d) float32, pictures 2i and 2i + 1 of the same prompt.
        right: (n, 3) bool, whether the asked kind, colour and scene were found.
        nfe: network evaluations per picture, all roles.
        seconds: of the fused run, per picture.
    """

    features: torch.Tensor
    right: torch.Tensor
    nfe: int
    seconds: float

    @functools.cached_property
    def accuracy(self) -> float:
        """Share of pictures that show the asked kind."""
        return float(self.right[:, 0].float().mean())

    @functools.cached_property
    def diversity(self) -> float:
        """Mean cosine distance, in features, of two pictures of the same prompt."""
        likeness = torch.nn.functional.cosine_similarity(self.features[0::2], self.features[1::2])
        return float(1 - likeness.mean())


class Points:
    """Measures points, or reads them where they were measured before.

    Args:
        model: a model of tinyworld pictures.
        registry: where methods are looked up.
        engine: what draws.
        folder: where measurements are kept.
        blocks: how many seeds.
        batches: of `BATCH` pictures, in each block.
    """

    def __init__(
        self, model: TextToPixels, registry: Registry, engine: Engine, folder: Path, blocks: int, batches: int
    ) -> None:
        self.model, self.registry, self.engine = model, registry, engine
        self.folder, self.blocks, self.batches = folder, blocks, batches

    @property
    def pictures(self) -> int:
        """Of one point, all blocks together."""
        return self.blocks * self.batches * BATCH

    def missing(self, line: str) -> Iterator[tuple[int, int]]:
        """(block, batch) of a method that have not been measured yet."""
        for block, batch in itertools.product(range(self.blocks), range(self.batches)):
            if not self._path(line, block, batch).is_file():
                yield block, batch

    def measure(self, line: str, block: int, batch: int) -> None:
        """Draw and score one batch, and keep what was found.

        Raises:
            Impossible: the method cannot run on the model.
            RuntimeError: it failed.
        """
        asked = asked_for(block, batch)
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
        pictures = torch.cat(
            [self.model.pictures(cell.samples) for cell in cells if cell.samples is not None]
        )
        seconds = sum(cell.seconds for cell in cells) / BATCH
        _write(self._path(line, block, batch), *score(pictures, asked), sum(cells[0].nfe.values()), seconds)

    def blocks_of(self, line: str) -> list[Block]:
        """The measured blocks of a method.

        Raises:
            FileNotFoundError: not all of them have been measured.
        """
        return [
            _join([self._path(line, block, batch) for batch in range(self.batches)])
            for block in range(self.blocks)
        ]

    def real_blocks(self) -> list[Block]:
        """Real pictures of the same attributes in place of drawn ones: the floor of every distance."""
        blocks = []
        for block in range(self.blocks):
            asked = [a for batch in range(self.batches) for a in asked_for(block, batch)]
            blocks.append(Block(*score(_real(asked, [3, block]), asked), 0, 0.0))
        return blocks

    @functools.cached_property
    def reference(self) -> torch.Tensor:
        """Features of `REFERENCE` other real pictures, (n, d)."""
        rng = np.random.default_rng([4])
        asked = [draw_attributes(rng) for _ in range(REFERENCE)]
        return score(_real(asked, [5]), asked)[0]

    def _path(self, line: str, block: int, batch: int) -> Path:
        return self.folder / self._name(line) / f"{block}-{batch:03d}.safetensors"

    @functools.cache  # noqa: B019  one Points lives as long as the command
    def _name(self, line: str) -> str:
        """Of a method with the weights that it uses: other weights, other measurements."""
        sampler, conditioners = resolve(Method.parse(line), self.registry)
        digest = hashlib.sha256(str(Method.parse(line)).encode())
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


def _real(asked: Sequence[Attributes], key: Sequence[int]) -> torch.Tensor:
    images = [render(a, np.random.default_rng([*key, i])).image for i, a in enumerate(asked)]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def _noise_seed(block: int, batch: int, index: int) -> int:
    return (block * 1000 + batch) * BATCH + index


def _write(path: Path, features: torch.Tensor, right: torch.Tensor, nfe: int, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    facts = {"nfe": str(nfe), "seconds": repr(seconds)}
    save_file({"features": features, "right": right}, fresh, metadata=facts)
    os.replace(fresh, path)


def _join(paths: Sequence[Path]) -> Block:
    features, right, facts = [], [], []
    for path in paths:
        with safe_open(path, "pt") as file:
            features.append(file.get_tensor("features"))
            right.append(file.get_tensor("right"))
            facts.append(file.metadata())
    seconds = float(np.mean([float(fact["seconds"]) for fact in facts]))
    return Block(torch.cat(features), torch.cat(right), int(facts[0]["nfe"]), seconds)

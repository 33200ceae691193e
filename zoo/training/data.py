"""Pictures in and out of training: tinyworld or a folder as batches keyed by the step, and sheets of samples."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.utils.data import DataLoader, Dataset

from zoo.data import tinyworld
from zoo.pixels import from_bytes

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")

HELD_OUT = 1_000_003
"""From the seed of the pictures that a network is trained on to that of pictures it has not seen."""


class CaptionedPictures(Protocol):
    """An indexable source of pictures; every index is valid."""

    @property
    def vocabulary(self) -> Sequence[str]:
        """Every word that its captions use."""
        ...

    def batch(self, indices: Sequence[int]) -> tuple[np.ndarray, list[str]]:
        """Pictures (n, H, W, 3) uint8 and their captions."""
        ...


class TinyWorldPictures:
    """tinyworld's endless pictures."""

    vocabulary = tinyworld.VOCABULARY

    def __init__(self, seed: int, size: int) -> None:
        self.world = tinyworld.TinyWorld(seed, size)

    def batch(self, indices: Sequence[int]) -> tuple[np.ndarray, list[str]]:
        images, captions, _ = self.world.batch(indices)
        return images, captions


class FolderPictures:
    """The pictures below a folder, in a new random order every epoch.

    A caption is the text of NAME.txt beside NAME.png, else the name of the picture's folder when there are
    several folders, else empty.

    Raises:
        ValueError: the folder is missing or holds no picture.
    """

    def __init__(self, folder: Path, seed: int, size: int) -> None:
        self.paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURES)
        if not self.paths:
            raise ValueError(f"no pictures ({', '.join(PICTURES)}) in {str(folder)!r}; is it a folder?")
        self.seed, self.size = seed, size
        several = len({p.parent for p in self.paths}) > 1
        self.captions = [_caption(p, p.parent.name if several else "") for p in self.paths]
        self.vocabulary = sorted({word for caption in self.captions for word in caption.split()})

    def batch(self, indices: Sequence[int]) -> tuple[np.ndarray, list[str]]:
        picked = [self._pick(i) for i in indices]
        images = np.stack([_square(self.paths[i], self.size) for i in picked])
        return images, [self.captions[i] for i in picked]

    def _pick(self, index: int) -> int:
        epoch, place = divmod(index, len(self.paths))
        return int(_order(self.seed, epoch, len(self.paths))[place])


def open_pictures(data: str, seed: int, size: int) -> CaptionedPictures:
    """tinyworld by its name, anything else as a folder."""
    if data == "tinyworld":
        return TinyWorldPictures(seed, size)
    return FolderPictures(Path(data), seed, size)


class Batches(Dataset):  # type: ignore[type-arg]
    """Item n is the whole batch of step n: pictures (B, 3, H, W) in [-1, 1] and captions."""

    def __init__(self, pictures: CaptionedPictures, batch_size: int, steps: range, rank: int, world: int):
        self.pictures, self.batch_size, self.steps = pictures, batch_size, steps
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, list[str]]:
        first = (self.steps[item] * self.world + self.rank) * self.batch_size
        images, captions = self.pictures.batch(range(first, first + self.batch_size))
        return from_bytes(images), captions


def loader(batches: Dataset, workers: int) -> DataLoader:  # type: ignore[type-arg]
    """Batches in order, prepared ahead by `workers` processes."""
    return DataLoader(batches, batch_size=None, num_workers=workers)


def save_sheet(x: torch.Tensor, captions: Sequence[str], path: Path) -> None:
    """Write pictures (n, 3, H, W) in [-1, 1], n a multiple of 8, as rows of 8; their captions beside them."""
    pixels = ((x.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    n, height, width, _ = pixels.shape
    rows = pixels.reshape(n // 8, 8, height, width, 3).transpose(0, 2, 1, 3, 4)
    sheet = Image.fromarray(rows.reshape(n // 8 * height, 8 * width, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.resize((sheet.width * 4, sheet.height * 4), Image.Resampling.NEAREST).save(path)
    (path.parent / "captions.txt").write_text("\n".join(captions), encoding="utf-8")


@functools.lru_cache(maxsize=2)
def _order(seed: int, epoch: int, n: int) -> np.ndarray:
    """The order of n pictures in an epoch."""
    order: np.ndarray = np.random.default_rng([seed, epoch]).permutation(n)
    return order


def _caption(path: Path, fallback: str) -> str:
    text = path.with_suffix(".txt")
    caption = text.read_text(encoding="utf-8") if text.exists() else fallback
    return " ".join("".join(c if c.isalnum() else " " for c in caption.lower()).split())


def _square(path: Path, size: int) -> np.ndarray:
    with Image.open(path) as picture:
        upright = ImageOps.exif_transpose(picture).convert("RGB")
    return np.asarray(ImageOps.fit(upright, (size, size), Image.Resampling.BOX))

"""The way of a sampler from noise to picture, kept as a few small pictures, however many steps it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from zoo.schedule import Level

IMAGES = 16
"""Of more images than this, the first ones are kept."""

SIDE = 96
"""Larger pictures are made this small."""


@dataclass(frozen=True, eq=False)
class Frame:
    """Where a sampler stood when it was answered.

    Attributes:
        log_snr: log(alpha² / sigma²) of the level it asked about.
        nfe: network evaluations per image up to and with this answer.
        seconds: what the cell had cost before it.
        x_t: the state as pictures, (n, 3, H, W) uint8, scaled to the variance of unit data, x / √(alpha² + sigma²).
        x0: the predicted clean pictures, (n, 3, H, W) uint8.
    """

    log_snr: float
    nfe: int
    seconds: float
    x_t: torch.Tensor
    x0: torch.Tensor


class Frames:
    """At most `most` frames, evenly among all that came: when they are too many, every second one goes.

    Args:
        most: how many are kept, at least 2; the latest is always among them.
        pictures: data (n, *shape) → pictures (n, 3, H, W) within [-1, 1], such as `Model.pictures`.
    """

    def __init__(self, most: int, pictures: Callable[[torch.Tensor], torch.Tensor]) -> None:
        if most < 2:
            raise ValueError(f"it keeps at least 2 frames, not {most}")
        self.most, self.pictures = most, pictures
        self._frames: list[Frame] = []
        self._latest: Frame | Callable[[], Frame] | None = None
        self._every, self._seen = 1, 0

    @classmethod
    def of(cls, kept: Iterable[Frame]) -> Frames:
        """Frames that were kept elsewhere, such as in another process; none are added."""
        frames = cls(2, lambda x: x)
        frames._frames = list(kept)
        return frames

    @property
    def kept(self) -> list[Frame]:
        """In the order in which they came, the latest last."""
        if callable(self._latest):
            self._latest = self._latest()
        latest = self._latest
        return self._frames if latest is None or latest in self._frames else [*self._frames, latest]

    def add(self, level: Level, x: torch.Tensor, x0: torch.Tensor, nfe: int, seconds: float) -> None:
        """Note an answer: the state x at a level, (n, *shape), and the x0 predicted there."""
        unit = (level.alpha**2 + level.sigma**2) ** -0.5
        state, clean = x[:IMAGES] * unit, x0[:IMAGES].clone()

        def frame() -> Frame:
            return Frame(level.log_snr, nfe, seconds, self._bytes(state), self._bytes(clean))

        # Most answers are not kept, and one that is not need not leave the device.
        self._latest = frame
        if self._seen % self._every == 0:
            self._latest = frame()
            self._frames.append(self._latest)
        self._seen += 1
        if len(self._frames) >= self.most:
            del self._frames[1::2]
            self._every *= 2

    def _bytes(self, x: torch.Tensor) -> torch.Tensor:
        pictures = self.pictures(x)
        if (side := max(pictures.shape[-2:])) > SIDE:
            import torch

            size = [max(1, n * SIDE // side) for n in pictures.shape[-2:]]
            pictures = torch.nn.functional.interpolate(pictures, size, mode="area")
        return ((pictures.clamp(-1, 1) + 1) * 127.5).round().byte()

"""The pictures between two noises, along the arc between them.

Song, Meng, Ermon 2021, "Denoising Diffusion Implicit Models", arXiv:2010.02502, section 5.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.method import Method
from zoo.noise import MAX_SEED, unit_noise
from zoo.registry import Registry
from zoo.sampler import NEGATIVE, PROMPT
from zoo.solo import finish, folder_at, notices, prepare, write_json

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
    from PIL import Image

    from zoo.limits import Limits
    from zoo.loop import Loop

MAX_FRAMES = 256


@dataclass(frozen=True)
class Interpolation:
    """Pictures between those of two seeds.

    Attributes:
        model, prompt, negative, method, seeds: what was run.
        images: (frames, 3, H, W) within [-1, 1], on the CPU; the first and the last are those of the seeds.
        samples: the raw samples, (frames, *shape).
        nfe: network evaluations per frame, by role.
        notices: what the model ignored of the prompt.
    """

    model: str
    prompt: str
    negative: str
    method: str
    seeds: tuple[int, int]
    images: torch.Tensor
    samples: torch.Tensor
    nfe: dict[str, int] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What interpolation.json holds."""
        return {
            "model": self.model,
            "prompt": self.prompt,
            "negative": self.negative,
            "method": self.method,
            "seeds": list(self.seeds),
            "frames": len(self.images),
            "nfe": self.nfe,
            "notices": list(self.notices),
        }

    def strip(self) -> Image.Image:
        """All frames side by side; small ones enlarged by a whole factor, without blur."""
        from PIL import Image

        from zoo.sheet import GAP, PAPER, SMALLEST
        from zoo.store import to_pil

        pictures = [to_pil(image) for image in self.images]
        factor = max(1, -(-SMALLEST // pictures[0].width))
        width, height = pictures[0].width * factor, pictures[0].height * factor
        strip = Image.new("RGB", (len(pictures) * (width + GAP) - GAP, height), PAPER)
        for i, picture in enumerate(pictures):
            strip.paste(picture.resize((width, height), Image.Resampling.NEAREST), (i * (width + GAP), 0))
        return strip

    def save(self, folder: str | Path) -> Path:
        """Write strip.png, frames/NNN.png and interpolation.json, in place of earlier ones."""
        from zoo.store import to_pil

        folder = folder_at(folder)
        frames = folder_at(folder / "frames")
        for old in frames.glob("*.png"):
            old.unlink()
        for i, image in enumerate(self.images):
            to_pil(image).save(frames / f"{i:03d}.png")
        self.strip().save(folder / "strip.png")
        write_json(folder / "interpolation.json", self.to_dict())
        return folder


def interpolate(
    seeds: Sequence[int],
    *,
    frames: int = 9,
    model: str = "tinyworld",
    prompt: str = "",
    negative: str = "",
    method: str | Method = "ddim steps=20",
    device: str = "auto",
    dtype: str = "auto",
    registry: Registry | None = None,
    limits: Limits | None = None,
    on: Loop | None = None,
) -> Interpolation:
    """Make the pictures between those of two seeds: spherical steps between their start noises, all in one batch.

    Args:
        seeds: two; the first and the last frame are what `compare` makes from them with the same method.
        frames: at least 2, both ends included.
        model: a registered model's name, or folder:PATH.
        prompt, negative: what to draw, and what guidance leads away from.
        method: a deterministic one.
        device: auto, cpu, cuda, cuda:N or mps.
        dtype: auto, fp32, bf16 or fp16, of the networks.
        registry: where names are looked up; all installed plugins by default.
        limits: what it may cost, all frames together being one cell.
        on: a loop to run on beside others, whose device it then is.

    Raises:
        ValueError: a name or a parameter is not possible, or the method draws noise on the way.
        RuntimeError: the network or a plugin failed on the way.
    """
    import numpy as np
    import torch

    from zoo.cell import Cell

    if len(seeds) != 2 or not all(isinstance(seed, int) and 0 <= seed <= MAX_SEED for seed in seeds):
        raise ValueError(f"two seeds within 0 … {MAX_SEED} are needed, such as 3 and 8, got {list(seeds)}")
    if not 2 <= frames <= MAX_FRAMES:
        raise ValueError(f"frames must be within 2 … {MAX_FRAMES}, both ends included, got {frames}")
    method = Method.parse(method) if isinstance(method, str) else method
    conditions = {PROMPT: prompt, NEGATIVE: negative}
    engine, found, sampler, conditioners = prepare(method, model, conditions, registry, device, dtype, on)
    first, last = (unit_noise(seed, 0, found.shape) for seed in seeds)
    noise = np.stack([slerp(first, last, i / (frames - 1)) for i in range(frames)])
    scale = found.schedule.start_scale(sampler.levels(found.schedule)[0])
    start = torch.from_numpy(noise * scale)
    cell = Cell(found, sampler, conditioners, conditions, [seeds[0]] * frames, limits, start_state=start)
    samples = finish(engine, cell, dtype)
    return Interpolation(
        model=model,
        prompt=prompt,
        negative=negative,
        method=str(method),
        seeds=(seeds[0], seeds[1]),
        images=cell.pictures(),
        samples=samples.cpu(),
        nfe=dict(cell.nfe),
        notices=notices(found, prompt, negative),
    )


def slerp(
    first: npt.NDArray[np.float64], last: npt.NDArray[np.float64], weight: float
) -> npt.NDArray[np.float64]:
    """sin((1 − w)·θ)/sin θ · first + sin(w·θ)/sin θ · last, θ the angle between them; w from 0 to 1.

    Noise of d numbers has length √d almost surely, and two noises stand almost at right angles. Halfway along the
    straight line between them the length is only √(d/2): noise of half the variance, which no network was trained
    on. Along the arc the length stays, and what is between two noises is noise.

    Raises:
        ValueError: the two are parallel: the same noise, or opposite ones, between which there is no one arc.

    References:
        Song et al. 2021, arXiv:2010.02502, appendix D.5.
    """
    import numpy as np

    cosine = np.vdot(first, last) / (np.linalg.norm(first) * np.linalg.norm(last))
    angle = math.acos(min(1.0, max(-1.0, float(cosine))))
    if math.sin(angle) < 1e-6:
        raise ValueError(
            "the two noises are parallel, so there is nothing between them; give different seeds"
        )
    a, b = (math.sin(part * angle) / math.sin(angle) for part in (1 - weight, weight))
    return a * first + b * last

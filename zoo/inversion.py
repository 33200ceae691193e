"""A picture's own noise: DDIM run upwards, and down again to see what was lost.

Song, Meng, Ermon 2021, "Denoising Diffusion Implicit Models", arXiv:2010.02502, section 5.4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.conditioner import Conditioner, Guidance
from zoo.method import Method
from zoo.picture import load_picture
from zoo.prediction import Prediction
from zoo.registry import Registry
from zoo.sampler import NEGATIVE, PROMPT, Noise, Queries, Query, Sampler
from zoo.schedule import Levels, Schedule
from zoo.solo import finish, folder_at, notices, prepare, write_json

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from zoo.cell import Cell
    from zoo.limits import Limits
    from zoo.loop import Loop
    from zoo.model import Model

MAX_ITERATIONS = 50


class DDIMInversion(Sampler):
    """DDIM run upwards: from data at the clean level to the noisiest of another sampler's levels.

    DDIM's step from level t down to s, written with the v that is predicted at (x_t, t) and solved for x_t, is

        x_t = [(alpha_t² + sigma_t²)·x_s + (alpha_s·sigma_t − sigma_s·alpha_t)·v] / (alpha_s·alpha_t + sigma_s·sigma_t),

    which is implicit: v depends on x_t. The first iteration takes x0 and eps from (x_s, s) instead, x_t = alpha_t·x0 +
    sigma_t·eps: Euler's step up the same ODE, the paper's inversion. Each further one asks at (x_t, t), with the x_t
    found so far; at its fixed point the step is undone exactly. Solved for eps instead of v, the same iteration stalls
    at the noisy end, where alpha_t is nearly zero; solved for x0 it does not exist at the clean one, where sigma_s is.

    No network can be asked at the clean level. There the first iteration is already implicit, and begins with
    x_t = (alpha_t/alpha_s)·x_s: the picture, taken for a state at the cleanest timestep that happens to have no noise.

    Args:
        sampler: whose levels to climb.
        iterations: queries a step.

    References:
        Song et al. 2021, arXiv:2010.02502, equation 14; iterated (on eps): Garibi et al. 2024, arXiv:2403.14602.
    """

    def __init__(self, sampler: Sampler, iterations: int = 1) -> None:
        super().__init__()
        self.sampler, self.iterations = sampler, iterations

    def levels(self, schedule: Schedule) -> Levels:
        return self.sampler.levels(schedule)

    def evaluations(self, levels: Levels) -> int:
        return self.iterations * levels.steps

    def sample(self, x: torch.Tensor, levels: Levels, noise: Noise) -> Queries:
        for t, s in reversed(list(levels.pairs())):
            remaining = self.iterations
            if s.is_clean:
                found = (t.alpha / s.alpha) * x
            else:
                prediction = yield Query(x, s)
                found = t.alpha * prediction.x0 + t.sigma * prediction.eps
                remaining -= 1
            for _ in range(remaining):
                v = (yield Query(found, t)).v
                found = (t.alpha**2 + t.sigma**2) * x + (s.alpha * t.sigma - s.sigma * t.alpha) * v
                found = found / (s.alpha * t.alpha + s.sigma * t.sigma)
            x = found
        return x


class Unclipped(Conditioner):
    """Leaves predicted x0 out of the data's range, whatever the query asks: a clipped step cannot be undone."""

    def guide(self, query: Query) -> Guidance:
        prediction: Prediction = yield replace(query, threshold="none")
        return prediction


@dataclass(frozen=True)
class Inversion:
    """A picture, its noise, and what the noise gives back; tensors are (*model.shape), on the CPU.

    Attributes:
        model, prompt, negative, method, iterations: what was run.
        picture: the data that was inverted, in [-1, 1].
        latents: the noise found for it, a state at the method's first level.
        reconstruction: the sample that the method makes from `latents`; not clipped.
        nfe: network evaluations of each way, "inversion" and "reconstruction", by role.
        notices: what the model ignored of the prompt.
    """

    model: str
    prompt: str
    negative: str
    method: str
    iterations: int
    picture: torch.Tensor
    latents: torch.Tensor
    reconstruction: torch.Tensor
    nfe: dict[str, dict[str, int]]
    notices: tuple[str, ...] = ()

    @property
    def rmse(self) -> float:
        """Root mean square of reconstruction − picture, in units of the data: pixels within [-1, 1]."""
        return float((self.reconstruction - self.picture).double().square().mean().sqrt())

    @property
    def psnr(self) -> float:
        """20·log10(2 / rmse) in dB, 2 being the range of [-1, 1]; the same number as in 0 … 255 with peak 255."""
        return 20 * math.log10(2 / self.rmse) if self.rmse else math.inf

    def to_dict(self) -> dict[str, Any]:
        """What inversion.json holds."""
        return {
            "model": self.model,
            "prompt": self.prompt,
            "negative": self.negative,
            "method": self.method,
            "iterations": self.iterations,
            "nfe": self.nfe,
            "rmse": self.rmse,
            "psnr": self.psnr if self.rmse else None,
            "notices": list(self.notices),
        }

    def save(self, folder: str | Path) -> Path:
        """Write latents.npy, inversion.json and, where the data are pictures, picture.png and reconstruction.png."""
        import numpy as np

        from zoo.store import to_pil

        folder = folder_at(folder)
        for name in ("picture", "reconstruction") if _is_picture(tuple(self.picture.shape)) else ():
            to_pil(getattr(self, name).float()).save(folder / f"{name}.png")
        np.save(folder / "latents.npy", self.latents.numpy())
        write_json(folder / "inversion.json", self.to_dict())
        return folder


def invert(
    image: str | Path | Image.Image | torch.Tensor,
    *,
    model: str = "tinyworld",
    prompt: str = "",
    negative: str = "",
    method: str | Method = "ddim steps=50",
    iterations: int = 1,
    device: str = "auto",
    dtype: str = "fp32",
    registry: Registry | None = None,
    limits: Limits | None = None,
    on: Loop | None = None,
) -> Inversion:
    """Find the noise that DDIM turns into a picture, and turn it into a picture again.

    Predicted x0 is clipped on neither way. Guidance magnifies what the Euler steps up leave out: with
    `| cfg scale=…` expect a larger error, and see it in the result.

    Args:
        image: a file or a Pillow picture, brought to the model's size; or data as it is, (*model.shape).
        model: a registered model's name, or folder:PATH.
        prompt, negative: what the picture shows, and what guidance leads away from.
        method: `ddim` with eta 0, and conditioners.
        iterations: queries a step upwards; 1 is plain DDIM inversion, see `DDIMInversion`.
        device: auto, cpu, cuda, cuda:N or mps.
        dtype: auto, fp32, bf16 or fp16, of the networks; the rounding of the short ones adds to the error.
        registry: where names are looked up; all installed plugins by default.
        limits: what each way may cost, up and down.
        on: a loop to run on beside others, whose device it then is.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is no picture, or a name, a parameter or the method is not possible.
        RuntimeError: the network or a plugin failed on the way.
    """
    import torch

    from zoo.cell import Cell

    method = Method.parse(method) if isinstance(method, str) else method
    if method.sampler.name != "ddim":
        raise ValueError(
            f"only ddim can be run upwards, not {method.sampler.name}; for example 'ddim steps=50'"
        )
    if not 1 <= iterations <= MAX_ITERATIONS:
        raise ValueError(f"iterations must be within 1 … {MAX_ITERATIONS}, got {iterations}")
    conditions = {PROMPT: prompt, NEGATIVE: negative}
    engine, found, sampler, conditioners = prepare(method, model, conditions, registry, device, dtype, on)
    data = image if isinstance(image, torch.Tensor) else _picture(image, found)
    if tuple(data.shape) != found.shape:
        raise ValueError(f"the data has shape {tuple(data.shape)}, {found.name} needs {found.shape}")
    data = data.detach().to("cpu", getattr(torch, found.precision))

    def cell(what: Sampler, start: torch.Tensor) -> Cell:
        return Cell(found, what, [Unclipped(), *conditioners], conditions, (0,), limits, start_state=start)

    latents = finish(engine, up := cell(DDIMInversion(sampler, iterations), data[None]), dtype)
    again = finish(engine, down := cell(sampler, latents), dtype)
    return Inversion(
        model=model,
        prompt=prompt,
        negative=negative,
        method=str(method),
        iterations=iterations,
        picture=data,
        latents=latents[0].cpu(),
        reconstruction=again[0].cpu(),
        nfe={"inversion": dict(up.nfe), "reconstruction": dict(down.nfe)},
        notices=notices(found, prompt, negative),
    )


def _picture(source: str | Path | Image.Image, model: Model) -> torch.Tensor:
    if not _is_picture(model.shape):
        raise ValueError(f"the data of {model.name} has shape {model.shape}: a picture file is no such thing")
    return load_picture(source, *model.shape[1:])


def _is_picture(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[0] == 3

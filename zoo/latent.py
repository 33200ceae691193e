"""What a deterministic sampler gives: a picture's own noise, and the pictures between two noises.

Song, Meng, Ermon 2021, "Denoising Diffusion Implicit Models", arXiv:2010.02502, sections 5.4 and 5.3.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.conditioner import Conditioner, Guidance
from zoo.method import Method
from zoo.noise import MAX_SEED, unit_noise
from zoo.picture import load_picture
from zoo.planning import check_prompts, impossible, load_model, resolve
from zoo.prediction import Prediction
from zoo.registry import Registry, default_registry
from zoo.sampler import NEGATIVE, PROMPT, Noise, Queries, Query, Sampler
from zoo.schedule import Levels, Schedule

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
    from PIL import Image

    from zoo.cell import Cell
    from zoo.engine import Engine
    from zoo.loop import Loop
    from zoo.model import Model

MAX_FRAMES, MAX_ITERATIONS = 256, 50


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

        folder = _folder(folder)
        for name in ("picture", "reconstruction") if _is_picture(tuple(self.picture.shape)) else ():
            to_pil(getattr(self, name).float()).save(folder / f"{name}.png")
        np.save(folder / "latents.npy", self.latents.numpy())
        _write_json(folder / "inversion.json", self.to_dict())
        return folder


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

        folder = _folder(folder)
        frames = _folder(folder / "frames")
        for old in frames.glob("*.png"):
            old.unlink()
        for i, image in enumerate(self.images):
            to_pil(image).save(frames / f"{i:03d}.png")
        self.strip().save(folder / "strip.png")
        _write_json(folder / "interpolation.json", self.to_dict())
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
    engine, found, sampler, conditioners = _prepare(
        method, model, {PROMPT: prompt, NEGATIVE: negative}, registry, device, dtype, on
    )
    data = image if isinstance(image, torch.Tensor) else _picture(image, found)
    if tuple(data.shape) != found.shape:
        raise ValueError(f"the data has shape {tuple(data.shape)}, {found.name} needs {found.shape}")
    data = data.detach().to("cpu", getattr(torch, found.precision))

    def run(what: Sampler, start: torch.Tensor) -> Cell:
        conditions = {PROMPT: prompt, NEGATIVE: negative}
        cell = Cell(found, what, [Unclipped(), *conditioners], conditions, (0,), start_state=start)
        return _finish(engine, cell, dtype)

    up = run(DDIMInversion(sampler, iterations), data[None])
    down = run(sampler, _samples(up))
    return Inversion(
        model=model,
        prompt=prompt,
        negative=negative,
        method=str(method),
        iterations=iterations,
        picture=data,
        latents=_samples(up)[0].cpu(),
        reconstruction=_samples(down)[0].cpu(),
        nfe={"inversion": dict(up.nfe), "reconstruction": dict(down.nfe)},
        notices=_notices(found, prompt, negative),
    )


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
    engine, found, sampler, conditioners = _prepare(
        method, model, {PROMPT: prompt, NEGATIVE: negative}, registry, device, dtype, on
    )
    first, last = (unit_noise(seed, 0, found.shape) for seed in seeds)
    noise = np.stack([slerp(first, last, i / (frames - 1)) for i in range(frames)])
    scale = found.schedule.start_scale(sampler.levels(found.schedule)[0])
    conditions = {PROMPT: prompt, NEGATIVE: negative}
    start = torch.from_numpy(noise * scale)
    cell = Cell(found, sampler, conditioners, conditions, [seeds[0]] * frames, start_state=start)
    _finish(engine, cell, dtype)
    samples = _samples(cell)
    return Interpolation(
        model=model,
        prompt=prompt,
        negative=negative,
        method=str(method),
        seeds=(seeds[0], seeds[1]),
        images=cell.pictures(),
        samples=samples.cpu(),
        nfe=dict(cell.nfe),
        notices=_notices(found, prompt, negative),
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


def _prepare(
    method: Method,
    model: str,
    conditions: Mapping[str, str],
    registry: Registry | None,
    device: str,
    dtype: str,
    on: Loop | None,
) -> tuple[Engine | Loop, Model, Sampler, list[Conditioner]]:
    """What a deterministic method needs in order to run.

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


def _picture(source: str | Path | Image.Image, model: Model) -> torch.Tensor:
    if not _is_picture(model.shape):
        raise ValueError(f"the data of {model.name} has shape {model.shape}: a picture file is no such thing")
    return load_picture(source, *model.shape[1:])


def _is_picture(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[0] == 3


def _finish(engine: Engine | Loop, cell: Cell, dtype: str) -> Cell:
    from zoo.device import resolve_dtype
    from zoo.engine import turns

    if dtype != "auto":
        cell.dtype = resolve_dtype(dtype, engine.device)
    engine.run(turns([cell]))
    if cell.status != "done":
        raise RuntimeError(f"{type(cell.sampler).__name__} {cell.status}: {cell.error}")
    return cell


def _samples(cell: Cell) -> torch.Tensor:
    assert cell.samples is not None
    return cell.samples


def _notices(model: Model, *texts: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(notice for text in texts for notice in model.notices(text)))


def _folder(path: str | Path) -> Path:
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

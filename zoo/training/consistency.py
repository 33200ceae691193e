"""Consistency models by three recipes: a network that goes from any level straight to the end of the ODE.

    w·d(f_θ(x_j), f_θ⁻(x̂_r)),    w = 1/(angle_j − angle_r),    no gradient through θ⁻

- distillation: x̂_r is one step of the teacher's ODE from x_j (Song et al. 2023, arXiv:2303.01469, algorithm 2).
- training: x̂_r has the same data and the same noise as x_j; from random weights, the levels drawing closer as it
  goes on (arXiv:2303.01469, algorithm 3, with the changes of Song & Dhariwal 2023, arXiv:2310.14189).
- tuning: the same from the weights of the denoiser, at first with the data as the target (Geng et al. 2024,
  "Consistency Models Made Easy", arXiv:2406.14548).

The text encoder stays the teacher's in all three, since a model has one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, model_validator
from tqdm import tqdm

from zoo.consistency import Boundary
from zoo.models.tinyworld import CONSISTENCY_CARD, WEIGHTS, TextToPixels, chain_facts, weights_fingerprint
from zoo.schedule import DiscreteSchedule
from zoo.training.data import Batches, CaptionedPictures, loader, open_pictures, save_sheet
from zoo.training.denoiser import draw, initialise
from zoo.training.distance import DISTANCES
from zoo.training.loop import fit
from zoo.training.pairs import Chain, Growth, neighbours, tightening
from zoo.training.recipe import Recipe, keyed_generator
from zoo.training.teacher import Teacher, ask, blank, check_captions, copy_model, copy_of

LEVELS = {"distillation": [32], "training": [1, 32], "tuning": [2, 32]}
LEARNING_RATE = {"distillation": 3e-4, "training": 1e-3, "tuning": 3e-4}
TARGET_EMA = {"distillation": 0.95, "training": 0.0, "tuning": 0.0}


class ConsistencyRecipe(Recipe):
    """Options of `zoo train consistency`."""

    free = Recipe.free - {"steps"} | {"teacher"}  # the curriculum is laid out over the steps

    out: Path = Field(Path("runs/consistency"), description="folder for checkpoints, samples and the model")
    recipe: str = Field(
        "tuning",
        pattern="^(distillation|training|tuning)$",
        description="distillation (from a teacher's ODE), training (from scratch) or tuning (from the denoiser)",
    )
    teacher: Path | None = Field(
        None, description="model folder to start from; without it the bundled tinyworld"
    )
    init: Path | None = Field(
        None, description="go on from the network of this recipe in this model's folder: a further stage"
    )
    steps: int = Field(1600, ge=1, description="optimiser steps")
    learning_rate: float = Field(
        0.0,
        ge=0,
        description="peak learning rate of RAdam; 0 is "
        + ", ".join(f"{rate:g} for {name}" for name, rate in LEARNING_RATE.items()),
    )
    warmup: int = Field(50, ge=0, description="steps of linear warm-up before the cosine decay to 0")
    sample_every: int = Field(200, ge=1, description="steps between sample grids")
    levels: list[int] = Field(
        [],
        max_length=2,
        description="N, how many steps the chain is cut into: one number, or the first and the last of a growing N; "
        + ", ".join(f"{' '.join(map(str, n))} for {name}" for name, n in LEVELS.items()),
    )
    growth: str = Field("doubling", pattern="^(doubling|root)$", description="how N grows: doubling or root")
    distance: str = Field(
        "pseudo-huber", pattern=f"^({'|'.join(DISTANCES)})$", description=", ".join(DISTANCES)
    )
    solver: str = Field("heun", pattern="^(heun|euler)$", description="teacher's step: heun or euler")
    target_ema: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="decay of the target's weights at the first N, 0 is none; by default "
        + ", ".join(f"{decay:g} for {name}" for name, decay in TARGET_EMA.items()),
    )
    sigma_data: float = Field(
        1.0, gt=0, description="of the scalings; with 1 the network is one that predicts v"
    )
    label_dropout: float = Field(0.1, ge=0, lt=1, description="share of captions replaced by the empty one")
    ema: float = Field(0.999, ge=0, lt=1, description="decay of the weight average, warmed up")

    @model_validator(mode="after")
    def _resolve(self) -> ConsistencyRecipe:
        self.levels = self.levels or LEVELS[self.recipe]
        self.learning_rate = self.learning_rate or LEARNING_RATE[self.recipe]
        if self.target_ema is None:
            self.target_ema = TARGET_EMA[self.recipe]
        if self.levels[0] < 1 or self.levels != sorted(self.levels):
            raise ValueError(f"levels={self.levels}: one number of at least 1, or two that grow")
        return self


class ConsistencyRun(ConsistencyRecipe):
    """The same with what it starts from; another teacher does not resume."""

    teacher_weights: str


class Function:
    """f(x) = c_skip·x − c_out·output(c_in·x), of networks whose outputs are read as v.

    At the clean level it is x itself, and no network is asked.
    """

    def __init__(self, chain: Chain, boundary: Boundary) -> None:
        self.chain, self.boundary = chain, boundary

    def __call__(self, network: Any, x: torch.Tensor, j: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        noisy = j > 0
        if not noisy.all():
            ends = x.clone()
            if noisy.any():
                ends[noisy] = self(network, x[noisy], j[noisy], text[noisy])
            return ends
        skip, out, scale = self.boundary.scalings(self.chain.alpha[j], self.chain.sigma[j])
        rows = (scale * x).contiguous(memory_format=torch.channels_last)
        return skip * x - out * ask(network, rows, self.chain.t[j], text)


class Objective:
    """What is minimised: the mean of w·d(f_θ(x_j), f_θ⁻(x̂_r)), see the top of this file.

    Args:
        recipe: names the pairs, their distance, and the teacher's solver.
        function: f.
    """

    def __init__(self, recipe: ConsistencyRecipe, function: Function) -> None:
        self.recipe, self.function, self.chain = recipe, function, function.chain
        self.growth = Growth(recipe.levels[0], recipe.levels[-1], recipe.growth, recipe.steps)
        self.choose = tightening if recipe.recipe == "tuning" else neighbours
        self.distance = DISTANCES[recipe.distance]()

    def __call__(
        self,
        network: Any,
        target: Any,
        teacher: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        x0: torch.Tensor,
        noise: torch.Tensor,
        i: torch.Tensor,
        text: torch.Tensor,
        step: int,
    ) -> torch.Tensor:
        """The loss of a batch, a scalar.

        Args:
            network, target: f's with and without gradient.
            teacher: predicts x0 from (x, j); only distillation asks it.
            x0, noise: (B, C, H, W).
            i: timesteps, (B,) long.
            text: embeddings, (B, length, width).
            step: of the training, which decides N.
        """
        chain = self.chain
        j, r = self.choose(chain, self.growth.steps(step), i)
        x = chain.noisy(x0, noise, j)
        with torch.no_grad():
            if self.recipe.recipe == "distillation":
                below = chain.solve(teacher, x, j, r, self.recipe.solver)
            else:
                below = chain.noisy(x0, noise, r)
            goal = self.function(target, below, r, text)
        apart = self.distance(self.function(network, x, j, text), goal)
        return (apart / (chain.angle[j] - chain.angle[r])).mean()


def train(recipe: ConsistencyRecipe) -> Path | None:
    """Train, or go on from the last checkpoint; returns the model's folder, None if stopped early.

    Raises:
        ValueError: the teacher, the data, the distance or a checkpoint does not fit the recipe.
        OSError: the teacher's folder is not a model.
    """
    from accelerate import Accelerator

    accelerator = Accelerator()
    device, rank, world = accelerator.device, accelerator.process_index, accelerator.num_processes
    folder = recipe.teacher or WEIGHTS / "tinyworld"
    model = TextToPixels(folder, name=str(folder), title=folder.name)
    assert isinstance(model.schedule, DiscreteSchedule)
    if recipe.levels[-1] > model.schedule.timesteps:
        raise ValueError(
            f"levels={recipe.levels}: the chain of {model.name} has {model.schedule.timesteps} timesteps"
        )
    chain = Chain(model.schedule, device)
    function = Function(chain, Boundary(recipe.sigma_data))
    objective = Objective(recipe, function)
    teacher = Teacher.of(model, ("v",), recipe.size, device)
    pictures = open_pictures(recipe.data, recipe.seed, recipe.size)
    check_captions(pictures.vocabulary, teacher.tokenizer, recipe.data)
    torch.manual_seed(recipe.seed)
    student = (blank if recipe.recipe == "training" else copy_of)(teacher.network).to(device)
    if recipe.init is not None:
        print(initialise(student, recipe.init, f"consistency/{recipe.recipe}"))
    target = _Target(recipe, student)
    optimizer = torch.optim.RAdam(student.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.99))

    def batches(steps: range) -> Iterable[tuple[torch.Tensor, list[str]]]:
        return loader(Batches(pictures, recipe.batch_size, steps, rank, world), recipe.workers)

    def loss(network: torch.nn.Module, step: int, batch: tuple[torch.Tensor, list[str]]) -> torch.Tensor:
        x0, captions = batch
        generator = keyed_generator(recipe.seed, step, rank)
        i, noise, kept = draw(generator, x0.shape, recipe.label_dropout, chain.timesteps)
        text, empty = teacher.embed([c if k else "" for c, k in zip(captions, kept, strict=True)])
        target.follow(objective.growth.decay(step, target.decay))
        with recipe.autocast(device):
            return objective(
                network,
                target.network,
                teacher.predictor(chain, text, empty),
                x0.to(device),
                noise.to(device),
                i.to(device),
                text,
                step,
            )

    def sample(done: int) -> None:
        _draw_samples(recipe, done, function, student, teacher, pictures)

    run = ConsistencyRun(**recipe.model_dump(), teacher_weights=teacher.fingerprint())
    fitted = fit(
        run, accelerator, student, target.modules, optimizer, batches, loss, ema=recipe.ema, sample=sample
    )
    if not fitted.complete or not accelerator.is_main_process:
        return None
    source = weights_fingerprint(folder, ("denoiser", "text_encoder"))
    copy_model(folder, recipe.out / "model")
    return export(recipe, student, model.schedule, fitted.facts | {"weights of the teacher": source})


def export(
    recipe: ConsistencyRecipe, student: Any, schedule: DiscreteSchedule, facts: dict[str, Any]
) -> Path:
    """Write the network in half precision, in `save_pretrained` layout, with what it was trained for and a model card.

    Returns:
        The model's folder, in which it is consistency/RECIPE.
    """
    from zoo.training.card import write_card

    folder = recipe.out / "model" / "consistency" / recipe.recipe
    copy_of(student).half().save_pretrained(folder)
    said = {
        "recipe": recipe.recipe,
        "chain": chain_facts(schedule),
        "sigma_data": recipe.sigma_data,
        "teacher": facts["weights of the teacher"],
    }
    (folder / CONSISTENCY_CARD).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    write_card(folder, "consistency", recipe, facts)
    return recipe.out / "model"


class _Target:
    """θ⁻: the student itself, or weights that follow it.

    Attributes:
        network: what is asked.
        modules: the student, and the target where it has weights of its own: what checkpoints hold.
        decay: μ at the first N, 0 if it is the student itself.
    """

    def __init__(self, recipe: ConsistencyRecipe, student: Any) -> None:
        self.student, self.decay = student, recipe.target_ema or 0.0
        self.network, self.modules = student, {"student": student}
        if self.decay:
            copy = copy_of(student).to(student.device, memory_format=torch.channels_last)
            self.network = copy.requires_grad_(False)
            self.modules["target"] = self.network

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """θ⁻ ← μ·θ⁻ + (1 − μ)·θ, at the beginning of a step what the papers do at the end of the one before."""
        if self.network is not self.student:
            weights = [p.detach() for p in self.student.parameters()]
            torch._foreach_lerp_(list(self.network.parameters()), weights, 1 - decay)


@torch.no_grad()
def _draw_samples(
    recipe: ConsistencyRecipe,
    step: int,
    function: Function,
    student: Any,
    teacher: Teacher,
    pictures: CaptionedPictures,
) -> None:
    """Of the first 8 captions, from the same noise: one step, two steps, and the teacher's DDIM in 20.

    Says how far the single step is from where the teacher's ODE ends.
    """
    chain, size = function.chain, recipe.size
    _, captions = pictures.batch(range(8))
    text, empty = teacher.embed(captions)
    start, again = torch.randn(2, 8, 3, size, size, generator=keyed_generator(recipe.seed)).to(text.device)

    def at(j: int) -> torch.Tensor:
        return torch.full((8,), j, device=text.device)

    noisiest, middle = at(chain.timesteps), at(chain.timesteps // 2)
    one = function(student, start, noisiest, text).clamp(-1, 1)
    two = function(student, chain.noisy(one, again, middle), middle, text).clamp(-1, 1)
    predict = teacher.predictor(chain, text, empty)
    x = start
    for k in range(20, 0, -1):
        j, r = (at(round(chain.timesteps * i / 20)) for i in (k, k - 1))
        x = chain.towards(x, predict(x, j).clamp(-1, 1), j, r)
    error = (one - x).square().mean().sqrt().item()
    tqdm.write(
        f"{step} updates: one step ends {error:.3f} (root mean square) from where the teacher's ODE does"
    )
    save_sheet(torch.cat([one, two, x]), captions, recipe.out / "samples" / f"step-{step:06d}.png")

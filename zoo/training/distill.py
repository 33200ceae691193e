"""Progressive distillation: a student learns to do in one DDIM step what its teacher does in two, again and again.

Salimans & Ho 2022, "Progressive Distillation for Fast Sampling of Diffusion Models", arXiv:2202.00512, algorithm 2.
From a teacher that takes 2N steps comes a student that takes N; it is the teacher of the next halving. A student
knows the levels of its own steps only. The text encoder stays the teacher's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, model_validator

from zoo.models.tinyworld import STUDENT_CARD, WEIGHTS, TextToPixels, weights_fingerprint
from zoo.schedule import Schedule
from zoo.training.data import Batches, CaptionedPictures, loader, open_pictures, save_sheet
from zoo.training.denoiser import draw
from zoo.training.loop import Fitted, fit
from zoo.training.recipe import Recipe, keyed_generator
from zoo.training.teacher import LevelTable, Teacher, ask, check_captions, copy_model, copy_of

MOST_STEPS_SHIPPED = 8
"""Students of more steps are kept in the run's folder, but left out of the model."""


class DistillRecipe(Recipe):
    """Options of `zoo train distill`."""

    out: Path = Field(Path("runs/distilled"), description="folder for checkpoints, samples and the model")
    teacher: Path | None = Field(None, description="model folder to distil; without it the bundled tinyworld")
    start: int = Field(
        32, ge=1, description="steps of the first student, a power of two; its teacher takes twice"
    )
    end: int = Field(1, ge=1, description="steps of the last student, a power of two")
    steps: list[int] = Field(  # type: ignore[assignment]
        [600], min_length=1, description="optimiser steps: of every halving, or of each, first halving first"
    )
    learning_rate: float = Field(1e-4, gt=0, description="peak learning rate, of every halving")
    warmup: int = Field(
        20, ge=0, description="steps of linear warm-up before the cosine decay to 0, each halving"
    )
    prediction: str = Field("v", pattern="^(v|x0)$", description="what the students predict, v or x0")
    guidance: float = Field(1.0, ge=0, description="guidance scale of the first teacher; 1 is without")
    label_dropout: float = Field(0.1, ge=0, lt=1, description="share of captions replaced by the empty one")

    @model_validator(mode="after")
    def _halvings_fit(self) -> DistillRecipe:
        for name in ("start", "end"):
            if (n := getattr(self, name)) & (n - 1):
                raise ValueError(f"{name}={n}: students take 1, 2, 4, 8 … steps, a power of two")
        if self.end > self.start:
            raise ValueError(f"the students' steps halve from start={self.start} down to end={self.end}")
        if len(self.steps) not in (1, len(self.halvings)) or min(self.steps) < 1:
            raise ValueError(
                f"steps={self.steps}: one number of at least 1, or one for each student of {self.halvings} steps"
            )
        return self

    @property
    def halvings(self) -> list[int]:
        """The students' numbers of steps, in the order in which they are trained."""
        first, last = self.start.bit_length() - 1, self.end.bit_length() - 1
        return [2**k for k in range(first, last - 1, -1)]

    @property
    def updates(self) -> list[int]:
        """Optimiser steps of each halving."""
        return self.steps * len(self.halvings) if len(self.steps) == 1 else self.steps


class HalvingRecipe(Recipe):
    """One halving, as a run with checkpoints of its own; other options or another teacher don't resume."""

    free = Recipe.free - {"steps"}

    student_steps: int
    prediction: str
    guidance: float
    label_dropout: float
    teacher_weights: str


class Halving(LevelTable):
    """The levels of N student steps over 2N teacher steps, k = 0 … 2N−1 from the noisiest; student step i is at k = 2i.

    From z at student step i, from level t over m to s, two DDIM steps of the teacher lead to z'', and one of the
    student is to lead there too, so that its prediction must be

        x̃ = (z'' − (σ_s/σ_t)·z) / (α_s − (σ_s/σ_t)·α_t).

    Written out, z drops out of the numerator, and x̃ is a mean of the teacher's predictions at t and at m,

        x̃ = (1 − w)·x̂_t + w·x̂_m,    w = (α_s − (σ_s/σ_m)·α_m) / (α_s − (σ_s/σ_t)·α_t),

    which is how it is computed: nothing is subtracted or divided that could be small, not even where α_t is (nearly)
    0. On the step onto the clean level w = 1.
    """

    def __init__(
        self,
        schedule: Schedule,
        steps: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        levels = schedule.levels(2 * steps)
        super().__init__(levels[:-1], device, dtype)

        def table(values: Iterable[Any]) -> torch.Tensor:
            return torch.tensor(list(values), dtype=dtype, device=device)

        self.steps = steps
        self.weight = table(max(level.alpha**2 / level.sigma**2, 1.0) for level in levels[:-1]).view(
            -1, 1, 1, 1
        )
        shares = []
        for t, m, s in (levels[2 * i : 2 * i + 3] for i in range(steps)):
            late = s.alpha - s.sigma / m.sigma * m.alpha
            shares.append(late / (s.alpha - s.sigma / t.sigma * t.alpha))
        self.share = table(shares).view(-1, 1, 1, 1)

    def target(
        self, teacher: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], z: torch.Tensor, i: torch.Tensor
    ) -> torch.Tensor:
        """x̃, what the student is to predict.

        Args:
            teacher: predicts x0, unclipped, from (z, k).
            z: (B, C, H, W), at the levels of the student's steps `i`.
            i: (B,) long.
        """
        t, m = 2 * i, 2 * i + 1
        first = teacher(z, t)
        eps = (z - self.alpha[t] * first) / self.sigma[t]
        second = teacher(self.alpha[m] * first + self.sigma[m] * eps, m)
        return first + self.share[i] * (second - first)

    def loss(self, x0: torch.Tensor, target: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
        """max(SNR_t, 1)·‖x̃ − x̂‖², the mean over everything: the paper's truncated SNR weights."""
        return (self.weight[2 * i] * (target - x0).square()).mean()


def train(recipe: DistillRecipe) -> Path | None:
    """Distil, or go on from the last checkpoint; returns the model's folder, None if stopped early.

    Raises:
        ValueError: the teacher, the data or a checkpoint does not fit the recipe.
        OSError: the teacher's folder is not a model.
    """
    from accelerate import Accelerator

    accelerator = Accelerator()
    folder = recipe.teacher or WEIGHTS / "tinyworld"
    original = TextToPixels(folder, name=str(folder), title=folder.name)
    teacher = Teacher.of(original, ("v", "x0"), recipe.size, accelerator.device)
    pictures = open_pictures(recipe.data, recipe.seed, recipe.size)
    check_captions(pictures.vocabulary, teacher.tokenizer, recipe.data)
    model = recipe.out / "model"
    if accelerator.is_main_process:
        copy_model(folder, model)
    source = weights_fingerprint(folder, ("denoiser", "text_encoder"))
    facts: dict[str, Any] = {"weights of the teacher": source}
    before, seconds = 0, 0.0
    for n, updates in zip(recipe.halvings, recipe.updates, strict=True):
        if recipe.stop_at is not None and recipe.stop_at <= before:
            return None
        own = HalvingRecipe(
            **recipe.model_dump(include=set(Recipe.model_fields) - {"out", "steps", "stop_at"}),
            **recipe.model_dump(include={"prediction", "label_dropout"}),
            out=recipe.out / "halvings" / str(n),
            steps=updates,
            stop_at=None if recipe.stop_at is None else recipe.stop_at - before,
            student_steps=n,
            guidance=recipe.guidance if n == recipe.start else 1.0,
            teacher_weights=teacher.fingerprint(),
        )
        accelerator.print(f"{2 * n} → {n} steps")
        student = _student(teacher, recipe.prediction)
        halving = Halving(original.schedule, n, accelerator.device)
        fitted = _distil(own, accelerator, halving, teacher, student, pictures, before)
        if not fitted.complete:
            return None
        seconds += fitted.seconds
        facts |= fitted.facts | {"minutes": f"{seconds / 60:.0f}"}
        del facts["mean loss of the last 100 steps"]
        facts[f"mean loss of the last 100 updates, {2 * n} → {n} steps"] = f"{fitted.loss:.5f}"
        if accelerator.is_main_process and n <= max(MOST_STEPS_SHIPPED, recipe.end):
            export(recipe, n, student, original.schedule, source, facts)
        accelerator.free_memory()
        student.eval().requires_grad_(False)
        teacher = replace(teacher, network=student, kind=recipe.prediction)
        before += updates
    return model if accelerator.is_main_process else None


def export(
    recipe: DistillRecipe, steps: int, student: Any, schedule: Schedule, teacher: str, facts: dict[str, Any]
) -> Path:
    """Write a student in half precision, in `save_pretrained` layout, with what it was trained for and a model card."""
    from zoo.training.card import write_card

    folder = recipe.out / "model" / "distilled" / str(steps)
    copy_of(student).half().save_pretrained(folder)
    said = {
        "steps": steps,
        "prediction": recipe.prediction,
        "timesteps": [level.t for level, _ in schedule.levels(steps).pairs()],
        "guidance": recipe.guidance,
        "teacher": teacher,
    }
    (folder / STUDENT_CARD).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    write_card(folder, "distill", recipe, facts)
    return folder


def _distil(
    recipe: HalvingRecipe,
    accelerator: Any,
    halving: Halving,
    teacher: Teacher,
    student: Any,
    pictures: CaptionedPictures,
    before: int,
) -> Fitted:
    """Train the student of one halving; earlier halvings have seen the pictures of `before` steps."""
    device, rank, world = accelerator.device, accelerator.process_index, accelerator.num_processes
    optimizer = torch.optim.Adam(student.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.99))

    def batches(steps: range) -> Iterable[tuple[torch.Tensor, list[str]]]:
        unseen = range(before + steps.start, before + steps.stop)
        return loader(Batches(pictures, recipe.batch_size, unseen, rank, world), recipe.workers)

    def loss(network: torch.nn.Module, step: int, batch: tuple[torch.Tensor, list[str]]) -> torch.Tensor:
        x0, captions = batch
        generator = keyed_generator(recipe.seed, halving.steps, step, rank)
        i, noise, kept = draw(generator, x0.shape, recipe.label_dropout, halving.steps)
        text, empty = teacher.embed([c if k else "" for c, k in zip(captions, kept, strict=True)])
        x0, noise, i = x0.to(device), noise.to(device), i.to(device)
        k = 2 * i
        z = halving.noisy(x0, noise, k).contiguous(memory_format=torch.channels_last)
        with recipe.autocast(device):
            target = halving.target(teacher.predictor(halving, text, empty, recipe.guidance), z, i)
            output = ask(network, z, halving.t[k], text)
        return halving.loss(halving.x0(recipe.prediction, output, z, k), target, i)

    @torch.no_grad()
    def sample(done: int) -> None:
        """DDIM on the student's own levels, of the first 16 captions."""
        _, captions = pictures.batch(range(16))
        text, empty = teacher.embed(captions)
        predict = replace(teacher, network=student, kind=recipe.prediction).predictor(
            halving, text, empty, 1.0
        )
        size = recipe.size
        x = torch.randn(16, 3, size, size, generator=keyed_generator(recipe.seed)).to(device)
        for i in range(halving.steps):
            k = torch.full((16,), 2 * i, device=device)
            x0 = predict(x, k).clamp(-1, 1)
            if i + 1 < halving.steps:
                x = halving.noisy(x0, (x - halving.alpha[k] * x0) / halving.sigma[k], k + 2)
        save_sheet(x0, captions, recipe.out.parents[1] / "samples" / f"{halving.steps}-steps.png")

    return fit(recipe, accelerator, student, {"student": student}, optimizer, batches, loss, sample=sample)


def _student(teacher: Teacher, prediction: str) -> Any:
    """A trainable copy of the teacher; its last layer starts from zero where it is to predict something else."""
    student = copy_of(teacher.network)
    if prediction != teacher.kind:
        torch.nn.init.zeros_(student.conv_out.weight)
        torch.nn.init.zeros_(student.conv_out.bias)
    return student

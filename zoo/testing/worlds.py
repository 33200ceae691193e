"""Where methods are checked: small worlds whose right answers are known, and two ways to run a sampler in them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from zoo.cell import Cell
from zoo.conditioner import Conditioner
from zoo.engine import Engine
from zoo.limits import Limits
from zoo.model import Model
from zoo.models.exact import GaussianMixture
from zoo.prediction import Prediction, to_eps
from zoo.sampler import NEGATIVE, PROMPT, ClassQuery, Noise, Queries, Query, Sampler
from zoo.schedule import DiscreteSchedule, Level, Levels, Schedule
from zoo.testing.checks import fail, require

CPU = torch.device("cpu")
SHAPE = (3, 2, 2)
MOST_NFE = 3000
"""Past it a sampler is taken to go on for ever."""


class _Single(GaussianMixture):
    precision = "float32"


def gaussian(schedule: Schedule | None = None, single: bool = False) -> GaussianMixture:
    """One Gaussian, (3, 2, 2), leaning and of unequal widths; DDPM's linear schedule unless another is given."""
    d = 12
    turn, _ = np.linalg.qr(np.vander(np.linspace(0.2, 1.0, d), d) + np.eye(d))
    return (_Single if single else GaussianMixture)(
        means=np.linspace(-1, 1, d)[None],
        variances=np.linspace(0.2, 0.7, d)[None],
        words=("cloud",),
        shape=SHAPE,
        basis=turn,
        schedule=schedule or DiscreteSchedule.linear(),
        name="the kit's Gaussian",
    )


def mixture(single: bool = False) -> GaussianMixture:
    """Two Gaussians, (3, 2, 2), the classes left and right."""
    d = 12
    return (_Single if single else GaussianMixture)(
        means=[np.linspace(-1, 0, d), np.linspace(1, -0.5, d)],
        variances=[np.linspace(0.1, 0.4, d), np.linspace(0.3, 0.2, d)],
        words=("left", "right"),
        weights=[2, 1],
        shape=SHAPE,
        schedule=DiscreteSchedule.linear(),
        name="the kit's mixture",
    )


def noisy_end() -> DiscreteSchedule:
    """Thirteen timesteps, of which the last is also the clean level and keeps a little noise, as in Stable Diffusion.

    Thirteen steps visit them all, and the last of these goes nowhere.
    """
    alphas = DiscreteSchedule.linear().alphas_cumprod[::77]
    return DiscreteSchedule(alphas, clean=Level(math.sqrt(alphas[0]), math.sqrt(1 - alphas[0]), None))


class Straight(Sampler):
    """x_s = alpha_s·x0 + sigma_s·eps in five steps: what conditioners and models are tried with."""

    def levels(self, schedule: Schedule) -> Levels:
        return schedule.levels(5)

    def sample(self, x: torch.Tensor, levels: Levels, noise: Noise) -> Queries:
        for t, s in levels.pairs():
            prediction = yield Query(x, t)
            x = s.alpha * prediction.x0 + s.sigma * prediction.eps
        return x


@dataclass
class Run:
    """A finished run: the sample, every query on the way, and what it cost."""

    sample: torch.Tensor
    queries: list[Query | ClassQuery]
    nfe: dict[str, int] = field(default_factory=dict)


def finish(*cells: Cell, dtype: torch.dtype = torch.float32) -> list[Run]:
    """Run cells together to their ends.

    Raises:
        CheckFailed: one of them fails.
    """
    engine = Engine(cells[0].start_state.device if cells[0].start_state is not None else CPU, dtype)
    asked: list[list[Query | ClassQuery]] = [[] for _ in cells]
    engine.start(cells)
    while any(cell.running for cell in cells):
        for queries, cell in zip(asked, cells, strict=True):
            if isinstance(cell.query, (Query, ClassQuery)):  # decoding is none of the sampler's
                queries.append(cell.query)
        engine.tick(cells)
    runs = []
    for cell, queries in zip(cells, asked, strict=True):
        if cell.samples is None:
            fail("a finished sample", f"{cell.error}\n{cell.traceback}")
        runs.append(Run(cell.samples, queries, dict(cell.nfe)))
    return runs


def cell(
    model: Model,
    sampler: Sampler,
    seeds: Sequence[int],
    conditioners: Sequence[Conditioner] = (),
    prompt: str = "",
    start: torch.Tensor | None = None,
) -> Cell:
    """A cell that is about to begin."""
    conditions = {PROMPT: prompt, NEGATIVE: ""}
    return Cell(model, sampler, conditioners, conditions, seeds, Limits(nfe=MOST_NFE), start)


def by_hand(
    sampler: Sampler,
    x: torch.Tensor,
    levels: Levels,
    x0: Callable[[torch.Tensor, Level], torch.Tensor],
    noise: Callable[[], torch.Tensor],
    see: Callable[[Prediction], object] = lambda prediction: None,
) -> Run:
    """Run a sampler without an engine; `x0(x, level)` is what every network says, and `see` gets each prediction."""
    queries: list[Query | ClassQuery] = []
    generator = sampler.sample(x, levels, noise)
    reply: Any = None
    try:
        while True:
            query = next(generator) if reply is None else generator.send(reply)
            if len(queries) >= MOST_NFE:
                fail("an end", f"{MOST_NFE} queries and no end")
            queries.append(query)
            if isinstance(query, ClassQuery):
                reply = torch.zeros_like(query.x)
            else:
                clean = x0(query.x, query.level)
                reply = Prediction(query.x, query.level, clean, to_eps(clean, query.x, query.level))
                see(reply)
    except StopIteration as stop:
        return Run(stop.value, queries)


def draws(n: int, seed: int = 0) -> Callable[[], torch.Tensor]:
    """Draws unit noise, (n, 3, 2, 2), anew at each call."""
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(n, *SHAPE, dtype=torch.float64, generator=generator)


@contextmanager
def kept_rng(seed: int) -> Iterator[None]:
    """The global generators of Python, NumPy and torch, seeded, and afterwards put back as they were."""
    python, numpy, own = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(own)


def rng_state() -> dict[str, Any]:
    """The state of each global generator, to be compared."""
    return {
        "random": random.getstate(),
        "numpy.random": [
            part.tolist() if hasattr(part, "tolist") else part for part in np.random.get_state()
        ],
        "torch": torch.get_rng_state().tolist(),
    }


def settings() -> dict[str, Any]:
    """What is set for a whole thread or process, and so reaches out of whatever sets it, to be compared."""
    return {
        "torch.is_grad_enabled()": torch.is_grad_enabled(),
        "torch.is_inference_mode_enabled()": torch.is_inference_mode_enabled(),
        "torch.is_autocast_enabled('cpu')": torch.is_autocast_enabled("cpu"),
        "torch.get_default_dtype()": torch.get_default_dtype(),
        "torch.are_deterministic_algorithms_enabled()": torch.are_deterministic_algorithms_enabled(),
        "numpy.geterr()": np.geterr(),
    }


@contextmanager
def usual_settings() -> Iterator[None]:
    """torch and NumPy as a fresh process has them, and afterwards as they were."""
    dtype, strict = torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()
    modes = torch.inference_mode(False), torch.enable_grad()
    with modes[0], modes[1], np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"):
        torch.set_default_dtype(torch.float32)
        torch.use_deterministic_algorithms(False)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
            torch.use_deterministic_algorithms(strict)


def require_untouched_settings(sampler: Sampler, schedule: Schedule) -> None:
    """Refuse a sampler, alone or within conditioners, that sets something global, be it only while it waits.

    Raises:
        CheckFailed: a setting is another at a query, or at the end.
    """

    def compare(when: str) -> None:
        now = settings()
        changed = [f"{name} = {now[name]}" for name in before if now[name] != before[name]]
        require(not changed, f"all settings as they were, {when}", ", ".join(changed))

    def answer(x: torch.Tensor, level: Level) -> torch.Tensor:
        compare("while the sampler waits for an answer")
        return 0.1 * x

    with usual_settings():
        before = settings()
        draw = draws(2)
        by_hand(sampler, draw(), sampler.levels(schedule), answer, draw)
        compare("at the end")


def require_untouched_generators(draw: Callable[[], torch.Tensor]) -> None:
    """Refuse a sample that uses or moves a global generator; `draw` makes it.

    Raises:
        CheckFailed: a generator has moved on, or its seed decides the sample.
    """
    samples = []
    for seed in (1, 2):
        with kept_rng(seed):
            before = rng_state()
            samples.append(draw())
            after = rng_state()
        changed = [name for name in before if before[name] != after[name]]
        require(not changed, "the global generators as they were", f"{', '.join(changed)} has moved on")
    require(torch.equal(*samples), "a sample that no global seed changes", apart(*samples))


def apart(a: torch.Tensor, b: torch.Tensor) -> str:
    """How far two samples are from each other, in words."""
    return f"samples that are up to {farthest(a, b):.3g} apart"


def farthest(a: torch.Tensor, b: torch.Tensor) -> float:
    """The greatest difference between two tensors; infinite where one is not finite."""
    difference = (a - b).abs()
    return float(difference.max()) if bool(torch.isfinite(difference).all()) else float("inf")

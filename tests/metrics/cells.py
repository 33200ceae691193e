"""Cells to be scored: vectors, pictures, and methods that really ran."""

from __future__ import annotations

import functools

import torch

from tests.helpers import CPU, finish, make_cell, make_engine
from zoo import Finished, NoScore, Score
from zoo.driving import answered
from zoo.method import Method, Part
from zoo.metrics.exact import ExactError
from zoo.metrics.solution import SolutionError
from zoo.planning import load_model, resolve
from zoo.registry import default_registry
from zoo.scoring import score_cells


def vectors(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def exactly(mean, covariance, n: int = 200) -> torch.Tensor:
    """A sample that has just this mean and covariance."""
    z = vectors(n, len(mean))
    z = z - z.mean(0)
    z = z @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(z.T)).T)
    return z @ torch.linalg.cholesky(torch.tensor(covariance, dtype=torch.float64)).T + torch.tensor(
        mean, dtype=torch.float64
    )


def finished(model="tinyworld", images=None, samples=None, prompt="", method="ddim", solve=None) -> Finished:
    """A cell that drew these; a model's name or a model."""
    model = load_model(model, default_registry()) if isinstance(model, str) else model
    sampler, conditioners = resolve(Method.parse(method), default_registry())
    given = images if samples is None else samples
    images = given if images is None else images
    return Finished(
        images, given, model, prompt, tuple(range(len(given))), sampler, tuple(conditioners), CPU, solve
    )


@functools.cache
def real_pictures(prompt: str, n: int, seed: int = 5) -> torch.Tensor:
    return load_model("tinyworld", default_registry()).data(prompt, n, seed)


def ran(model, method: str, seeds=range(3), prompt: str = "") -> dict[str, Score | NoScore]:
    """The scores of a cell that really ran."""
    (cell,) = finish(make_cell(model, method, seeds, prompt=prompt))
    assert cell.status == "done", cell.traceback
    metrics = {Part("exact"): ExactError(), Part("solution"): SolutionError()}
    return scores_of(metrics, {0: (cell, torch.zeros(len(seeds), 3, 2, 2))})[0]


def scores_of(metrics, cells) -> dict[int, dict[str, Score | NoScore]]:
    """The scores of cells by their index, all solved for and asked by one engine."""
    engine = make_engine()
    return dict(answered(engine, score_cells(metrics, cells, engine)))

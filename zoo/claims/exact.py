"""Methods on the exact models: what remains of a claim where no network can be to blame."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch

from zoo.cell import Cell
from zoo.claims.claims import Estimate, Measure
from zoo.driving import drive
from zoo.engine import Engine
from zoo.limits import Limits
from zoo.method import Method
from zoo.models.exact import GaussianMixture
from zoo.noise import start_noise
from zoo.planning import load_model, resolve
from zoo.registry import Registry
from zoo.sampler import NEGATIVE, PROMPT

PROMPTS: Mapping[str, str] = {"gaussian": "noon", "mixture": "north"}
"""The class of each exact model that is drawn."""

GROUPS = 16
SAMPLES = 1024
"""Of one method, all groups together."""

REFERENCE = 2048
"""Exact samples that energy distances are measured to."""


class ExactPoints:
    """Draws samples of exact models, and scores them.

    Args:
        registry: where methods are looked up.
        engine: what draws.
    """

    def __init__(self, registry: Registry, engine: Engine) -> None:
        self.registry, self.engine = registry, engine
        self._drawn = functools.cache(self._draw)
        self._references = functools.cache(self._reference)

    def by_name(self) -> Mapping[str, Measure]:
        """For `judge`."""
        return {
            f"{name} on {model}": functools.partial(measure, model)
            for model in PROMPTS
            for name, measure in (("energy", self.energy), ("error", self.error))
        }

    def energy(self, model: str, line: str) -> Estimate:
        """Squared energy distance 2·E|X − Y| − E|X − X'| − E|Y − Y'| to exact samples, unbiased: negative is noise."""
        x = self._drawn(model, line).flatten(1)
        y, within = self._references(model)
        to_y = torch.cdist(x, y).mean(1)
        to_x = torch.cdist(x, x)
        groups = torch.arange(len(x)) % GROUPS

        def value(kept: torch.Tensor) -> float:
            n = int(kept.sum())
            return float(2 * to_y[kept].mean() - to_x[kept][:, kept].sum() / (n * (n - 1)) - within)

        everything = torch.ones(len(x), dtype=torch.bool)
        return Estimate(value(everything), tuple(value(groups != g) for g in range(GROUPS)))

    def error(self, model: str, line: str) -> Estimate:
        """Root mean square distance of each sample from where the exact ODE leads from its noise; the mean over all."""
        exact = _exact(model, self.registry)
        x = self._drawn(model, line)
        start, end = exact.schedule.levels(1)
        noise = torch.from_numpy(start_noise(range(SAMPLES), exact.shape)) * exact.schedule.start_scale(start)
        condition = exact.words.index(PROMPTS[model])
        solution = exact.solve(noise.double(), start, end, condition)
        errors = (x - solution).flatten(1).square().mean(1).sqrt()
        return Estimate.mean([float(errors[g::GROUPS].mean()) for g in range(GROUPS)])

    def _draw(self, model: str, line: str) -> torch.Tensor:
        sampler, conditioners = resolve(Method.parse(line), self.registry)
        conditions = {PROMPT: PROMPTS[model], NEGATIVE: ""}
        exact = _exact(model, self.registry)
        cell = Cell(exact, sampler, conditioners, conditions, range(SAMPLES), Limits(nfe=None))
        for _ in drive(self.engine, [cell]):
            pass
        if cell.samples is None:
            raise RuntimeError(f"{line} failed on {model}:\n{cell.traceback or cell.error}")
        return cell.samples.double().cpu()

    def _reference(self, model: str) -> tuple[torch.Tensor, float]:
        """Exact samples, and their mean distance to each other."""
        y = _exact(model, self.registry).data(PROMPTS[model], REFERENCE, seed=0).flatten(1)
        return y, float(torch.cdist(y, y).sum() / (len(y) * (len(y) - 1)))


def _exact(model: str, registry: Registry) -> GaussianMixture:
    found = load_model(model, registry)
    assert isinstance(found, GaussianMixture)
    return found

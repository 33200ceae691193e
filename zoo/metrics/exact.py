"""Metrics of exact models, where the right answer is known."""

from __future__ import annotations

import statistics
from functools import lru_cache

import torch

from zoo.metric import Absent, Finished, Metric, Score
from zoo.metrics.distances import energy_distance, mean_distance
from zoo.metrics.solution import distance
from zoo.models.exact import GaussianMixture
from zoo.noise import start_noise


class ExactError(Metric):
    """Root mean square distance of each sample from where the exact probability-flow ODE leads; the mean over images.

    The closed form holds for one class, without conditioners, which bend the ODE; and from the schedule's
    noisiest level, so that starting at a cleaner one from the same noise counts as error. Nor does the error fall
    below that of the one step from the cleanest level that networks know onto the clean one: 1.4e-3 on `gaussian`.
    """

    def score(self, cell: Finished) -> Score:
        model = _exact(cell)
        condition = model.condition(cell.prompt, torch.device("cpu"))
        if condition is None:
            raise Absent(f"the whole mixture has no closed form: name one of {', '.join(model.words)}")
        if cell.conditioners:
            raise Absent("there is no closed form under conditioners")
        cell.must_be_deterministic()
        start, end = model.schedule.levels(1)
        noise = torch.from_numpy(start_noise(cell.seeds, model.shape)) * model.schedule.start_scale(start)
        return distance(cell.samples, model.solve(noise, start, end, condition))


class EnergyDistance(Metric):
    """Energy distance of the samples to 1,000 exact ones: 0 only if the distributions are equal.

    `real` is what as many exact samples score, the 95 % quantile of 20 draws: a value below it is no evidence of any
    difference. It needs 20 samples; with fewer hardly anything would be.
    """

    def score(self, cell: Finished) -> Score:
        model = _exact(cell)
        cell.must_have(20)
        exact, within, real = _exact_samples(model, cell.prompt, len(cell.samples))
        value = energy_distance(cell.samples.flatten(1), exact, within)
        return Score(value, len(cell.samples), real=real, better="lower")


@lru_cache(maxsize=8)
def _exact_samples(model: GaussianMixture, prompt: str, n: int) -> tuple[torch.Tensor, float, float]:
    """The samples that others are held against, their mean distance, and what `n` exact samples score."""
    exact = model.data(prompt, 1000, seed=0).flatten(1)
    within = mean_distance(exact, exact)
    scores = [energy_distance(model.data(prompt, n, seed).flatten(1), exact, within) for seed in range(1, 21)]
    return exact, within, statistics.quantiles(scores, n=20, method="inclusive")[-1]


def _exact(cell: Finished) -> GaussianMixture:
    if not isinstance(cell.model, GaussianMixture):
        raise Absent(f"{cell.model.name} is not an exact model")
    return cell.model

"""Metrics of exact models, where the right answer is known."""

from __future__ import annotations

import statistics

import torch

from zoo.metric import Absent, Finished, Metric, Score
from zoo.metrics.distances import energy_distance
from zoo.metrics.solution import distance
from zoo.models.exact import GaussianMixture
from zoo.noise import start_noise


class ExactError(Metric):
    """Root mean square distance of each sample from where the exact probability-flow ODE leads; the mean over images.

    The closed form holds for one class, without conditioners, which bend the ODE; and from the schedule's
    noisiest level, so that starting at a cleaner one from the same noise counts as error.
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

    reference, draws = 1000, 20

    def score(self, cell: Finished) -> Score:
        model = _exact(cell)
        cell.must_have(20)
        n = len(cell.samples)
        exact = model.data(cell.prompt, self.reference, seed=0).flatten(1)
        floor = [
            energy_distance(model.data(cell.prompt, n, seed).flatten(1), exact)
            for seed in range(1, self.draws + 1)
        ]
        real = statistics.quantiles(floor, n=20)[-1]
        value = energy_distance(cell.samples.flatten(1), exact)
        return Score(value, n, real=real, better="lower")


def _exact(cell: Finished) -> GaussianMixture:
    if not isinstance(cell.model, GaussianMixture):
        raise Absent(f"{cell.model.name} is not an exact model")
    return cell.model

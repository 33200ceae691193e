"""What is checked of a metric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from zoo.metric import Absent, Finished, Metric, Score, shown_to
from zoo.model import Model
from zoo.testing import worlds
from zoo.testing.checks import Function, NotApplicable, require
from zoo.testing.common import COMMON
from zoo.testing.subjects import Subject


def is_a_metric(subject: Subject) -> None:
    """The implementation is a `zoo.Metric` that takes its `Params`."""
    metric = subject.make()
    require(isinstance(metric, Metric), "a subclass of zoo.Metric", type(metric).__name__)


def it_scores_or_says_why_not(subject: Subject) -> None:
    """A cell gets a `Score`, or several by name, or `Absent` with the reason; with one picture or with many.

    A metric that needs more pictures than there are, a certain model, or a deterministic method raises `Absent`:
    see `Finished.must_have` and `Finished.must_be_deterministic`. Any other error is shown as its failure.
    """
    for n in (1, 2, 8):
        for score in _scores(subject.make(), _cell(n)).values():
            require(isinstance(score, Score), "zoo.Score", type(score).__name__)


def scores_are_consistent(subject: Subject) -> None:
    """The interval holds the value, and n is the number of pictures that it rests on."""
    scores = _scores(subject.make(), _cell(8))
    if not scores:
        raise NotApplicable("absent on the kit's models")
    for score in scores.values():
        require(1 <= score.n <= 8 or score.n == math.comb(8, 2), "n of at most 8 pictures", f"{score.n}")
        require(score.better in ("higher", "lower", None), "better: higher, lower or None", f"{score.better}")
        low = -math.inf if score.low is None else score.low
        high = math.inf if score.high is None else score.high
        require(low <= score.value <= high, f"{score.value:g} within its interval", f"{low:g} to {high:g}")


def same_cell_same_score(subject: Subject) -> None:
    """A cell scores the same again, also after another one, and by another instance."""
    metric = subject.make()
    first = _scores(metric, _cell(8))
    _scores(metric, _cell(8, seed=100))
    again, fresh = _scores(metric, _cell(8)), _scores(subject.make(), _cell(8))
    require(first == again, f"{_shown(first)} again", _shown(again))
    require(first == fresh, f"{_shown(first)} by another instance", _shown(fresh))


def inputs_are_untouched(subject: Subject) -> None:
    """Pictures and samples are not changed in place, and no global generator is used or seeded."""
    cell = _cell(8)
    images, samples = cell.images.clone(), cell.samples.clone()
    with worlds.kept_rng(0):
        before = worlds.rng_state()
        _scores(subject.make(), cell)
        same = before == worlds.rng_state()
    require(torch.equal(cell.images, images), "the images as they were", "they were changed in place")
    require(torch.equal(cell.samples, samples), "the samples as they were", "they were changed in place")
    require(same, "the global generators as they were", "one of them has moved on")


CHECKS: tuple[Function, ...] = (
    *COMMON,
    is_a_metric,
    it_scores_or_says_why_not,
    scores_are_consistent,
    same_cell_same_score,
    inputs_are_untouched,
)


def _cell(n: int, seed: int = 0) -> Finished:
    """A finished cell of n pictures, made of the kit's Gaussian with five plain steps."""
    model: Model = worlds.gaussian()
    seeds = tuple(range(seed, seed + n))
    (run,) = worlds.finish(worlds.cell(model, worlds.Straight(), seeds))
    return Finished(
        images=model.pictures(run.sample),
        samples=run.sample,
        model=model,
        prompt="cloud",
        seeds=seeds,
        sampler=worlds.Straight(),
        conditioners=(),
        device=worlds.CPU,
        solve=lambda: run.sample,
    )


def _scores(metric: Metric, cell: Finished) -> dict[str, Any]:
    """The scores by name; none where the metric is absent."""
    try:
        found = metric.score(shown_to(metric, cell))
    except Absent as why:
        require(str(why), "a reason in Absent(reason)", "an empty one")
        return {}
    return dict(found) if isinstance(found, Mapping) else {"": found}


def _shown(scores: Mapping[str, Any]) -> str:
    return ", ".join(map(str, scores.values())) or "absent"

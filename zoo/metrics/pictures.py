"""Metrics of tinyworld pictures, by the bundled feature network.

What it cannot tell: it hardly sees fine noise (of standard deviation 0.1), does not see mirroring, and since it names
what almost every fair picture shows, accuracies saturate near 100 %. Values compare with each other only; the
Fréchet distance here is not FID, whose features are Inception's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch

from zoo.data.tinyworld import named
from zoo.metric import Absent, Finished, Metric, Score
from zoo.metrics.distances import frechet_distance, kernel_distance, precision_recall
from zoo.metrics.features import HEADS, FeatureOutput, load_features
from zoo.metrics.intervals import pairs_interval, student, wilson
from zoo.model import Model

REFERENCE = 1000
"""Real pictures that the cell's are held against; as many as the cell's, where these are more."""

REFERENCE_SEED, OTHER_SEED = 20_001, 20_002
"""Two worlds of real pictures, other than those that networks are trained on."""


class PromptAccuracy(Metric):
    """Shares of pictures in which the network finds the kind, the colour and the scene that the prompt names.

    With Wilson's intervals; what the prompt does not name is not judged.
    """

    def score(self, cell: Finished) -> Mapping[str, Score]:
        said = _seen(cell)
        asked = {head: value for head, value in named(cell.prompt).items() if head in HEADS}
        if not asked:
            raise Absent("the prompt names no kind, colour or scene that tinyworld has")
        names = load_features().names
        scores = {}
        for head, value in asked.items():
            found = getattr(said, head).argmax(1).tolist()
            hits, n = sum(names(head)[i] == value for i in found), len(found)
            scores[head] = Score(hits / n, n, *wilson(hits, n), better="higher")
        return scores


class Diversity(Metric):
    """How different the pictures of one prompt are: mean cosine distance of their features, 1 − cos, over all pairs.

    `real` is that of real pictures of the prompt: guidance leaves less of it, noise left in pictures may add some.
    """

    def score(self, cell: Finished) -> Score:
        seen = _seen(cell).features
        cell.must_have(2)
        value, low, high = pairs_interval(_cosine(seen))
        real, *_ = pairs_interval(_cosine(_real(cell, REFERENCE_SEED, REFERENCE)))
        return Score(value, len(seen), low, high, real=real, better="higher")


class Frechet(Metric):
    """Fréchet distance of features to real pictures of the prompt, or of the whole data set without a prompt.

    It needs twice as many pictures as features have dimensions: below once as many the covariance is singular, and
    what is measured is mostly the number of pictures. Even so it is far from 0 for real pictures, so `real` tells
    what as many of them score; differences are meant to be read above it.

    References:
        Heusel et al. 2017, arXiv:1706.08500, with other features.
    """

    def score(self, cell: Finished) -> Score:
        seen = _seen(cell).features
        n = len(seen)
        cell.must_have(2 * seen.shape[1])
        m = max(n, REFERENCE)
        value = frechet_distance(seen, _real(cell, REFERENCE_SEED, m))
        return Score(value, n, real=_of_real(frechet_distance, cell, n, m), better="lower")


class Kernel(Metric):
    """Squared maximum mean discrepancy of features to real pictures, by the cubic polynomial kernel; unbiased.

    What KID is in Inception's features (Bińkowski et al. 2018, arXiv:1801.01401). Real pictures score 0 on average,
    whatever their number; negative values are noise. The interval comes from the spread over ten disjoint tenths of
    the pictures, so it is rather too wide; hence at least 100 pictures, ten a tenth.
    """

    tenths = 10

    def score(self, cell: Finished) -> Score:
        seen = _seen(cell).features
        n = len(seen)
        cell.must_have(10 * self.tenths)
        reference = _real(cell, REFERENCE_SEED, max(n, REFERENCE))
        parts = zip(seen.tensor_split(self.tenths), reference.tensor_split(self.tenths), strict=True)
        blocks = torch.tensor([kernel_distance(x, y) for x, y in parts])
        half = student(self.tenths - 1) * float(blocks.std()) / self.tenths**0.5
        value = kernel_distance(seen, reference)
        return Score(value, n, value - half, value + half, better="lower")


class PrecisionRecall(Metric):
    """Precision, the share of pictures within the real ones' manifold, and recall, that of real ones within theirs.

    Against as many real pictures; `real` is what other real ones score, well below 1 at such numbers. Wilson
    intervals, with the manifolds taken as given; from 100 pictures, where they are within ± 0.1.

    References:
        Kynkäänniemi et al. 2019, arXiv:1904.06991; k = 3 as there, other features.
    """

    def score(self, cell: Finished) -> Mapping[str, Score]:
        seen = _seen(cell).features
        n = len(seen)
        cell.must_have(100)
        hits = precision_recall(seen, _real(cell, REFERENCE_SEED, n))
        real = _of_real(precision_recall, cell, n, n)
        return {
            name: Score(count / n, n, *wilson(count, n), real=of_real / n, better="higher")
            for name, count, of_real in zip(("precision", "recall"), hits, real, strict=True)
        }


@lru_cache(maxsize=1)
def _seen(cell: Finished) -> FeatureOutput:
    """What the network says of a cell's pictures; kept while the metrics take turns on the cell.

    Raises:
        Absent: the model does not draw what the network knows.
    """
    if cell.model.data_set() != "tinyworld":
        raise Absent(f"the bundled feature network knows tinyworld's pictures, not {cell.model.name}'s")
    return _features(cell.images, str(cell.device))


def _real(cell: Finished, seed: int, n: int) -> torch.Tensor:
    """Features of real pictures that fit the prompt, (n, d)."""
    return _real_features(cell.model, cell.prompt, seed, n, str(cell.device))


def _of_real(measure: Callable[..., Any], cell: Finished, n: int, m: int) -> Any:
    """What `n` other real pictures score against the `m` that the cell's are held against."""
    return _between_real(measure, cell.model, cell.prompt, n, m, str(cell.device))


@lru_cache(maxsize=16)
def _between_real(measure: Callable[..., Any], model: Model, prompt: str, n: int, m: int, device: str) -> Any:
    others = _real_features(model, prompt, OTHER_SEED, n, device)
    return measure(others, _real_features(model, prompt, REFERENCE_SEED, m, device))


@lru_cache(maxsize=16)
def _real_features(model: Model, prompt: str, seed: int, n: int, device: str) -> torch.Tensor:
    return _features(model.pictures(model.data(prompt, n, seed)), device).features


def _features(pictures: torch.Tensor, device: str) -> FeatureOutput:
    network = load_features(device)
    with torch.no_grad():
        batches = [network(batch.to(device)) for batch in torch.split(pictures, 256)]
    return FeatureOutput(*(torch.cat(parts).cpu() for parts in zip(*batches, strict=True)))


def _cosine(features: torch.Tensor) -> torch.Tensor:
    unit = torch.nn.functional.normalize(features.double(), dim=1)
    return 1 - unit @ unit.T

"""What the tests of samplers share: small models with known answers, and two ways to run a sampler on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from zoo.cell import Cell
from zoo.driving import drive
from zoo.engine import Engine
from zoo.limits import Limits
from zoo.method import Method
from zoo.model import Model
from zoo.models.exact import GaussianMixture
from zoo.planning import resolve
from zoo.prediction import Prediction, to_eps
from zoo.registry import default_registry
from zoo.sampler import NEGATIVE, PROMPT, Query, Sampler
from zoo.schedule import DiscreteSchedule, Level, Levels, Schedule

CPU = torch.device("cpu")


class PixelModel(Model):
    """Pixels in [-1, 1], float64, and a network given as a function (x, t, texts) → output.

    Args:
        function: the network; `t` is (rows,), `texts` the prompts, one a row.
        prediction: what it is taken to predict.
    """

    name = title = "pixels"
    precision = "float64"

    def __init__(
        self,
        function: Callable[[torch.Tensor, torch.Tensor, Sequence[str]], torch.Tensor],
        prediction: str = "v",
        schedule: Schedule | None = None,
        shape: tuple[int, ...] = (3, 4, 4),
    ) -> None:
        self.function, self.prediction, self.shape = function, prediction, shape
        self.schedule = schedule or DiscreteSchedule.cosine()
        self.calls: list[tuple[torch.Tensor, torch.Tensor, Sequence[str]]] = []

    def network(self, role, device, dtype):
        return self

    def prediction_kind(self, role):
        return self.prediction

    def condition(self, text, device):
        return text

    def __call__(self, x, t, conditions):
        self.calls.append((x, t, conditions))
        return self.function(x, t, conditions)


class UnboundedModel(PixelModel):
    """The same without a range: nothing is clipped."""

    def project(self, x0, threshold):
        return x0


def random_network(shape: tuple[int, ...] = (3, 4, 4), seed: int = 0):
    """A small random network: mixes pixels, depends on t and on the prompt, reaches beyond [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    d = torch.Size(shape).numel()
    first, second, shift = (torch.randn(*s, generator=generator).double() for s in ((d, d), (d, d), (d,)))

    def function(x, t, texts):
        words = torch.tensor([float(len(text)) for text in texts]).double()
        hidden = torch.tanh(x.flatten(1) @ first / d**0.5 + (t.double() / 500 + words)[:, None] * shift)
        return (hidden @ second * (2 / d**0.5)).view(x.shape)

    return function


def rowwise(x, t, texts):
    """A network of plain products and sums: bit for bit the same in any batch."""
    words = torch.tensor([0.01 * len(text) for text in texts], dtype=x.dtype)
    return x * 0.25 + (t.to(x.dtype) * 0.001 + words).view(-1, *[1] * (x.ndim - 1))


def make_cell(
    model: Model,
    method: str | Sampler,
    seeds: Sequence[int] = (0,),
    prompt: str = "",
    negative: str = "",
    limits: Limits | None = None,
) -> Cell:
    """A cell of a method line, or of a sampler that the test made."""
    if isinstance(method, str):
        sampler, conditioners = resolve(Method.parse(method), default_registry())
    else:
        sampler, conditioners = method, []
    return Cell(model, sampler, conditioners, {PROMPT: prompt, NEGATIVE: negative}, seeds, limits)


def make_engine(max_rows: int | None = None) -> Engine:
    return Engine(CPU, torch.float32, max_rows)


def finish(*cells: Cell, engine: Engine | None = None) -> list[Cell]:
    """Run cells together to their ends."""
    for _ in drive(engine or make_engine(), cells):
        pass
    return list(cells)


def sample(model: Model, method: str | Sampler, seeds: Sequence[int] = (0,), **options) -> torch.Tensor:
    """The finished samples of one method run alone."""
    (cell,) = finish(make_cell(model, method, seeds, **options))
    assert cell.status == "done", cell.traceback
    return cell.samples


def by_hand(
    sampler: Sampler,
    x: torch.Tensor,
    levels: Levels,
    answer: Callable[[torch.Tensor, Level], torch.Tensor],
    noise: Callable[[], torch.Tensor] | None = None,
) -> tuple[torch.Tensor, list[Query]]:
    """Run a sampler without an engine, `answer(x, level)` being its network's x0; the sample and all queries."""
    asked: list[Query] = []
    queries = sampler.sample(x, levels, noise)
    try:
        query = next(queries)
        while True:
            asked.append(query)
            x0 = answer(query.x, query.level)
            query = queries.send(Prediction(query.x, query.level, x0, to_eps(x0, query.x, query.level)))
    except StopIteration as stop:
        return stop.value, asked


def angular_levels(steps: int, start: float = 1.4, end: float = 0.2) -> Levels:
    """Variance-preserving levels, evenly in the angle of alpha = cos, sigma = sin; the last one has noise left."""
    angles = torch.linspace(start, end, steps + 1, dtype=torch.float64)
    return Levels([Level(float(a.cos()), float(a.sin()), float(a)) for a in angles])


def leaning_mixture(schedule: Schedule | None = None, prediction: str = "x0") -> GaussianMixture:
    """Three unequal classes in a turned plane."""
    turn = torch.tensor(0.5).double()
    return GaussianMixture(
        means=[[1.0, 0.5], [-1.2, 0.3], [0.1, -0.9]],
        variances=[[0.3, 0.05], [0.1, 0.2], [0.02, 0.4]],
        words=("sun", "moon", "star"),
        weights=[1, 2, 3],
        basis=[[turn.cos(), turn.sin()], [-turn.sin(), turn.cos()]],
        schedule=schedule,
        prediction=prediction,
    )


def unit_gaussian_draws(n: int, d: int, seed: int = 0):
    """A function that draws unit noise, and the start state, (n, d)."""
    generator = torch.Generator().manual_seed(seed)

    def draw():
        return torch.randn(n, d, dtype=torch.float64, generator=generator)

    return draw, draw()


def assert_moments(samples: torch.Tensor, mean: torch.Tensor, covariance: torch.Tensor) -> None:
    """Mean and covariance within five standard errors of the sample's size."""
    n = len(samples)
    products = (samples - mean)[:, :, None] * (samples - mean)[:, None, :]
    assert ((samples.mean(0) - mean).abs() < 5 * samples.std(0) / n**0.5).all()
    assert ((products.mean(0) - covariance).abs() < 5 * products.std(0) / n**0.5).all()

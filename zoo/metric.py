"""Metrics: score what finished cells drew, or say why they cannot."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from zoo.conditioner import Conditioner
from zoo.model import Model
from zoo.sampler import Parameters, Sampler

if TYPE_CHECKING:
    import torch


class Absent(Exception):
    """Raised by a metric that does not apply to a cell; the message says why."""


@dataclass(frozen=True)
class Score:
    """A measured value.

    Args:
        value: the estimate.
        n: how many pictures it rests on.
        low, high: its 95 % interval, where there is one.
        real: what as many real data score in place of the cell's; what nothing can be expected to beat.
        better: "higher" or "lower"; None where neither is.
        unit: such as "%"; "" for a plain number.

    Raises:
        ValueError: a number is not finite.
    """

    value: float
    n: int
    low: float | None = None
    high: float | None = None
    real: float | None = None
    better: Literal["higher", "lower"] | None = None
    unit: str = ""

    def __post_init__(self) -> None:
        for name in ("value", "low", "high", "real"):
            number = getattr(self, name)
            if number is not None and not math.isfinite(number):
                raise ValueError(f"{name} is {number}, not a finite number")
            object.__setattr__(self, name, None if number is None else float(number))

    def __str__(self) -> str:
        text = f"{self.value:.3g}{self.unit}"
        if self.low is not None and self.high is not None:
            text += f" ({self.low:.3g} to {self.high:.3g})"
        if self.real is not None:
            text += f", real {self.real:.3g}"
        return text

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without what it lacks."""
        return {key: value for key, value in asdict(self).items() if value not in (None, "")}


@dataclass(frozen=True)
class NoScore:
    """Why there is no value: the metric does not apply, or it failed."""

    reason: str
    failed: bool = False

    def __str__(self) -> str:
        return f"{'failed' if self.failed else 'absent'}: {self.reason}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON, under "absent" or "failed"."""
        return {"failed" if self.failed else "absent": self.reason}


@dataclass(frozen=True, eq=False)
class Finished:
    """A finished cell as metrics see it.

    Attributes:
        images: (n, 3, H, W) float within [-1, 1], on the CPU.
        samples: the raw sample, (n, *shape), on the CPU; not a picture for every model.
        model, prompt, seeds: what was drawn, one image for each seed.
        sampler, conditioners: the method.
        device: where a metric may run a network of its own.
        solve: see `solution`.
    """

    images: torch.Tensor
    samples: torch.Tensor
    model: Model
    prompt: str
    seeds: tuple[int, ...]
    sampler: Sampler
    conditioners: tuple[Conditioner, ...]
    device: torch.device
    solve: Callable[[], torch.Tensor]

    def solution(self) -> torch.Tensor:
        """Where the probability-flow ODE leads from the cell's own start noise, under its conditioners.

        Solved in fine steps with the model's denoiser, once for all cells that share it; (n, *shape), on the CPU.

        Raises:
            Absent: the method draws noise on the way, so that it has no one solution to be held against.
            TypeError: the metric does not declare `solves`.
        """
        self.must_be_deterministic()
        return self.solve()

    def must_be_deterministic(self) -> None:
        """Raise `Absent` for a method that draws noise on the way."""
        if self.sampler.is_stochastic():
            raise Absent("the method draws noise on the way: only its distribution can be judged")

    def must_have(self, count: int) -> None:
        """Raise `Absent` where there are fewer pictures than `count`."""
        if len(self.seeds) < count:
            raise Absent(f"needs at least {count} pictures, there are {len(self.seeds)}")


class Metric:
    """Scores finished cells, one at a time, after all cells of a comparison are done.

    Subclass it with a nested `Params(Metric.Params)` whose fields all have defaults, and write `score`. One
    instance scores all cells of a comparison, so what they share can be kept on it. A metric that asks for
    `cell.solution()` declares it, `solves = True`: that takes more network evaluations than most cells, and a page for
    many must know before anything runs.
    """

    solves: ClassVar[bool] = False
    """Whether it asks for `Finished.solution`."""

    class Params(Parameters):
        """Parameters of the metric."""

    def __init__(self, params: Params | None = None) -> None:
        self.params = params if params is not None else self.Params()

    def score(self, cell: Finished) -> Score | Mapping[str, Score]:
        """The score of a cell, or several by name.

        Raises:
            Absent: it does not apply to this cell. Any other error is shown as the metric's failure.
        """
        raise TypeError(f"{type(self).__name__} must define score(cell)")


def shown_to(metric: Metric, cell: Finished) -> Finished:
    """The cell as this metric sees it: without a solution, unless the metric declares that it asks for one."""
    return cell if getattr(metric, "solves", False) else replace(cell, solve=_undeclared)


def _undeclared() -> torch.Tensor:
    raise TypeError("who asks for cell.solution() must declare it: write solves = True in the metric's class")

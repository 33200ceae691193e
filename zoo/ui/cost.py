"""What a comparison costs, as far as it is known before it runs: for the budget, and for the seconds of a lent GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.planning import evaluations, load_model, resolve_all

if TYPE_CHECKING:
    from zoo.comparison import Comparison
    from zoo.conditioner import Conditioner
    from zoo.registry import Registry
    from zoo.sampler import Sampler
    from zoo.schedule import Schedule


@dataclass(frozen=True)
class Cost:
    """Network evaluations of one image, and how much work one of them is.

    Attributes:
        cells: of each method; 0 for one that cannot run.
        solutions: of each fine solution that metrics ask for.
        weight: seeds · max(1, pixels / 32²), for all images and their size.
    """

    cells: tuple[int, ...]
    solutions: tuple[int, ...]
    weight: float

    @property
    def evaluations(self) -> int:
        """Of one image, all together."""
        return sum(self.cells) + sum(self.solutions)


def estimate(comparison: Comparison, registry: Registry) -> Cost:
    """What a comparison asks for, without loading a network or making a control map; needs torch.

    Raises:
        ValueError: a name or a parameter that does not exist, or a prompt that the model cannot draw.
    """
    from zoo.metrics.solution import STEPS

    model = load_model(comparison.model, registry)
    pixels = model.shape[-1] * model.shape[-2] if len(model.shape) == 3 else 1
    cells = tuple(
        0 if reason else _evaluations(sampler, conditioners, model.schedule)
        for sampler, conditioners, reason in resolve_all(comparison, registry)
    )
    solutions: tuple[int, ...] = ()
    if any(_solves(part.name, registry) for part in comparison.metrics):
        guidances = {method.conditioners for method in comparison.cells}
        solutions = tuple((2 * STEPS - 1) * (1 + len(conditioners)) for conditioners in guidances)
    return Cost(cells, solutions, len(comparison.seeds) * max(1.0, pixels / 32**2))


def _evaluations(sampler: Sampler, conditioners: Sequence[Conditioner], schedule: Schedule) -> int:
    try:
        return evaluations(sampler, conditioners, schedule)
    except (Exception, SystemExit):  # a mistake of the plugin's: its cell will fail alone
        return 0


def _solves(metric: str, registry: Registry) -> bool:
    try:
        return bool(registry.metric(metric).load().solves)
    except (Exception, SystemExit):  # it is not there, or cannot be imported: whoever makes it will say so
        return False

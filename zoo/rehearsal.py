"""A cell's first steps, taken beforehand so that the time of its real ones is nobody's start-up."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from zoo.cell import Cell
from zoo.prediction import Endpoint, Prediction
from zoo.sampler import Noise, Queries, Sampler
from zoo.schedule import Levels, Schedule

if TYPE_CHECKING:
    import torch


def rehearsal(cell: Cell) -> Cell:
    """A cell that asks every network of another's once: up to the first prediction, which it has decoded."""
    asking = Cell(
        model=cell.model,
        sampler=_Begun(cell.sampler),
        conditioners=cell.conditioners,
        conditions=cell.conditions,
        seeds=cell.seeds,
        limits=cell.limits,
        start_state=cell.start_state,
        maps=cell.maps,
        label=cell.label,
    )
    asking.dtype = cell.dtype
    return asking


class _Begun(Sampler):
    """Another sampler up to its first answer, whose x0 is taken for the sample."""

    def __init__(self, sampler: Sampler) -> None:
        super().__init__()
        self.sampler = sampler

    def requires(self) -> tuple[str, ...]:
        return self.sampler.requires()

    def levels(self, schedule: Schedule) -> Levels:
        return self.sampler.levels(schedule)

    def sample(self, x: torch.Tensor, levels: Levels, noise: Noise) -> Queries:
        with closing(self.sampler.sample(x, levels, noise)) as queries:
            query = next(queries)
            while True:
                answer = yield query
                if isinstance(answer, (Prediction, Endpoint)):
                    return answer.x0
                query = queries.send(answer)
